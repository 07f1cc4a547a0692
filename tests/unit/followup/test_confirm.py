"""Which trials are confirmed, on which seeds, and what a confirmed model's row says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from topotune.config import TrialConfig
from topotune.data import DATASETS
from topotune.data.batches import normalise
from topotune.data.splits import load_split
from topotune.files import write_json
from topotune.folder import CONFIRM_COLUMNS, StudyFolder
from topotune.followup.confirm import ConfirmJob, confirm_one, jobs, select
from topotune.load import load_checkpoint
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]


def _row(number: int, state: str, topography: str, accuracy: float | None, epochs: int = 9) -> dict[str, Any]:
    return {
        "id": number, "state": state, "topography": topography, "validation_accuracy": accuracy, "epochs": epochs,
    }  # fmt: skip


ROWS = [
    _row(0, "complete", "grid2d", 0.90),
    _row(1, "complete", "grid2d", 0.92),
    _row(2, "pruned", "grid2d", 0.99, 8),  # better, but not complete
    _row(3, "failed", "grid2d", 0.999),
    _row(4, "running", "grid2d", 0.999),
    _row(5, "complete", "none", 0.80),
    _row(6, "complete", "none", 0.80),  # as good as the one before
    _row(7, "pruned", "circle", 0.95, 2),
    _row(8, "pruned", "circle", 0.70, 4),  # got farther
    _row(9, "pruned", "circle", 0.75, 4),
    _row(10, "pruned", "circle", None, 0),
    _row(11, "failed", "line", 0.9),
    _row(12, "complete", "sphere", 0.9),  # nobody asked
]


def test_selection() -> None:
    selected = select(ROWS, ("none", "grid2d", "circle", "line", "nested2d"))
    assert {name: row["id"] for name, row in selected.items()} == {"none": 5, "grid2d": 1, "circle": 9}
    assert list(selected) == ["none", "grid2d", "circle"]
    assert select([], ("none",)) == {}


def test_selection_of_variants() -> None:
    settings = [("grid2d", "ws", 3.0), ("grid2d", "ws", 0.1), ("grid2d", "as", 0.1), ("none", None, 0.0)]
    settings += [("grid2d", "ws", 0.1), ("none", None, 0.0), ("circle", "ws", 0.1)]
    rows = [
        _row(number, "complete", topography, 0.9 + 0.001 * number) | {"loss": loss, "weight": weight}
        for number, (topography, loss, weight) in enumerate(settings)
    ]
    rows[2] |= {"state": "pruned"}  # the only one of its kind
    selected = select(rows, ("none", "grid2d"), ("loss", "weight"))
    assert [(name, row["id"]) for name, row in selected.items()] == [
        ("none", 5), ("grid2d loss=as weight=0.1", 2), ("grid2d loss=ws weight=0.1", 4),
        ("grid2d loss=ws weight=3.0", 0),
    ]  # fmt: skip
    assert list(select(rows, ("none", "grid2d"), ("weight",))) == ["none", "grid2d weight=0.1", "grid2d weight=3.0"]


def _fit(config: TrialConfig, out: Path, data: Path | None) -> Any:
    return fit(config, out, data)


def test_jobs_go_seed_by_seed_on_seeds_that_the_search_never_saw(quick: Quick, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    for number, config in ((4, quick(topography="none", weight=0.0, seed=2)), (7, quick(seed=2))):
        write_json(folder.trial(number) / "config.json", config.to_dict())
    selected = {"none": {"id": 4}, "grid2d": {"id": 7}}
    found = list(jobs(folder, selected, (1, 2), Path("data"), _fit))
    assert [(job.config.topography, job.config.seed, job.trial) for job in found] == [
        ("none", 3, 4), ("grid2d", 3, 7), ("none", 4, 4), ("grid2d", 4, 7),
    ]  # fmt: skip
    assert [job.variant for job in found] == ["none", "grid2d", "none", "grid2d"]
    assert [job.out for job in found] == [folder.confirmed(job.config) for job in found]
    assert len({job.out for job in found}) == 4
    assert found[1].config == quick(seed=3)
    assert {(job.data, job.train) for job in found} == {(Path("data"), _fit)}


def test_a_confirmed_model_is_tested_once_on_the_test_part(quick: Quick, tmp_path: Path) -> None:
    config = quick(seed=5)
    row = confirm_one(ConfirmJob(config, 7, "grid2d weight=0.1", tmp_path, None, _fit))
    assert tuple(row) == CONFIRM_COLUMNS
    split, model = load_split("digits", "test"), load_checkpoint(tmp_path)
    with torch.no_grad():
        right = [
            int(model(normalise(image[None], DATASETS["digits"])).argmax()) == int(label)
            for image, label in zip(split.images, split.labels, strict=True)
        ]
    assert row["test_accuracy"] == pytest.approx(sum(right) / 360, abs=1e-12)
    assert row["validation_accuracy"] != row["test_accuracy"]
    assert (row["topography"], row["weight"], row["seed"], row["trial"]) == ("grid2d", 0.1, 5, 7)
    assert row["variant"] == "grid2d weight=0.1"
    assert (row["epochs"], row["config_hash"], row["checkpoint"]) == (2, config.hash, str(tmp_path))
    assert row["test_samples"] == 360
