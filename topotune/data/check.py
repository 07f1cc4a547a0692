"""What is there of a data set, and whether it is whole."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topotune.data import PARTS, DatasetEntry, Reader, dataset_entry, is_own
from topotune.data.sources import verified
from topotune.data.splits import forget_splits, load_split, prepared_folder
from topotune.errors import InputError

ABSENT, DAMAGED, PARTIAL, WHOLE = "absent", "damaged", "partial", "whole"


def check(name: str, root: Path | None) -> dict[str, Any]:
    """One data set: what a person or a program wants to know of it, as plain values.

    ``state``: absent; damaged, where a file is missing or wrong; partial, where there are fewer samples than the
    official ones; or whole. ``problem`` says in one line what is the matter with the first two. What is whole or
    partial has been prepared then.

    Raises:
        InputError: an unknown name.
    """
    found: dict[str, Any] = {"dataset": name, "state": ABSENT, "problem": None, "source": None}
    try:
        entry = dataset_entry(name, root)
    except InputError as error:
        if not is_own(name):
            raise
        state = DAMAGED if root is not None and (root / name).exists() else ABSENT
        return found | {"state": state, "problem": str(error)}
    found |= {"source": entry.source, "classes": entry.classes, "shape": list(entry.shape)}
    reader = entry.make_reader()
    try:
        files = sorted({path for part in PARTS for path in reader.files(root, part)})
    except InputError as error:
        return found | {"state": DAMAGED if _is_there(reader, root) else ABSENT, "problem": str(error)}
    there = {path for path in files if path.exists()}
    if files and not there:
        return found | {"problem": f"none of its {len(files)} files is in {_folder(files)}"}
    found |= _on_disk(sorted(there)) | {"checksums": None}
    if missing := [path for path in files if path not in there]:
        others = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        return found | {"state": DAMAGED, "problem": f"{missing[0]} is missing{others}"}
    if known := _checksums(reader):
        try:
            for path in files:
                if path.name in known:
                    verified(path, known[path.name])  # what was prepared before is not read anew otherwise
        except InputError as error:
            return found | {"state": DAMAGED, "problem": str(error), "checksums": "wrong"}
        found["checksums"] = "right"
    try:
        return found | _samples(name, entry, root)
    except InputError as error:
        return found | {"state": DAMAGED, "problem": str(error)}


def fetch(name: str, root: Path | None) -> None:
    """Download what is missing of a data set.

    Raises:
        InputError: an unknown name, no folder to put it into, or it cannot be had.
    """
    if root is not None:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"data folder {root} cannot be made ({error}); give another with --data") from None
    dataset_entry(name, root).make_reader().fetch(root)


def _on_disk(files: list[Path]) -> dict[str, Any]:
    data = [path for path in files if path.is_file()]
    size = sum(path.stat().st_size for path in data)
    return {"folder": str(_folder(data)) if data else None, "files": len(data), "bytes": size}


def _folder(files: list[Path]) -> Path:
    """The innermost folder that holds them all."""
    return Path(os.path.commonpath([path.parent for path in files]))


def _is_there(reader: Reader, root: Path | None) -> bool:
    """Whether there is the folder that a reader looks into, where it names one."""
    folder: str | None = getattr(reader, "folder", None)
    return root is not None and folder is not None and (root / folder).is_dir()


def _checksums(reader: Reader) -> Mapping[str, str]:
    """The official MD5 of files by name, where a reader knows any."""
    known: Mapping[str, str] = getattr(reader, "checksums", {})
    return known


def _samples(name: str, entry: DatasetEntry, root: Path | None) -> dict[str, Any]:
    """How many samples each part and each class has, what was mended, and where the prepared arrays are."""
    splits = {part: load_split(name, part, root) for part in PARTS}
    forget_splits()
    official = {part: getattr(entry, part) for part in PARTS}
    whole = all(len(split) >= official[part] for part, split in splits.items())
    return {
        "state": WHOLE if whole else PARTIAL,
        "shape": list(splits["train"].entry.shape),
        "samples": {part: len(split) for part, split in splits.items()},
        "official": official,
        "train_per_class": splits["train"].labels.bincount(minlength=entry.classes).tolist(),
        "notes": {part: split.notes for part, split in splits.items() if split.notes},
        "prepared": {part: str(prepared_folder(name, part, root)) for part in PARTS},
    }
