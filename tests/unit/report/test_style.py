"""How topographies look."""

from topotune.config import NONE
from topotune.report.plot import DASHES, SYMBOLS
from topotune.report.style import CONTROL_COLOUR, LINES, MARKERS, style_of, tell_apart
from topotune.topography import POSITIONS


def test_every_topography_has_its_own_look() -> None:
    looks = {style_of(name) for name in (NONE, *POSITIONS)}
    assert len(looks) == len(POSITIONS) + 1
    assert style_of(NONE).colour == CONTROL_COLOUR
    assert style_of("another") == style_of("third")  # of another version


def test_variants_are_told_apart() -> None:
    variants = [f"grid2d loss={loss} weight={weight}" for loss in ("as", "ws") for weight in range(20)]
    tell_apart(["none", *POSITIONS, *variants])
    looks = {style_of(name) for name in (*POSITIONS, *variants)}
    tell_apart([])
    assert len(looks) == len(POSITIONS) + len(variants)
    assert {style_of(name) for name in variants} == {style_of("grid2d")}


def test_the_page_has_the_same_markers_and_lines() -> None:
    assert set(SYMBOLS) == set(MARKERS)
    assert set(DASHES) == set(LINES)
