"""The files of cluster/, and the commands that their READMEs tell people to type."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from topotune.arguments import parser

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file() and path.name != ".env")
READMES = [path for path in FILES if path.name == "README.md"]
SCRIPTS = [path for path in FILES if path.suffix in (".sh", ".sbatch")]
TOOLS = ("topotune", "ray", "kubectl", "sbatch", "scancel", "docker", "cluster/")

_ENDS = {"&&", "||", "|", ";", "(", ")", ">", "&", "{", "}"}


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of TOOLS in a README: in its indented blocks, and between backticks, where two words
    only name one."""
    blocks = re.findall(r"(?:^ {4}.*\n)+", text, re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", re.sub(r"(?:^ {4}.*\n)+", "", text, flags=re.MULTILINE))
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in lines + [" ".join(span.split()) for span in spans if len(span.split()) > 2]:
        for words in _split(line):
            if words and words[0].startswith(TOOLS) and (len(words) > 1 or words[0].endswith(".sh")):
                yield words


def _split(line: str) -> Iterator[list[str]]:
    """A line's commands, without variables set before them; `$(…)` counts as one word."""
    plain = line.strip()
    while (shorter := re.sub(r"\$\([^()]*\)", "SUBSTITUTED", plain)) != plain:
        plain = shorter
    lexer = shlex.shlex(plain, posix=True, punctuation_chars="&|;>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in _ENDS:
            yield words
            words = []
        elif words or not re.fullmatch(r"\w+=.*", word):
            words.append(word)


def check(words: list[str]) -> None:
    """Raises where the command would be refused as it stands, or names a file that is not there."""
    tool, *rest = words
    if tool == "topotune":
        _topotune(rest)
    elif tool == "ray":
        ray(rest)
    elif tool == "sbatch" and (study := rest[rest.index("cluster/slurm/study.sbatch") + 1 :]) != ["…"]:
        _topotune(["run", *study])
    for word in words:
        if word.startswith(("cluster/", "search_spaces/")):
            assert (ROOT / word).is_file(), f"{word} is not there"


def _topotune(words: list[str]) -> None:
    try:
        parser().parse_args(words)
    except SystemExit as error:
        raise ValueError(f"topotune {' '.join(words)}") from error


def ray(words: list[str]) -> None:
    """Parse a command of Ray by its own command line, and run nothing.

    Raises:
        click.UsageError: it would be refused.
    """
    from ray.scripts.scripts import cli

    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"ray has no command {name!r}")
        command = found
    command.make_context("ray", list(words))
