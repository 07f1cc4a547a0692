"""What the figures show, read back from matplotlib's own objects, and how they are saved."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from topotune.config import NONE
from topotune.report import figures
from topotune.report.tables import Confirmed, Curve, CurvePoint, Point

CONFIRMED = {NONE: Confirmed(0.0, (0.97, 0.98)), "grid2d": Confirmed(0.3, (0.99,))}


def _values(data: Any) -> list[float]:
    return [float(one) for one in np.asarray(data)]


def _labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_listed_weights_are_marked_and_set_apart() -> None:
    own = [Point(0.1, 0.9, False), Point(0.1, 0.95, True), Point(1.0, 0.96, True)]
    figure = figures.accuracy_against_weight(
        {NONE: [Point(0, 0.93, True), Point(0, 0.94, True)], "grid2d": own, "sphere": own}
    )
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == [0.1, 1.0]
    drawn = [x for line in axes.lines if line.get_linestyle() == "None" for x in _values(line.get_xdata())]
    assert len(drawn) == len(set(drawn) - {0.1, 1.0}) + 2  # the pruned and the complete one at 0.1 share a place
    assert _labels(figure) == ["grid2d", "sphere", "none (control), best", "none, better half", "complete", "pruned"]
    assert axes.get_ylabel() == "Validation accuracy (%)"


def test_sampled_weights_stay_where_they_are() -> None:
    own = [Point(0.011, 0.95, True), Point(0.5, 0.96, True), Point(7.0, 0.94, True)]
    axes = figures.accuracy_against_weight({"grid2d": own}).axes[0]
    assert [x for line in axes.lines for x in _values(line.get_xdata())] == [0.011, 0.5, 7.0]
    low, high = axes.get_xlim()
    assert 0.005 < low < 0.011
    assert 7.0 < high < 14.0


@pytest.mark.parametrize("weights", [(0.31, 0.33, 0.352), (0.02, 0.05, 0.3), (1e-6, 0.1, 20.0)])
def test_sampled_weights_have_ticks_among_them(weights: tuple[float, ...]) -> None:
    axes = figures.accuracy_against_weight({"grid2d": [Point(weight, 0.9, True) for weight in weights]}).axes[0]
    low, high = axes.get_xlim()
    assert 2 <= sum(low <= tick <= high for tick in axes.get_xticks()) <= 10


def test_a_single_weight_has_one_tick() -> None:
    own = [Point(0.3, 0.95, True), Point(0.3, 0.96, True)]
    axes = figures.accuracy_against_weight({"grid2d": own, "sphere": own}).axes[0]
    assert list(axes.get_xticks()) == [0.3]
    assert list(figures.accuracy_against_weight({"grid2d": own[:1]}).axes[0].get_xticks()) == [0.3]


def test_pruned_trials_far_below_are_counted() -> None:
    own = [Point(0.2, 0.10, False), Point(0.3, 0.95, True), Point(0.4, 0.96, True)]
    axes = figures.accuracy_against_weight({"grid2d": own}).axes[0]
    assert axes.get_ylim()[0] > 90
    assert axes.get_title(loc="left") == "1 pruned trial below 94.9%"
    told = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert "pruned" not in told, "none of them is drawn"
    near = [*own, Point(0.2, 0.949, False)]
    legend = figures.accuracy_against_weight({"grid2d": near}).legends[0]
    assert "pruned" in [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("control", [[Point(0, 0.9, True)], [Point(0, 0.9, False)]])
def test_only_the_control(control: list[Point], tmp_path: Path) -> None:
    figure = figures.accuracy_against_weight({NONE: control})
    (line,) = figure.axes[0].lines
    low, high = figure.axes[0].get_ylim()
    assert low < _values(line.get_ydata())[0] < high
    figures.save(figure, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 5_000


def test_confirmed_shows_seeds_mean_and_control() -> None:
    figure = figures.confirmed_accuracy(CONFIRMED)
    axes = figure.axes[0]
    seeds, single, control = (_values(line.get_ydata()) for line in axes.lines)
    assert seeds == [97.0, 98.0]
    assert single == [99.0]
    assert control == pytest.approx([97.5, 97.5])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none\ncontrol", "grid2d\nλ = 0.3"]
    assert "mean of the control" in _labels(figure)
    assert "mean of the control" not in _labels(figures.confirmed_accuracy({"grid2d": CONFIRMED["grid2d"]}))


def test_pruning_band_is_one_deviation_wide() -> None:
    points = (CurvePoint(0.0, 0.98, 0.01, 3), CurvePoint(0.5, 0.6, 0.02, 3))
    axes = figures.pruning_accuracy({"grid2d": Curve(0.3, points)}).axes[0]
    assert _values(axes.lines[0].get_xdata()) == [0.0, 50.0]
    corners = np.asarray(axes.collections[0].get_paths()[0].vertices)[:, 1]
    assert (corners.min(), corners.max()) == (pytest.approx(58.0), pytest.approx(99.0))


@pytest.mark.parametrize(("style", "pixels"), [("screen", (1200, 675)), ("paper", (1500, 900))])
def test_files_are_the_same_each_time_and_as_large_as_they_should_be(
    style: str, pixels: tuple[int, int], tmp_path: Path
) -> None:
    for number in range(2):
        with figures.looking(style):
            figure = figures.confirmed_accuracy(CONFIRMED)
            figures.save(figure, tmp_path / f"{number}.png", tmp_path / f"{number}.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.pdf", "0.png", "1.pdf", "1.png"]
    for kind in ("png", "pdf"):
        assert (tmp_path / f"0.{kind}").read_bytes() == (tmp_path / f"1.{kind}").read_bytes()
    with Image.open(tmp_path / "0.png") as image:
        assert image.size == pixels
    assert (tmp_path / "0.pdf").read_bytes().startswith(b"%PDF")


def test_a_size_in_inches(tmp_path: Path) -> None:
    with figures.looking("paper", (3.5, 2.5)):
        figures.save(figures.confirmed_accuracy(CONFIRMED), tmp_path / "a.pdf")
    assert b"/MediaBox [ 0 0 252 180 ]" in (tmp_path / "a.pdf").read_bytes()  # 72 points an inch


def test_dollar_signs_are_no_formula(tmp_path: Path) -> None:
    odd = {"$\\frac$": Confirmed(0.1, (0.9, 0.8))}
    figures.save(figures.confirmed_accuracy(odd), tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 5_000
