"""A disk that gets full in the middle of a search: nothing fails for it, and what was running goes on later."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.support import Started
from tests.conftest import Cli
from tests.integration.support import ended, line_count, one_error, rows, wait_for, write_space

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

EPOCHS = 30
SPACE = f"""
[study]
name = "full"
pruner = "none"
[fixed]
dataset = "digits"
epochs = {EPOCHS}
batch_size = 8
threads = 1
[nuisance]
momentum = {{low = 0.0, high = 0.9}}
[budget]
trials = 4
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(path: Path) -> None:
    """Write until there is no room left."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def test_a_search_whose_disk_is_full_is_paused(cli: Cli, small_disk: Path) -> None:
    words = ["search", write_space(cli.cwd, SPACE), "--studies", small_disk / "studies"]
    folder, started = small_disk / "studies" / "full", Started(cli)
    try:
        process = started(*words)
        begun = folder / "trials" / "00001" / "metrics.csv"
        wait_for(lambda: begun.exists() and line_count(begun) > 2, 120, "2 epochs of the second trial", process)
        before = ended(folder)
        fill(small_disk / "filler")
        output, errors = process.communicate(timeout=120)
    finally:
        started.end_all()
    done = subprocess.CompletedProcess(process.args, process.returncode, output, errors)
    last = one_error(done, "No space left on device", "the same command goes on", code=1)
    assert str(small_disk) in last or "No space" in last
    assert "failed" not in errors
    assert ended(folder) == before

    os.unlink(small_disk / "filler")
    again = cli(*words)
    assert again.returncode == 0, again.stderr
    table = rows(folder / "trials.csv")
    assert [(row["state"], row["epochs"]) for row in table] == [("complete", str(EPOCHS))] * 4
    for row in table:
        own = rows(folder / "trials" / f"{int(row['id']):05d}" / "metrics.csv")
        assert [int(one["epoch"]) for one in own] == list(range(1, EPOCHS + 1))
