"""The table: what is done and what is missing, what takes whose place, and the maps beside it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from topotune.analysis.analyses import Settings
from topotune.analysis.measure import AnalysisJob, Outcome, about, numbers
from topotune.analysis.table import AnalysisTable
from topotune.analysis.units import Chance, Measure
from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.files import Row, read_arrays, read_csv
from topotune.folder import ANALYSIS_COLUMNS

Quick = Callable[..., TrialConfig]
CHANCE = Chance(0.0, -0.1, 0.1)


def _keep(
    table: AnalysisTable, config: TrialConfig, names: tuple[str, ...], views: tuple[str, ...], value: float = 0.5
) -> None:
    def row(name: str, view: str | None, measure: Measure) -> Row:
        where = {"layer": "fc1", "positions": view, "analysis": name}
        return about(config, config.hash, table.settings) | where | numbers(measure)

    rows = [row(name, view, Measure("one", value, chance=CHANCE)) for name in names for view in views]
    rows += [row(name, None, Measure("every", value)) for name in names]
    maps = {f"fc1/{name}": np.full(3, value) for name in names}
    job = AnalysisJob(Path("run"), config.hash, None, names, ("fc1",), views, table.settings)
    table.keep(job, Outcome(config, rows, maps))


@pytest.fixture
def table(tmp_path: Path, quick: Quick) -> AnalysisTable:
    return AnalysisTable(tmp_path / "rows.csv", Settings(), [quick(seed=1).hash, quick(seed=0).hash], ["conv1", "fc1"])


def test_what_is_missing(table: AnalysisTable, quick: Quick) -> None:
    config, asked = quick(), ("moran", "maps")
    assert table.missing(config.hash, asked, ["fc1"], ["grid2d"]) == asked
    _keep(table, config, ("moran",), ("grid2d",))
    assert table.missing(config.hash, asked, ["fc1"], ["grid2d"]) == ("maps",)
    assert table.missing(config.hash, asked, ["fc1", "conv1"], ["grid2d"]) == asked
    assert table.missing(config.hash, asked, ["fc1"], ["grid2d", "circle"]) == asked
    again = AnalysisTable(table.path, Settings(), [], [])
    assert again.missing(config.hash, asked, ["fc1"], ["grid2d"]) == ("maps",)
    other = AnalysisTable(table.path, Settings(permutations=5), [], [])
    assert other.missing(config.hash, asked, ["fc1"], ["grid2d"]) == asked
    table.maps(config.hash).unlink()
    assert again.missing(config.hash, asked, ["fc1"], ["grid2d"]) == asked
    table.maps(config.hash).write_bytes(b"half a file")
    assert again.missing(config.hash, asked, ["fc1"], ["grid2d"]) == asked
    _keep(again, config, asked, ("grid2d",))  # it is made anew
    assert again.missing(config.hash, asked, ["fc1"], ["grid2d"]) == ()


def test_layers_stand_as_in_the_network(table: AnalysisTable, quick: Quick) -> None:
    """Whichever was studied first."""
    config = quick(seed=1)
    rows = [
        about(config, config.hash, table.settings)
        | {"layer": layer, "positions": None, "analysis": "moran"}
        | numbers(Measure("one", 0.5))
        for layer in ("fc1", "conv1", "fc2")
    ]
    table.add(rows)
    assert [row["layer"] for row in read_csv(table.path)] == ["conv1", "fc1", "fc2"]


def test_what_takes_whose_place(table: AnalysisTable, quick: Quick) -> None:
    """The same of the same settings is replaced, other positions stay; of other settings nothing of it stays."""
    first, second = quick(seed=1), quick(seed=0)
    _keep(table, second, ("moran", "maps"), ("grid2d", "circle"))
    _keep(table, first, ("moran",), ("grid2d",))
    _keep(table, second, ("moran",), ("grid2d",), 0.7)
    rows = read_csv(table.path)
    assert tuple(rows[0]) == ANALYSIS_COLUMNS
    assert [(row["seed"], row["analysis"], row["positions"], row["value"]) for row in rows] == [
        (1, "moran", None, 0.5), (1, "moran", "grid2d", 0.5),
        (0, "moran", None, 0.7), (0, "moran", "grid2d", 0.7), (0, "moran", "circle", 0.5),
        (0, "maps", None, 0.5), (0, "maps", "grid2d", 0.5), (0, "maps", "circle", 0.5),
    ]  # fmt: skip
    other = AnalysisTable(table.path, Settings(images=50), [], [])
    _keep(other, second, ("moran",), ("grid2d",), 0.9)
    left = [row for row in read_csv(table.path) if row["seed"] == 0 and row["analysis"] == "moran"]
    assert [(row["positions"], row["value"]) for row in left] == [(None, 0.9), ("grid2d", 0.9)]
    assert sorted(read_arrays(table.maps(second.hash))) == ["fc1/maps", "fc1/moran"]
    assert read_arrays(table.maps(second.hash))["fc1/moran"].tolist() == [0.9] * 3
    other.forget([first.hash])
    assert {row["seed"] for row in other.rows} == {1}


def test_pairs_are_kept_once(table: AnalysisTable, quick: Quick) -> None:
    one, other = quick(seed=1), quick(seed=0)

    def rows(first: TrialConfig, second: TrialConfig, value: float) -> list[Row]:
        where = {"layer": "fc1", "positions": None, "analysis": "similarity"}
        found = about(first, first.hash, table.settings) | where | numbers(Measure("cka", value))
        return [found | {"other": second.hash}]

    table.keep_pairs(rows(one, other, 0.5))
    table.keep_pairs(rows(other, one, 0.6))
    (row,) = read_csv(table.path)
    assert (row["value"], row["other"], row["weights"]) == (0.6, one.hash, other.hash)


def test_a_value_that_is_none(quick: Quick) -> None:
    row = about(quick(topography="none", weight=0.0), "feed", Settings()) | numbers(Measure("one", float("nan")))
    assert row["value"] is row["chance_low"] is row["loss"] is None
    assert set(row) == set(ANALYSIS_COLUMNS) - {"layer", "positions", "analysis"}


def test_another_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="is another table, with the columns a, b; give another file with --out"):
        AnalysisTable(path, Settings(), [], [])
