"""The analyses in the report: curves and maps of the last layer, the figures and the page."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.report.conftest import write
from topotune.errors import InputError
from topotune.files import Row, write_arrays, write_csv
from topotune.folder import ANALYSIS_COLUMNS, StudyFolder
from topotune.report import analysis, unit_figures
from topotune.topography.positions import positions

MakeStudy = Callable[..., StudyFolder]
LOOKED_AT = (("grid2d", "grid2d"), ("none", "grid2d"), ("none", "grid2d-assigned"))


def _rows(layers: tuple[str, ...] = ("conv1", "fc1"), seeds: int = 3) -> list[Row]:
    """Seeds lie 0.02 apart; chance is −0.1 … 0.1."""
    rows: list[Row] = []
    for seed in range(seeds):
        for place, (topography, on) in enumerate(LOOKED_AT):
            about = {
                "model": "mnist_cnn", "topography": topography, "weight": 0.3, "seed": seed, "settings": "images=10",
                "config_hash": f"cafe{seed}", "weights": f"beef{seed}{topography}",
            }  # fmt: skip
            for layer in layers:
                own = about | {"layer": layer, "analysis": "correlation", "positions": on}
                own |= {"chance_mean": 0.0, "chance_low": -0.1, "chance_high": 0.1}
                rows += [own | {"measure": "neighbours", "value": 0.5 - 0.2 * place + 0.02 * seed}]
                rows += [own | {"measure": "r", "at": at, "value": 1 / at + 0.02 * seed} for at in (2, 1)]
                single = about | {"layer": layer, "analysis": "dimensionality", "measure": "activations", "value": 4.5}
                rows += [single] if place != 2 else []
                rows += (
                    [single | {"analysis": "similarity", "measure": "cka", "other": "beef0none"}]
                    if topography != "none"
                    else []
                )
    return rows


def folder_with_units(make_study: MakeStudy) -> StudyFolder:
    folder = make_study()
    write_csv(folder.analysis_table, ANALYSIS_COLUMNS, _rows())
    places = positions("grid2d", 25).numpy()
    maps = {
        "fc1/orientation": np.linspace(0, 3, 25),
        "fc1/weight_components": np.eye(3, 25),
        "fc1/variance": places[:, 0],
    }
    maps |= {f"fc1/positions/{on}": places for on in ("grid2d", "grid2d-assigned")}
    for topography in ("none", "grid2d"):
        write_arrays(folder.analysis_table.with_suffix("") / f"beef0{topography}.npz", maps)
    return folder


def test_curves_are_means_over_the_seeds() -> None:
    whole = [dict.fromkeys(ANALYSIS_COLUMNS) | row for row in _rows()]
    rows = analysis.studied(whole)
    assert {row["layer"] for row in rows} == {"fc1"}
    found = analysis.curves(rows)
    assert list(found) == [("none", "grid2d"), ("none", "grid2d-assigned"), ("grid2d", "grid2d")]  # the control first
    near, far = found["grid2d", "grid2d"]
    half = 0.1 / 3**0.5  # of the mean over three
    np.testing.assert_allclose(near, (1, 1.02, -half, half))
    np.testing.assert_allclose(far, (2, 0.52, -half, half))


def test_what_is_shown_of_a_table() -> None:
    """Of the layers that most models were studied in, the last; of its settings, those with which most was found."""
    whole = [dict.fromkeys(ANALYSIS_COLUMNS) | row for row in _rows()]
    alone = whole[0] | {"layer": "fc2"}
    assert {row["layer"] for row in analysis.studied([*whole, alone])} == {"fc1"}
    fewer = [row | {"settings": "images=5"} for row in whole if row["layer"] == "fc1"][:-1]
    assert {row["settings"] for row in analysis.studied([*fewer, *whole])} == {"images=10"}
    assert analysis.studied([]) == []


def test_figures() -> None:
    rows = analysis.studied([dict.fromkeys(ANALYSIS_COLUMNS) | row for row in _rows()])
    curves = analysis.curves(rows)
    figure = unit_figures.correlation_against_distance(curves)
    assert [len(axes.lines) for axes in figure.axes] == [3]
    apart = curves | {("circle", "circle"): curves["grid2d", "grid2d"]}
    every = unit_figures.correlation_against_distance(apart).axes
    assert [(axes.get_title(), len(axes.lines)) for axes in every] == [
        ("grid2d, distance in steps", 3), ("circle, distance", 1),
    ]  # fmt: skip
    assert len(figure.axes[0].collections) == 3
    panels = {
        (name, name): [
            analysis.Panel(name, positions(name, 20).numpy(), np.arange(20.0), cyclic) for cyclic in (False, True)
        ]
        for name in ("line", "circle", "sphere")
    }
    figure = unit_figures.unit_maps(panels)
    maps = [axes.collections[0] for axes in figure.axes if axes.get_title()]
    assert len(maps) == 6
    assert [one.get_cmap().name for one in maps[:2]] == ["viridis", "twilight"]
    assert [one.get_clim() for one in maps[:2]] == [(0, 19), (0, 180)]  # an orientation's colours come back at 180°
    assert len(figure.axes) == 2 * len(maps)  # each has its scale


def test_the_page_has_a_section_where_there_are_rows(make_study: MakeStudy) -> None:
    folder = folder_with_units(make_study)
    page = write(folder).read_text(encoding="utf-8")
    assert '<h2 id="analysis">What the units represent</h2>' in page
    assert "Layer fc1, the last of those that were studied; analysis.csv has conv1 too. Settings: images=10." in page
    assert "<dt>correlation: neighbours</dt>" in page
    assert "How like the representations of two models are" in page
    folder.analysis_table.unlink()
    assert "What the units represent" not in write(folder).read_text(encoding="utf-8")


def test_a_file_of_maps_that_is_another_is_named(make_study: MakeStudy) -> None:
    folder = folder_with_units(make_study)
    path = folder.analysis_table.with_suffix("") / "beef0grid2d.npz"
    places = positions("grid2d", 25).numpy()
    for wrong in ({"fc1/variance": np.ones(24)}, {"fc1/variance": np.ones(25), "fc1/positions/grid2d": np.ones(25)}):
        write_arrays(path, {"fc1/positions/grid2d": places} | wrong)
        with pytest.raises(InputError, match=rf"{path} is damaged \(a map has not as many units as positions\)"):
            write(folder)
    path.unlink()
    assert "map-3" not in write(folder).read_text(encoding="utf-8")
    (path.parent / "beef0none.npz").unlink()
    assert "There are no maps: <code>topotune analyze demo</code>" in write(folder).read_text(encoding="utf-8")
