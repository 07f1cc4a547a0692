"""What of a token's place in the environment is told before Ray is asked."""

from pathlib import Path

import pytest

from topotune.errors import InputError
from topotune.search.token import check_token, token_hint


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"RAY_AUTH_MODE": "foo"}, r"^RAY_AUTH_MODE=foo: must be token or disabled$"),
        ({"RAY_AUTH_TOKEN_PATH": "/nope"}, r"^RAY_AUTH_TOKEN_PATH=/nope: no token can be read there \(.*No such file"),
        ({"RAY_AUTH_TOKEN_PATH": "/"}, r"^RAY_AUTH_TOKEN_PATH=/: no token can be read there"),
        ({"RAY_AUTH_TOKEN_PATH": "/dev/null", "RAY_AUTH_MODE": "token"}, r"^RAY_AUTH_TOKEN_PATH=/dev/null: .* empty"),
    ],
)
def test_what_is_wrong(environment: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(environment, monkeypatch)
    with pytest.raises(InputError, match=reason):
        check_token()


@pytest.mark.parametrize(
    "environment",
    [
        {}, {"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "TOKEN"},
        {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": "/nope"},
        {"RAY_AUTH_TOKEN": "secret", "RAY_AUTH_TOKEN_PATH": "/nope"}, {"RAY_AUTH_TOKEN_PATH": "PATH"},
    ],
)  # fmt: skip
def test_what_is_not(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    _only({name: value.replace("PATH", str(tmp_path / "token")) for name, value in environment.items()}, monkeypatch)
    check_token()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "asks for its token: set RAY_AUTH_MODE=token, and put the head's into RAY_AUTH_TOKEN"),
        ({"RAY_AUTH_MODE": "token"}, "does not take the token of ~/.ray/auth_token: put the head's"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a"}, "does not take the token of RAY_AUTH_TOKEN: "),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "a"}, "does not take the token of RAY_AUTH_TOKEN_PATH: "),
    ],
)
def test_what_to_do_where_a_head_refuses(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only(environment, monkeypatch)
    assert words in token_hint()


def _only(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
