"""Studies without a cluster: opened as a driver would, trials that leave what a trial leaves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from topotune.files import write_csv, write_json
from topotune.folder import StudyFolder
from topotune.search.study import Asked, Ending, Study
from topotune.search.study_file import load_study

Open = Callable[..., Study]


@pytest.fixture
def open_study(tmp_path: Path) -> Iterator[Open]:
    """Opens the study of a text as a new driver would: the one before was killed, and its lock went with it."""
    opened: dict[str, Study] = {}

    def open_one(text: str, **overrides: Any) -> Study:
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        file = load_study(path, {name.replace("__", "."): value for name, value in overrides.items()})
        if file.name in opened:
            opened.pop(file.name).close()
        opened[file.name] = Study(file, StudyFolder(tmp_path / "studies" / file.name))
        return opened[file.name]

    yield open_one
    for study in opened.values():
        study.close()


def ask(study: Study) -> Asked:
    """The next trial, of which there must be one."""
    asked = study.ask()
    assert asked is not None
    return asked


def train(study: Study, asked: Asked, *seeds: list[float]) -> None:
    """What a trial leaves in its folders, validation accuracies by epoch, a list a seed; its driver is told."""
    for step, (folder, values) in enumerate(zip(study.folder.replicates(asked.number, len(seeds)), seeds, strict=True)):
        rows = [{"epoch": epoch, "validation_accuracy": one, "seconds": 0.5} for epoch, one in enumerate(values, 1)]
        write_csv(folder / "metrics.csv", list(rows[0]), rows)
        write_json(folder / "config.json", asked.config.to_dict())
        (folder / "model.safetensors").write_bytes(b"weights")
        for row in rows if step == 0 else ():
            study.report(asked.number, int(row["epoch"]), row["validation_accuracy"])
        if step:
            study.report(asked.number, study.file.epochs + step, max(values))


def complete(study: Study, *accuracies: float, measured: dict[str, float] | None = None) -> Asked:
    """Ask for a trial and complete it, with one epoch a seed."""
    asked = ask(study)
    train(study, asked, *([one] for one in accuracies))
    study.end(asked.number, "complete", Ending(measured=measured or {}))
    return asked
