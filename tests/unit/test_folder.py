"""A study's folder and how it is found."""

from pathlib import Path

import pytest

from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.folder import _NEEDED, PRUNING_COLUMNS, StudyFolder, list_studies, open_study


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
    more, empty = "weight,seed,test_accuracy,validation_accuracy,checkpoint", "," * 5
    folder.confirm_table.write_text(
        f"topography,variant,config_hash,{more}\ngrid2d,grid2d loss=ws,a{empty}\ngrid2d,,b{empty}\n"
    )
    assert [row["topography"] for row in folder.by_variant(rows)] == ["grid2d loss=ws", "grid2d", "grid2d"]
    folder.confirm_table.write_text(f"topography,config_hash,{more}\ngrid2d,a{empty}\n")  # of before there were any
    assert folder.by_variant(rows) == rows


def test_a_pruning_table_of_before_there_were_criteria_is_read(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    folder.pruning_table.write_text("topography,weight,seed,proportion,accuracy,config_hash\nnone,0.0,1,0.5,0.9,abc\n")
    (row,) = folder.rows(folder.pruning_table)
    assert (row["criterion"], row["scope"], row["finetune_epochs"]) == ("l2", "topographic", 0)
    assert set(row) == set(PRUNING_COLUMNS)


@pytest.mark.parametrize("name", ["trials", "confirm", "pruning", "robustness", "analysis"])
def test_another_table_is_told_from_a_damaged_one(tmp_path: Path, name: str) -> None:
    folder = StudyFolder(tmp_path)
    table: Path = getattr(folder, f"{name}_table")
    assert folder.rows(table) == []
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=rf"{table}: is another table: it has no column '\w+', but a, b$"):
        folder.rows(table)
    columns, numbers = _NEEDED[table.name]
    header = list(dict.fromkeys((*columns, *numbers)))
    row = ["0.5" if one in numbers else "x" for one in header]
    table.write_text("\n".join([",".join(header), ",".join(row)]))
    assert len(folder.rows(table)) == 1
    row[header.index(numbers[-1])] = "much"
    table.write_text("\n".join([",".join(header), ",".join(row)]))
    with pytest.raises(InputError, match=rf"{table}, line 2: {numbers[-1]} = 'much' is not a number"):
        folder.rows(table)
