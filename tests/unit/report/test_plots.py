"""Every plot of a whole study against Plotly's own schema, and what they show, read back from their data."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from tests.unit.report.conftest import MakeStudy, write
from tests.unit.report.test_analysis import folder_with_units
from tests.unit.report.test_robustness import robustness_rows
from topotune.files import read_csv, write_csv
from topotune.folder import ROBUSTNESS_COLUMNS, StudyFolder
from topotune.report import plot, result_plots, search_plots, settings_plots, unit_plots
from topotune.report.analysis import Panel
from topotune.report.section import section
from topotune.report.study import ReportStudy
from topotune.report.tables import Curve, CurvePoint
from topotune.topography.positions import positions

IMPORTANCES = {"weight": 0.7, "learning_rate": 0.3}


def _read(folder: StudyFolder, **changes: Any) -> ReportStudy:
    return ReportStudy.read(folder, changes.get("importances"))


def _of(found: plot.Plot | None, topography: str) -> list[plot.Trace]:
    assert found is not None
    return [one for one in found.data if one.get("meta", {}).get("topography") == topography]


def test_every_plot_is_what_plotly_understands(make_study: MakeStudy) -> None:
    folder = folder_with_units(make_study)
    write_csv(folder.robustness_table, ROBUSTNESS_COLUMNS, robustness_rows(perturbations=("weight", "white")))
    curve = [{"epoch": epoch, "validation_accuracy": 0.1 * epoch} for epoch in (1, 2)]
    write_csv(folder.trial(3) / "metrics.csv", list(curve[0]), curve)
    _told, plots = section(_read(folder, importances=IMPORTANCES))
    assert len(plots) == 14
    for name, one in plots.items():
        figure = go.Figure(one.data, one.layout)  # raises where a name or a value is none of Plotly's
        assert len(figure.data) == len(one.data) > 0, name
        assert one.caption
        assert one.description.endswith(".")
        panels = {trace.get("xaxis", "x").replace("x", "xaxis") for trace in one.data}
        assert panels <= set(one.layout), name


def test_trials_along_the_weight(make_study: MakeStudy) -> None:
    study = _read(make_study("search"))
    found = search_plots.weight_plot(study)
    filled, hollow = _of(found, "grid2d")
    wanted = {row["weight"] for row in study.trials if (row["topography"], row["state"]) == ("grid2d", "complete")}
    assert set(filled["x"]) == wanted
    assert hollow["marker"]["symbol"].endswith("-open")
    line, band = _of(found, "none")
    best = max(
        row["validation_accuracy"] for row in study.trials if (row["topography"], row["state"]) == ("none", "complete")
    )
    assert line["y"] == [pytest.approx(100 * best)] * 2
    assert max(band["y"]) == line["y"][0] > min(band["y"])
    assert found is not None
    assert found.layout["xaxis"]["type"] == "log"
    trial = next(row for row in study.trials if row["weight"] == filled["x"][0])
    assert filled["text"][0].startswith(f"trial {trial['id']}: grid2d<br>λ = ")


def test_listed_weights_are_set_apart_and_joined(make_study: MakeStudy) -> None:
    found = search_plots.weight_plot(_read(make_study("search", trials={"weights": [0.1, 1.0]})))
    places = {name: {round(x, 6) for one in _of(found, name) for x in one["x"]} for name in ("grid2d", "sphere")}
    assert len(places["grid2d"]) == len(places["sphere"]) == 2
    assert not places["grid2d"] & places["sphere"]
    assert [one["mode"] for one in _of(found, "grid2d")].count("lines") == 1


def test_the_best_so_far_never_falls(make_study: MakeStudy) -> None:
    found = search_plots.history_plot(_read(make_study("search")))
    assert found is not None
    assert found.data[0]["y"] == sorted(found.data[0]["y"])


def test_a_front_of_two_objectives(make_study: MakeStudy) -> None:
    folder = make_study("search")
    assert search_plots.pareto_plot(_read(folder)) is None
    text = folder.study_file.read_text(encoding="utf-8")
    folder.study_file.write_text(text.replace('"validation_accuracy"', '["validation_accuracy", "parameters"]'))
    rows = [row | {"parameters": 100 + row["id"], "pareto": row["id"] < 9} for row in read_csv(folder.trials_table)]
    write_csv(folder.trials_table, list(rows[0]), rows)
    found = search_plots.pareto_plot(_read(folder))
    assert found is not None
    front = sum(row["state"] == "complete" and row["id"] < 9 for row in rows)
    large = [size for one in found.data for size in one["marker"]["size"] if size > 10]
    assert len(large) == front > 0
    assert found.layout["yaxis"]["title"]["text"] == "Parameters"


def test_a_front_of_three_objectives_has_a_panel_for_every_two(make_study: MakeStudy) -> None:
    folder = make_study("search")
    text = folder.study_file.read_text(encoding="utf-8")
    three = '["validation_accuracy", "parameters", "seconds"]'
    folder.study_file.write_text(text.replace('"validation_accuracy"', three))
    rows = [row | {"parameters": 100 + row["id"], "pareto": row["id"] < 9} for row in read_csv(folder.trials_table)]
    write_csv(folder.trials_table, list(rows[0]), rows)
    found = search_plots.pareto_plot(_read(folder))
    assert found is not None
    go.Figure(found.data, found.layout)
    titles = [tuple(found.layout[f"{axis}axis{panel}"]["title"]["text"] for axis in "xy") for panel in ("", "2", "3")]
    accuracy, parameters, seconds = "Validation accuracy (%)", "Parameters", "Seconds"
    assert titles == [(accuracy, parameters), (accuracy, seconds), (parameters, seconds)]
    grid2d = _of(found, "grid2d")
    assert [one["xaxis"] for one in grid2d] == ["x", "x2", "x3"]
    assert [one["showlegend"] for one in grid2d] == [True, False, False]
    assert grid2d[0]["y"] == grid2d[2]["x"]


def test_parallel_coordinates_go_through_every_setting(make_study: MakeStudy) -> None:
    """A control has no λ: it passes below."""
    found = settings_plots.parallel_plot(_read(make_study("search")))
    assert found is not None
    names = ["topography", "λ", "learning rate", "weight decay", "accuracy (%)"]
    assert found.layout["xaxis"]["ticktext"] == names
    (control, *_), (grid, *_) = _of(found, "none"), _of(found, "grid2d")
    assert control["y"][1] < 0 <= min(one for one in grid["y"] if one is not None)
    assert max(one for own in found.data for one in own["y"] if one is not None) == 1
    assert grid["x"][: len(names) + 1] == [*range(len(names)), None]


def test_settings_without_variety_are_no_axes(make_study: MakeStudy) -> None:
    study = _read(make_study("search", trials={"count": 1, "states": ["complete"], "names": ["none"]}))
    assert settings_plots.parallel_plot(study) is None
    assert settings_plots.settings_plot(study) is None
    assert settings_plots.importance_plot(study) is None


def test_learning_curves_are_apart(make_study: MakeStudy) -> None:
    folder = make_study("search")
    assert search_plots.learning_plot(_read(folder)) is None
    curve = [{"epoch": epoch, "validation_accuracy": 0.25 * epoch} for epoch in (1, 2)]
    for trial in (1, 5):  # both grid2d
        write_csv(folder.trial(trial) / "metrics.csv", list(curve[0]), curve)
    (drawn,) = _of(search_plots.learning_plot(_read(folder)), "grid2d")
    assert (drawn["x"], drawn["y"]) == ([1, 2, None] * 2, [25.0, 50.0, None] * 2)


def test_differences_have_their_intervals(make_study: MakeStudy) -> None:
    summaries = _read(make_study()).summary["confirm"]
    found = result_plots.difference_plot([("demo", summaries)])
    (grid,) = _of(found, "grid2d")
    assert (grid["x"], grid["y"]) == ([pytest.approx(0.8)], ["grid2d"])
    assert grid["error_x"]["array"] == grid["error_x"]["arrayminus"] == [pytest.approx(0.48)]
    assert not _of(found, "none")
    both = result_plots.difference_plot([("a", summaries), ("b", summaries)])
    assert [one["y"] for one in _of(both, "sphere")] == [["a: sphere"], ["b: sphere"]]
    assert result_plots.difference_plot([("a", [])]) is None


def test_a_band_is_one_deviation_wide() -> None:
    points = (CurvePoint(0.0, 0.98, 0.01, 3), CurvePoint(0.5, 0.6, 0.02, 3))
    band, line = plot.curve("grid2d", Curve(0.3, points), 100)
    assert (line["x"], line["y"]) == ([0.0, 50.0], [98.0, 60.0])
    assert band["x"] == [0.0, 50.0, 50.0, 0.0]
    assert band["y"] == pytest.approx([97.0, 58.0, 62.0, 99.0])
    (alone,) = plot.curve("grid2d", Curve(0.3, (CurvePoint(0.0, 0.98, None, 1),)), 100)
    assert alone["text"] == ["grid2d<br>at 0: 98.00%, 1 seeds"]


@pytest.mark.parametrize("name", ["line", "circle", "sphere"])
def test_maps_have_a_square_a_unit_in_any_dimension(name: str) -> None:
    panels = [Panel("variance", positions(name, 20).numpy(), np.arange(20.0), False)]
    found = unit_plots.map_plot((name, name), panels)
    (drawn,) = found.data
    assert len(drawn["x"]) == len(drawn["y"]) == len(drawn["marker"]["color"]) == 20
    assert len({(round(x, 6), round(y, 6)) for x, y in zip(drawn["x"], drawn["y"], strict=True)}) == 20
    assert found.topography == name


def test_numbers_in_the_page_are_short_and_known() -> None:
    found = plot.as_json({"a": plot.Plot([{"x": [1 / 3, float("nan"), "</script>"]}], {}, "", "", 9)})
    assert found == '{"a":{"data":[{"x":[0.333333,null,"\\u003c/script>"]}],"layout":{"height":9}}}'


@pytest.mark.slow
def test_a_page_stays_small_however_many_trials_there_are(make_study: MakeStudy) -> None:
    folder = make_study(trials={"count": 1000})
    curve = [{"epoch": epoch, "validation_accuracy": 1 - 1 / (epoch + 0.1234)} for epoch in range(1, 101)]
    for trial in range(1000):
        write_csv(folder.trial(trial) / "metrics.csv", list(curve[0]), curve)
    assert write(folder, IMPORTANCES).stat().st_size < 8 * 2**20
