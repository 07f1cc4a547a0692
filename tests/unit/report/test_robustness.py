"""Robustness in the report: curves, their means and areas, the figure and the page."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from tests.unit.report.conftest import write
from topotune.files import Row, read_json, write_csv, write_json
from topotune.folder import ROBUSTNESS_COLUMNS, StudyFolder
from topotune.followup.curves import summarise_robustness
from topotune.report import figures, robustness

MakeStudy = Callable[..., StudyFolder]
LEVELS = (0.0, 0.5, 2.0)
ACCURACIES = {"none": (0.9, 0.5, 0.1), "grid2d": (0.9, 0.7, 0.3)}


def robustness_rows(seeds: int = 3, draws: int = 2, perturbations: tuple[str, ...] = ("weight",)) -> list[Row]:
    """Seeds lie 0.01 apart, the draws of one model 0.02."""
    return [
        {
            "topography": name, "weight": 0.0 if name == "none" else 0.3, "seed": seed, "perturbation": perturbation,
            "level": level, "draw": draw, "accuracy": accuracy + 0.01 * seed + 0.02 * (draw - (draws - 1) / 2),
            "clean_accuracy": 0.9 + 0.01 * seed, "source": "drawn", "config_hash": f"cafe{seed}{name}",
        }
        for name, curve in ACCURACIES.items()
        for seed in range(seeds)
        for perturbation in perturbations
        for level, accuracy in zip(LEVELS, curve, strict=True)
        for draw in range(draws)
    ]  # fmt: skip


def test_a_curve_is_the_seeds_of_the_draws_means() -> None:
    curve = robustness.curves(robustness_rows())["weight"]["grid2d"]
    assert curve.weight == 0.3
    assert [point.proportion for point in curve.points] == list(LEVELS)
    assert [point.mean for point in curve.points] == pytest.approx([0.91, 0.71, 0.31])
    # of three seeds, whatever the draws
    assert [point.std for point in curve.points] == pytest.approx([0.01] * 3)
    assert {point.seeds for point in curve.points} == {3}


def test_means_and_areas() -> None:
    """grid2d: mean (0.9 + 0.7 + 0.3) / 3 + 0.01; area (0.5 · 0.8 + 1.5 · 0.5) / 2 + 0.01; 1/7.5 above the control."""
    rows = robustness.table(summarise_robustness(robustness_rows(), "none")).rows
    assert rows == (
        ("weight", "none", "–", "3", "91.00 ± 1.00", "51.00 ± 1.00", "41.00 ± 1.00", "–", "–", "–"),
        ("weight", "grid2d", "0.3", "3", "91.00 ± 1.00", "64.33 ± 1.00", "58.50 ± 1.00", "+13.33", "–", "–"),
    )


def test_differences_have_intervals_and_corrected_p() -> None:
    rows = robustness_rows(perturbations=("weight", "fog"))
    apart = [0.01, -0.02, 0.0]  # of grid2d's seeds, so that they differ from the control's by different amounts
    rows = [row | {"accuracy": row["accuracy"] + apart[row["seed"]] * (row["topography"] != "none")} for row in rows]
    found = summarise_robustness(rows, "none")
    one = next(row for row in found if (row["perturbation"], row["topography"]) == ("fog", "grid2d"))
    test = ttest_1samp([0.4 / 3 + own for own in apart], 0)
    assert (one["low"], one["high"]) == pytest.approx(tuple(test.confidence_interval()))
    assert one["p_holm"] == pytest.approx(2 * test.pvalue)  # two perturbations were compared
    assert robustness.table(found).rows[-1][-2:] == ("+9.21 to +16.79", f"{one['p_holm']:.2g}")


def test_a_single_seed_and_no_control() -> None:
    rows = [row for row in robustness_rows(seeds=1, draws=1) if row["topography"] == "grid2d" and row["level"] == 0.5]
    found = robustness.table(summarise_robustness(rows, "none")).rows
    assert found == (("weight", "grid2d", "0.3", "1", "90.00", "70.00", "70.00", "–", "–", "–"),)
    assert robustness.table([]).rows == ()
    assert robustness.curves([]) == {}


def test_the_figure_has_a_panel_a_perturbation() -> None:
    names = ("weight", "white", "fog", "snow")
    figure = figures.robustness_accuracy(robustness.curves(robustness_rows(perturbations=names)))
    assert [axes.get_title() for axes in figure.axes] == list(names)
    for axes in figure.axes:
        drawn: list[Any] = [np.asarray(line.get_ydata()) for line in axes.lines]
        assert drawn[1] == pytest.approx([91.0, 71.0, 31.0])
        corners = np.asarray(axes.collections[0].get_paths()[0].vertices)[:, 1]
        assert (corners.min(), corners.max()) == (pytest.approx(10.0), pytest.approx(92.0))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["none (control)", "grid2d"]


def test_the_page_shows_it_where_it_was_measured(make_study: MakeStudy) -> None:
    folder = make_study()
    assert "Robustness" not in write(folder).read_text(encoding="utf-8")
    write_csv(folder.robustness_table, ROBUSTNESS_COLUMNS, robustness_rows())
    summary = read_json(folder.summary) | {"robustness": summarise_robustness(robustness_rows(), "none")}
    write_json(folder.summary, summary)
    page = write(folder).read_text(encoding="utf-8")
    assert '<h2 id="robust">Robustness</h2>' in page
    assert "64.33 ± 1.00" in page
    folder.robustness_table.unlink()
    assert "Robustness" not in write(folder).read_text(encoding="utf-8")
    assert not (folder.figures / "robustness_accuracy.png").exists()
