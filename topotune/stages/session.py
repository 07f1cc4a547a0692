"""One study at work in one process."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from topotune import provenance
from topotune.config import TrialConfig
from topotune.data.splits import forget_splits, load_split
from topotune.errors import InputError
from topotune.files import is_full, read_table
from topotune.folder import StudyFolder
from topotune.followup.perturbations import chosen
from topotune.followup.tested import kind_of
from topotune.search.checks import check_layers, check_own_data
from topotune.search.space import StudyFile
from topotune.search.study import Study
from topotune.tracking import Tracker, default_store, shown
from topotune.training.device import advice, pick_device


@dataclass(frozen=True)
class Site:
    """Where a study runs: its data, a Ray cluster (None: one started here), and MLflow's store."""

    data: Path | None
    address: str | None
    mlflow: str
    download: bool = False


class Session:
    """One study at work in this process: its lock, its tracker, and a cluster once a stage needs one."""

    def __init__(self, file: StudyFile, folder: StudyFolder, site: Site) -> None:
        self.file, self.folder, self.site = file, folder, site
        self._stack, self._cluster = ExitStack(), ExitStack()
        self._wanted: Any = None  # what a trial takes on the cluster, once that is joined

    def __enter__(self) -> Self:
        if not self.folder.study_file.exists():
            # a study that cannot begin leaves nothing behind: its name would be bound to settings that do not work
            _check_writable(self.folder.path.parent)
            check_layers(self.file)
            check_data(self.file, self.site)
            self.join_cluster()
            self._advise()
        try:
            self.study = Study(self.file, self.folder)
            self._stack.callback(self.study.close)
            for note in self.study.notes:
                say(note)
            self.tracker = Tracker(self.folder.outbox, self.site.mlflow, self.file.name, say)
            self._stack.callback(self.tracker.close)
            # first: once the lock is open, another driver may train the same trials
            self._stack.push(self._cluster)
            self.commit = provenance.git_commit()
            tags = self._tags("study") | provenance.versions()
            self.tracker.run("study", self.file.name, None, _study_params(self.file), tags)
        except BaseException:
            self._cluster.close()
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self.tracker.end("study", "FINISHED" if error is None else "KILLED")

    def join_cluster(self) -> Any:
        """What a trial takes on the cluster, which the first call joins; machines that leave later change nothing."""
        from topotune.search import runner

        if self._wanted is None:
            grows = self._cluster.enter_context(runner.cluster(self.site.address))
            self._wanted = runner.resources(self.file, say if grows else None)
        return self._wanted

    def _advise(self) -> None:
        """Of a cluster started here, what speaks against a precision on this machine; of others' nothing is known."""
        if self.site.address or "RAY_ADDRESS" in os.environ:
            return
        (device,) = self.file.choices("device")
        for precision in self.file.choices("precision"):
            if said := advice(precision, pick_device(device)):
                say(said)

    @property
    def where_runs_are(self) -> str:
        """The store, and how to look at it."""
        store, studies = self.site.mlflow, self.folder.path.parent
        return f"{shown(store)}  (topotune ui --studies {studies})" if store == default_store(studies) else shown(store)

    def begin(self, key: str, config: TrialConfig, parent: str, stage: str) -> None:
        """Tell MLflow of a run. What can be searched for as a parameter (``params.model = 'vgg16'``) is no tag too."""
        tags = self._tags(stage) | {"config_hash": config.hash}
        name = f"{key.replace('/', ' ') if stage == 'search' else stage} {config.label}"  # trial 7 …, confirm …
        self.tracker.run(key, name, parent, self.file.told(config), tags)

    def log_arrangement(self, key: str, path: Path) -> None:
        """Tell MLflow how a run's channels got their positions: losses and moves, summed over the layers."""
        rounds = read_table(path)["rounds"]
        for epoch in sorted({one["epoch"] for one in rounds}):
            own = [one for one in rounds if one["epoch"] == epoch]
            sums = {name: sum(one[name] for one in own) for name in ("loss_before", "loss_after", "moved")}
            self.tracker.metrics(key, epoch, {f"arrangement_{name}": float(value) for name, value in sums.items()})

    def _tags(self, stage: str) -> dict[str, Any]:
        """What is no setting, and yet searched for; how a run ended joins them as ``state``."""
        of_study = {"study": self.file.name, "study_hash": self.file.hash}
        return of_study | {"stage": stage, "mlflow.source.git.commit": self.commit}


def _check_writable(studies: Path) -> None:
    """Make the folder of the studies, if need be.

    Raises:
        InputError: it cannot be made, or not be written to.
    """
    try:
        studies.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise
        raise InputError(f"--studies {studies}: no folder can be made there ({error.strerror})") from None
    if not os.access(studies, os.W_OK | os.X_OK):
        raise InputError(f"--studies {studies}: may not be written to")


def say(text: str) -> None:
    """A line for the person at the terminal, beside the results on standard output."""
    print(text, file=sys.stderr, flush=True)


def _study_params(file: StudyFile) -> dict[str, Any]:
    sections: Mapping[str, Mapping[str, Any]] = file.sections
    return {
        f"{section}.{key}": value
        for section, table in sections.items()
        for key, value in table.items()
        if value not in ("", None)
    }


def check_data(file: StudyFile, site: Site) -> str:
    """Read the training data here once, so that a damaged file, or a perturbation that does not suit them, is found
    before anything starts; their checksum."""
    check_own_data(file, site.data)
    checksums = []
    for name in file.choices("dataset"):
        split = load_split(name, "train", site.data, site.download)
        chosen(file.option("robustness", "perturbations"), kind_of(split), name)
        checksums.append(split.checksum)
    forget_splits()
    return ", ".join(checksums)
