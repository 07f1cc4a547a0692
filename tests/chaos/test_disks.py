"""Disks that get full, or stall, in the middle of a search. Only root can mount file systems of a test's own."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.support import Started
from tests.conftest import Cli
from tests.integration.support import ended, line_count, one_error, rows, wait_for, write_space

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

EPOCHS, TRIALS, STALL = 40, 4, 60
SPACE = f"""
[study]
name = "disk"
pruner = "none"
[fixed]
dataset = "digits"
epochs = {EPOCHS}
batch_size = 8
threads = 1
[nuisance]
momentum = {{low = 0.0, high = 0.9}}
[budget]
trials = {TRIALS}
"""


@contextmanager
def mounted(path: Path, *words: str | Path) -> Iterator[Path]:
    """A file system at ``path``; skips where none can be mounted."""
    path.mkdir()
    done = subprocess.run(["mount", *words, path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def start(cli: Cli) -> Iterator[Started]:
    started = Started(cli)
    yield started
    started.end_all()


def begin(start: Started, disk: Path) -> tuple[subprocess.Popen[str], Path]:
    """A search whose studies are on this disk, in its second trial, and the study's folder."""
    folder = disk / "studies" / "disk"
    process = start("search", write_space(start.cli.cwd, SPACE), "--studies", folder.parent)
    begun = folder / "trials" / "00001" / "metrics.csv"
    wait_for(lambda: begun.exists() and line_count(begun) > 2, 120, "2 epochs of the second trial", process)
    return process, folder


def check_whole(folder: Path) -> None:
    """Every trial has run to its end, and each epoch once."""
    table = rows(folder / "trials.csv")
    assert [(row["state"], row["epochs"]) for row in table] == [("complete", str(EPOCHS))] * TRIALS
    for row in table:
        own = rows(folder / "trials" / f"{int(row['id']):05d}" / "metrics.csv")
        assert [int(one["epoch"]) for one in own] == list(range(1, EPOCHS + 1))


def fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def test_a_search_whose_disk_is_full_is_paused(start: Started, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16m", "tmpfs") as disk:
        process, folder = begin(start, disk)
        before = ended(folder)
        fill(disk / "filler")
        _output, errors = process.communicate(timeout=120)
        assert process.returncode == 1, errors
        assert "No space left on device" in errors.splitlines()[-1]
        assert "the same command goes on" in errors.splitlines()[-1]
        assert "Traceback" not in errors
        assert "failed" not in errors
        assert ended(folder) == before
        (disk / "filler").unlink()
        again = start.cli("search", start.cli.cwd / "small.toml", "--studies", disk / "studies")
        assert again.returncode == 0, again.stderr
        check_whole(folder)


def test_a_disk_that_may_only_be_read_is_named(cli: Cli, tmp_path: Path) -> None:
    """Nothing can begin there; what is there can be looked at."""
    space = write_space(cli.cwd, SPACE)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs") as disk:
        studies = disk / "studies"
        begun = cli("search", space, "--studies", studies, "--set", "budget.trials=1", "--set", "epochs=1")
        assert begun.returncode == 0, begun.stderr
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        other = cli("search", space, "--studies", studies, "--set", "study.name=other")
        one_error(other, f"--studies {studies}: may not be written to")
        one_error(
            cli("report", "disk", "--studies", studies), f"{studies / 'disk'}: may not be written to", "only read it"
        )
        shown = cli("show", "disk", "--studies", studies)
        assert shown.returncode == 0, shown.stderr


def test_a_search_waits_for_a_disk_that_stalls(start: Started, tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
        process, folder = begin(start, disk)
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)  # whoever writes to it waits
        try:
            before = line_count(folder / "trials" / "00001" / "metrics.csv")
            time.sleep(STALL)
            assert line_count(folder / "trials" / "00001" / "metrics.csv") == before
            assert process.poll() is None
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
        _output, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        assert "it goes on from its last checkpoint" not in errors, errors
        check_whole(folder)
