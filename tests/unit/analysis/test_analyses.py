"""Names and settings of the analyses, as a person gives them."""

import pytest

from topotune.analysis.analyses import ANALYSES, Settings, chosen, named
from topotune.errors import InputError


def test_names() -> None:
    assert named("moran, correlation") == ("moran", "correlation")
    assert named("all") == ()
    for text, wrong in (("moron", "'moron'"), ("", "''"), ("moran,all", "'all'")):
        with pytest.raises(InputError, match=f"--analyses: unknown analysis {wrong}; choose from all, correlation"):
            named(text)
    with pytest.raises(InputError, match="--analyses: 'moran' stands there twice"):
        named("moran,moran")


def test_what_suits_the_data() -> None:
    assert chosen((), True, "digits") == tuple(ANALYSES)
    assert chosen(("symmetry", "correlation"), True, "digits") == ("correlation", "symmetry")  # in the table's order
    sounds = chosen((), False, "birddcase")
    assert set(ANALYSES) - set(sounds) == {"orientation", "symmetry", "eccentricity"}
    with pytest.raises(InputError, match="analysis 'symmetry' needs pictures, and dataset 'birddcase' holds sounds"):
        chosen(("symmetry",), False, "birddcase")


def test_settings_are_told_apart() -> None:
    words = {one.words for one in (Settings(), Settings(images=0), Settings(expert=0.8), Settings(seed=1))}
    assert len(words) == 4
    assert Settings(images=0).words == "images=all permutations=1000 seed=0 expert=0.9"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 3}, "--images 3: must be at least 10, or 0"),
        ({"images": -1}, "--images -1: must be at least 10"),
        ({"permutations": 0}, "--permutations 0: must be at least 1"),
        ({"seed": -1}, "--seed -1: must be at least 0"),
        ({"expert": 0.5}, "--expert 0.5: must be an AUROC"),
        ({"expert": float("nan")}, "--expert nan: must be an AUROC"),
    ],
)
def test_settings_out_of_range(changes: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**changes)  # type: ignore[arg-type]
