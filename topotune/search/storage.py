"""Where a study lives: Optuna's journal in its folder, held by one driver at a time, mended after a killed one."""

import json
import os
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.study._frozen import FrozenStudy

from topotune.errors import InputError
from topotune.folder import StudyFolder
from topotune.search.options import EFFORT
from topotune.search.space import StudyFile
from topotune.search.study_file import load_study


class Storage(JournalStorage):
    """A journal that is safe from a power cut when ``flush`` returns, not after each of the ten lines of a suggestion.

    A killed driver loses nothing in either case: what was written is the system's to keep.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        super().__init__(_Backend(str(journal), lock_obj=_Held()))

    def flush(self) -> None:
        """Return when the disk has what was written."""
        with self._journal.open("rb") as file:
            os.fsync(file.fileno())


class _Backend(JournalFileBackend):
    """Optuna's, which waits for the disk after each line."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        size = os.path.getsize(self._file_path)
        try:
            with open(self._file_path, "ab") as file:
                file.write(lines.encode())
        except OSError as error:  # a full disk takes a part, to which the next line would be added
            os.truncate(self._file_path, size)
            raise OSError(error.errno, error.strerror, self._file_path) from None


def open_journal(folder: StudyFolder) -> tuple[Storage, FrozenStudy | None]:
    """The storage, and the study in it if it has one."""
    lost = not folder.journal.exists() or folder.journal.stat().st_size == 0
    if lost and folder.trials_table.exists():
        raise InputError(
            f"{folder.journal} is missing or empty, though {folder.trials_table} lists trials: put it back from a "
            "copy, or begin anew beside it with --fresh"
        )
    try:
        storage = Storage(folder.journal)
        studies = storage.get_all_studies()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{folder.journal} is damaged ({error}): put it back from a copy, or use --fresh") from None
    return storage, studies[0] if studies else None


def check_same(file: StudyFile, folder: StudyFolder, began_with: str | None) -> None:
    """A study goes on only with the space that it began with. More effort is the same study."""
    if began_with in (None, file.hash):  # None: a driver was killed as the study began
        return
    there = load_study(folder.study_file) if folder.study_file.exists() else None
    if there is None or there.hash == file.hash:
        raise InputError(f"{folder.study_file} was changed by hand since the study began; put it back as it was")
    changed = [
        f"{section}.{key}"
        for section in file.sections
        for key in {**there.sections[section], **file.sections[section]}
        if (section not in EFFORT and key not in ("name", "description", "warm_start")) or key == "replicates"
        if there.sections[section].get(key) != file.sections[section].get(key)
    ]
    if not changed:  # 25 and 25.0
        return
    raise InputError(
        f"study {file.name!r} exists in {folder.path} with another space: {', '.join(changed)} differ; "
        "give it another name (--set study.name=…), or begin anew beside it with --fresh"
    )


class _Held(BaseJournalFileLock):
    """No lock file beside the journal: the study's own lock is held, and Ctrl-C cannot leave this one half undone."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def mend(journal: Path) -> None:
    """Undo what a killed driver may have left: Optuna's own lock, and half a line at the end of the journal."""
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.exists():
        content = journal.read_bytes()
        if content and not content.endswith(b"\n"):
            os.truncate(journal, content.rfind(b"\n") + 1)
