"""What a person reads at the terminal, in numbers worked by hand."""

from pathlib import Path
from typing import Any

import pytest

from topotune import show
from topotune.files import write_csv, write_json, write_text
from topotune.folder import StudyFolder


def _trial(number: int, state: str, accuracy: float | None) -> dict[str, Any]:
    return {
        "id": number, "state": state, "config_hash": "12345678", "topography": "grid2d", "weight": 0.5,
        "validation_accuracy": accuracy, "epochs": 3, "seconds": 1.5, "reason": None,
    }  # fmt: skip


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Two studies: one with trials and a summary, one that has not begun."""
    root = tmp_path / "studies"
    done = StudyFolder(root / "done")
    write_text(done.study_file, "[study]\nname = 'done'\n")
    rows = [
        _trial(0, "complete", 0.8),
        _trial(1, "pruned", 0.99),
        _trial(2, "complete", 0.9),
        _trial(3, "failed", None),
    ]
    write_csv(done.trials_table, list(rows[0]), rows)
    write_json(done.summary, {"study": "done", "study_hash": "ab", "confirm": []})
    write_text(StudyFolder(root / "new").study_file, "[study]\nname = 'new'\n")
    return root


def test_the_list_of_studies(studies: Path) -> None:
    done, new = show.studies(studies)
    assert (done["study"], done["trials"], done["complete"], done["pruned"], done["failed"]) == ("done", 4, 2, 1, 1)
    assert (done["best_validation_accuracy"], done["confirmed"], done["report"]) == (0.9, 0, False)
    assert (new["study"], new["trials"]) == ("new", 0)
    lines = show.studies_text(studies).splitlines()
    assert [line.split()[0] for line in lines] == ["study", "done", "new"]
    assert lines[1].split() == ["done", "4", "2", "1", "1", "0", "90.00", "0", "no"]
    assert len(lines) == 3
    assert show.studies_text(studies / "done") == f"no studies in {studies / 'done'}"


def test_columns_line_up() -> None:
    assert show.columns([("a", "bb", "c"), ("dddd", "", "λ")]) == ["a     bb  c", "dddd      λ"]
