"""Errors that a user can mend."""

from topotune.errors import InputError, StageError, unknown


def test_an_unknown_name_comes_with_the_known_ones() -> None:
    assert str(unknown("topography", "grid4d", ("grid2d", "circle"))) == (
        "unknown topography 'grid4d'; choose from grid2d, circle"
    )
    assert str(unknown("key", 3, {"a": 1}, "f.toml: [study]")) == "f.toml: [study]: unknown key 3; choose from a"


def test_the_two_kinds_are_told_apart() -> None:
    """Exit codes 2 and 1; a training that diverged was asked for rightly."""
    from topotune.training.records import TrainingDiverged

    assert issubclass(TrainingDiverged, StageError)
    assert not issubclass(StageError, InputError)
    assert not issubclass(InputError, StageError)
