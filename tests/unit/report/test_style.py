"""How topographies look."""

from topotune.config import NONE
from topotune.report.plot import DASHES, SYMBOLS
from topotune.report.style import CONTROL_COLOUR, LINES, MARKERS, style_of
from topotune.topography import POSITIONS


def test_every_topography_has_its_own_look() -> None:
    looks = {style_of(name) for name in (NONE, *POSITIONS)}
    assert len(looks) == len(POSITIONS) + 1
    assert style_of(NONE).colour == CONTROL_COLOUR
    assert style_of("another") == style_of("third")  # of another version
    assert style_of("grid2d loss=as") != style_of("grid2d loss=ws") != style_of("grid2d")


def test_the_page_has_the_same_markers_and_lines() -> None:
    assert set(SYMBOLS) == set(MARKERS)
    assert set(DASHES) == set(LINES)
