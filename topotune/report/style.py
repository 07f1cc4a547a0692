"""How each topography looks, the same in every figure and on the page: a colour, a marker and a line.

The control is black. Colours are those of Okabe & Ito, which stay apart for readers with a colour vision deficiency.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from topotune.config import NONE
from topotune.topography import ARRANGEMENTS, POSITIONS, arrangement_of

CONTROL_COLOUR = "#000000"
# Okabe & Ito, with their yellow (#F0E442) darkened: on white it can hardly be seen.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#A89C00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # as matplotlib names them
Line = Literal["-", "--", ":"]
LINES: tuple[Line, ...] = ("-", "--", ":")  # of fixed, learned and assigned positions


class Style(NamedTuple):
    """The look of one topography, in matplotlib's words."""

    colour: str
    marker: str
    line: Line


_VARIANTS: dict[str, int] = {}


def tell_apart(names: Iterable[str]) -> None:
    """From now on each variant among these names has a look of its own; there are 40."""
    variants = [name for name in names if " " in name]
    _VARIANTS.clear()
    _VARIANTS.update((name, place) for place, name in enumerate(variants, start=len(POSITIONS)))


def style_of(topography: str) -> Style:
    """The colour of its organisation, a marker of its own, and a line that says how positions are handed out.

    Past the seventh organisation, colours come again with other markers. Variants of one topography
    (``grid2d loss=ws``) look like it, unless they are told apart.
    """
    if topography == NONE:
        return Style(CONTROL_COLOUR, "o", "-")
    names, (organisation, way) = list(POSITIONS), arrangement_of(topography)
    rank = names.index(organisation) if organisation in names else len(names)
    rank = _VARIANTS.get(topography, rank)
    kind = ARRANGEMENTS.index(way) if way in ARRANGEMENTS else 0
    turn = rank // len(COLOURS) + 2 * kind
    return Style(COLOURS[rank % len(COLOURS)], MARKERS[(rank + turn) % len(MARKERS)], LINES[kind])
