"""The figures of a study as files."""

from pathlib import Path

import pytest
from matplotlib.mathtext import MathTextParser

from tests.unit.report.conftest import MakeStudy
from tests.unit.report.test_analysis import folder_with_units
from topotune.errors import InputError
from topotune.folder import StudyFolder
from topotune.losses import LOSSES
from topotune.report.paper import _wanted, write_figures
from topotune.report.position_figures import FORMULAS
from topotune.topography.positions import positions

NAMES = {
    "approach", "organisations", "accuracy_against_weight", "confirmed_accuracy", "pruning_accuracy",
    "correlation_against_distance", "unit_maps-grid2d",
}  # fmt: skip


@pytest.mark.slow
def test_every_figure_is_there_as_pdf_and_png(make_study: MakeStudy, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    written = write_figures(folder_with_units(make_study), out, "paper", (3.5, 2.5))
    assert {path.name for path in written} == {f"{name}.{kind}" for name in NAMES for kind in ("pdf", "png")}
    assert sorted(written) == sorted(out.iterdir())
    assert all(path.stat().st_size > 3_000 for path in written)


def test_a_study_of_the_control_has_no_positions_to_draw(make_study: MakeStudy, tmp_path: Path) -> None:
    folder = make_study("search", trials={"names": ["none"]})
    written = write_figures(folder, tmp_path / "out")
    assert [path.name for path in written] == ["accuracy_against_weight.pdf", "accuracy_against_weight.png"]


def test_nothing_to_draw_is_said(make_study: MakeStudy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study 'demo' has no rows to draw yet; run: topotune search .*study.toml"):
        write_figures(make_study("search", trials={"count": 0}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_loss_wishes_of_each_pair() -> None:
    places = positions("grid2d", 9)
    channel, neighbours = (_wanted(places, loss) for loss in ("channel", "ws"))
    assert channel[0][:3] == pytest.approx([1.0, 1 / 1.5, 0.5])
    assert neighbours[0] == [1, 1, 0, 1, 1, 0, 0, 0, 0]
    assert neighbours[4] == [1] * 9


@pytest.mark.parametrize(
    ("style", "size", "words"),
    [
        ("papr", None, r"--style: unknown style 'papr'; choose from screen, paper"),
        ("paper", (0.0, 2.0), r"--size 0 2: width and height must be from 2 to 30 inches"),
        ("paper", (3.0, float("nan")), r"--size 3 nan"),
    ],
)
def test_wrong_words(
    style: str, size: tuple[float, float] | None, words: str, make_study: MakeStudy, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        write_figures(make_study("search"), tmp_path / "out", style, size)
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(make_study: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match=r"--out .*out: is a file"):
        write_figures(make_study("search"), tmp_path / "out")


def test_a_damaged_study_is_named(make_study: MakeStudy, tmp_path: Path) -> None:
    folder: StudyFolder = make_study("search")
    folder.study_file.write_text("[study", encoding="utf-8")
    with pytest.raises(InputError, match=r"study\.toml: not valid TOML"):
        write_figures(folder, tmp_path)


def test_every_loss_has_a_formula_that_can_be_set() -> None:
    assert set(FORMULAS) == set(LOSSES)
    for formula, where in FORMULAS.values():
        assert MathTextParser("agg").parse(f"${formula}{where}$").width > 50  # raises where it is none
