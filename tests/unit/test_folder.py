"""A study's folder and how it is found."""

from pathlib import Path

import pytest

from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.folder import PRUNING_COLUMNS, StudyFolder, list_studies, open_study


def _study(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True)
    (root / name / "study.toml").touch()
    return root / name


def test_paths_of_a_study() -> None:
    folder, config = StudyFolder(Path("/s/digits")), TrialConfig(topography="circle", weight=1.0, seed=4)
    assert folder.name == "digits"
    assert folder.trial(7) == Path("/s/digits/trials/00007")
    assert folder.confirmed(config) == Path(f"/s/digits/confirm/circle-seed4-{config.hash}")
    assert folder.best == Path("/s/digits/best")
    paths = [
        folder.study_file, folder.journal, folder.trials_table, folder.confirm_table, folder.pruning_table,
        folder.figures, folder.report, folder.summary,
    ]  # fmt: skip
    assert [path.name for path in paths] == [
        "study.toml", "journal.log", "trials.csv", "confirm.csv", "pruning.csv", "figures", "report.html",
        "summary.json",
    ]  # fmt: skip


def test_a_study_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    first, _second = _study(tmp_path, "b"), _study(tmp_path, "a")
    (tmp_path / "no-study").mkdir()
    assert [folder.name for folder in list_studies(tmp_path)] == ["a", "b"]
    assert open_study(Path("b"), tmp_path) == open_study(first, tmp_path / "elsewhere") == StudyFolder(first.resolve())
    with pytest.raises(InputError, match=r"no study 'c'.*\(there: a, b\)"):
        open_study(Path("c"), tmp_path)
    with pytest.raises(InputError, match="there: none yet"):
        open_study(Path("no-study"), tmp_path / "no-study")
    assert list_studies(tmp_path / "nowhere") == []


def test_confirmed_models_go_by_their_variants(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    rows = [{"topography": "grid2d", "config_hash": name} for name in ("a", "b", "c")]
    assert folder.by_variant(rows) == rows
    folder.confirm_table.write_text("topography,variant,config_hash\ngrid2d,grid2d loss=ws,a\ngrid2d,,b\n")
    assert [row["topography"] for row in folder.by_variant(rows)] == ["grid2d loss=ws", "grid2d", "grid2d"]
    folder.confirm_table.write_text("topography,config_hash\ngrid2d,a\n")  # of before there were variants
    assert folder.by_variant(rows) == rows


def test_a_pruning_table_of_before_there_were_criteria_is_read(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.pruning_table.write_text("topography,weight,seed,proportion,accuracy,config_hash\nnone,0.0,1,0.5,0.9,abc\n")
    (row,) = folder.pruned()
    assert (row["criterion"], row["scope"], row["finetune_epochs"]) == ("l2", "topographic", 0)
    assert set(row) == set(PRUNING_COLUMNS)
