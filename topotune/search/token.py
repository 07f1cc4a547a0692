"""The token of a Ray cluster, as the environment has it: looked at before Ray is, which says less of what is wrong."""

import os
from pathlib import Path

from topotune.errors import InputError

MODES = ("token", "disabled")


def check_token() -> None:
    """Whether Ray can make something of RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH.

    Raises:
        InputError: the mode is none, or the file is not there, may not be read, or is empty.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode and mode.lower() not in MODES:
        raise InputError(f"RAY_AUTH_MODE={mode}: must be {' or '.join(MODES)}")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if not path or os.environ.get("RAY_AUTH_TOKEN") or mode.lower() == "disabled":
        return
    try:
        empty = not Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"RAY_AUTH_TOKEN_PATH={path}: no token can be read there ({error})") from None
    if empty:
        raise InputError(f"RAY_AUTH_TOKEN_PATH={path}: the file is empty; it must hold the token of the head")


def token_hint() -> str:
    """What to do where a head refuses: the token that was found is another, or none was looked for."""
    where = "put the head's into RAY_AUTH_TOKEN, or the path of its file into RAY_AUTH_TOKEN_PATH"
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return f"the head asks for its token: set RAY_AUTH_MODE=token, and {where}"
    names = [name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(name)]
    return f"the head does not take the token of {[*names, '~/.ray/auth_token'][0]}: {where}"
