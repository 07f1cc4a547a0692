"""Every command of every README in cluster/ is one, as it stands."""

import re
from pathlib import Path

import click
import pytest

from tests.cluster.support import CLUSTER, FILES, READMES, check, commands, ray

PLACES = [path for path in READMES if path.parent != CLUSTER]


def _name(path: Path) -> str:
    return path.relative_to(CLUSTER).as_posix()


@pytest.mark.parametrize("path", READMES, ids=_name)
def test_every_command_is_one(path: Path) -> None:
    found = list(commands(path.read_text(encoding="utf-8")))
    assert path.parent == CLUSTER or len(found) >= 3
    for words in found:
        check(words)


@pytest.mark.parametrize(
    "command",
    [
        "topotune run search_spaces/digits.toml --stduies /shared",
        "topotune run search_spaces/nonsense.toml",
        "ray up --yess cluster/aws/cluster.yaml",
        "ray upp cluster/aws/cluster.yaml",
        "ray up --yes cluster/nowhere/cluster.yaml",
        "ray get-auth-token --generate now",
        "kubectl apply --filename cluster/kubernetes/nothing.yaml",
        "sbatch cluster/slurm/study.sbatch search_spaces/digits.toml --stduies /shared",
        "sbatch cluster/slurm/studies.sbatch search_spaces/digits.toml",
        "cluster/local/tail.sh",
    ],
)
def test_a_wrong_command_is_found(command: str) -> None:
    (words,) = commands(f"Type\n\n    A=1 {command}   # so\n\nand wait.\n")
    assert " ".join(words) == command
    with pytest.raises((ValueError, AssertionError, click.UsageError)):
        check(words)


def test_commands_are_found_in_text_and_blocks() -> None:
    text = "Say `ray down --yes\nx.yaml`, or\n\n    umask 077 && ray up \\\n        --yes x.yaml > log\n\nand `ray`.\n"
    assert list(commands(text)) == [["ray", "up", "--yes", "x.yaml"], ["ray", "down", "--yes", "x.yaml"]]
    ray(["up", "--yes", "x.yaml"])


@pytest.mark.parametrize("path", PLACES, ids=_name)
def test_a_place_says_all_that_one_needs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    places = [
        text.find(f"**{word}**") for word in ("Bring up", "Submit", "Watch", "Fetch results", "Tear down", "Cost")
    ]
    assert -1 not in places
    assert places == sorted(places)


def test_the_table_names_every_place() -> None:
    text = (CLUSTER / "README.md").read_text(encoding="utf-8")
    for path in PLACES:
        assert f"({_name(path)})" in text


def test_every_file_says_what_it_is() -> None:
    for path in FILES:
        if path.name != "README.md":
            first, second = path.read_text(encoding="utf-8").splitlines()[:2]
            assert re.fullmatch(r"# .{20,}", second if first.startswith("#!") else first), path
