"""The one kind of error that a user can mend: the command line prints it in one line and exits with code 2."""

from collections.abc import Iterable


class InputError(ValueError):
    """What the user gave is wrong; the text names the value, where it stands and what would be right."""


def unknown(kind: str, value: object, known: Iterable[str], where: str = "") -> InputError:
    """The error for a name that is in no table: ``unknown topography 'grid4d'; choose from grid2d, …``."""
    place = f"{where}: " if where else ""
    return InputError(f"{place}unknown {kind} {value!r}; choose from {', '.join(known)}")
