"""The two kinds of error that the command line prints in one line, without a traceback."""

from collections.abc import Iterable


class InputError(ValueError):
    """What the user gave is wrong; the text names the value, where it stands and what would be right. Exit code 2."""


class StageError(RuntimeError):
    """A stage could not be completed although its input was right; what was finished is kept. Exit code 1."""


class DiskFull(StageError):
    """There is no room left where something has to be written; whatever else runs will meet the same."""


def unknown(kind: str, value: object, known: Iterable[str], where: str = "") -> InputError:
    """The error for a name that is in no table: ``unknown topography 'grid4d'; choose from grid2d, …``."""
    place = f"{where}: " if where else ""
    return InputError(f"{place}unknown {kind} {value!r}; choose from {', '.join(known)}")
