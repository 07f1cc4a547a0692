"""What a person sees: on a real terminal a table and a line, through a real pipe a log, a line an event."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from topotune.progress import Progress, _duration

ROOT = str(Path(__file__).resolve().parents[2])
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "
STORY = """
import time
from topotune.progress import Progress
with Progress("search", "trials", total=20, heartbeat=0.4) as progress:
    for number in range(12):
        progress.started(number, f"grid2d λ=0.0{number} seed=0", 27)
    progress.epoch(3, 5, 0.9312)
    progress.ended("complete", "trial 0: a success", 0)
    time.sleep(1)
    progress.ended("failed", "trial 1: out of memory", 1)
    time.sleep(1)
    progress.say("search: over")
"""


def _environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return kept | {"PYTHONPATH": ROOT, "PYTHONUTF8": "1"} | changes


def _on_a_terminal(**changes: str) -> str:
    """What the story writes on a terminal of 80 columns."""
    leader, follower = pty.openpty()
    words, known = [sys.executable, "-c", STORY], _environment(COLUMNS="80", **({"TERM": "xterm"} | changes))
    with subprocess.Popen(words, stderr=follower, stdout=follower, env=known) as process:
        os.close(follower)
        found = b""
        while True:
            try:
                some = os.read(leader, 65536)
            except OSError:  # as Linux says that the other end is closed
                break
            if not some:
                break
            found += some
    os.close(leader)
    assert process.returncode == 0, found
    return found.decode()


def _through_a_pipe(**changes: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", STORY], capture_output=True, text=True, timeout=100, env=_environment(**changes)
    )
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr


@pytest.mark.parametrize("changes", [{}, {"FORCE_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}], ids=str)
def test_a_pipe_gets_a_log(changes: dict[str, str]) -> None:
    log = _through_a_pipe(**changes)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log)  # no escapes, no carriage returns
    lines = log.splitlines()
    assert all(re.match(TIME, line) for line in lines)
    told = [re.sub(TIME, "", line, count=1) for line in lines]
    assert told[0] == "trial 0: a success   [search: 1/20 trials · 1 complete · 1 running · 10 starting]"
    assert told[-1] == "search: over"
    failed = told.index(
        "trial 1: out of memory   [search: 2/20 trials · 1 complete, 1 failed · 1 running · 9 starting]"
    )
    alive = [one for one in told if one.startswith("search: ") and "trial 3 epoch 5/27" in one]
    assert alive[0].startswith(
        "search: 1/20 trials · 1 complete · 1 running · 10 starting; trial 1 epoch 0/27; trial 2 epoch 0/27;"
    )
    assert len(told) == 3 + len(alive)
    assert 1 <= failed - 1 <= 2  # in a second at one in 0.4 s
    assert 1 <= len(told) - failed - 2 <= 2


def test_a_terminal_gets_a_table() -> None:
    shown = _on_a_terminal()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain)]
    assert "running   settings               epoch  validation %  seconds" in lines
    row = r"trial 3   grid2d λ=0\.03 seed=0    5/27         93\.12        \d"
    assert any(re.fullmatch(row, one) for one in lines)
    assert "and 1 more" in lines
    assert any(one.startswith("search: 1/20 trials · 1 complete · 1 running · 10 starting") for one in lines)
    assert all(len(line) <= 80 for line in lines)
    # a failure stays, a success is only counted, and the table is wiped at the end
    assert "trial 1: out of memory" in lines
    assert "search: over" in lines
    assert "a success" not in plain
    assert shown.rstrip().endswith("\x1b[2K")
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", shown)  # neither colours nor bold type
    assert plain.count("running   settings") <= 8  # two a second, and one an event


def test_a_dumb_terminal_gets_the_log() -> None:
    log = _on_a_terminal(TERM="dumb")
    assert "\x1b" not in log
    assert re.match(TIME + "trial 0: a success", log)


def test_one_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("search", "trials", total=5, done=2) as progress:
        progress.started()
        progress.started()
        progress.best = "0.9000 (grid2d)"
        progress.ended("complete", "trial 2: 0.9")
        progress.say("[bold] is no markup")
        progress.ended("failed", "trial 3: a reason that is very long " + "x" * 200)
    shown = capsys.readouterr()
    assert shown.out == ""
    first, second, third = (re.sub(TIME, "", line, count=1) for line in shown.err.splitlines())
    assert first == "trial 2: 0.9   [search: 3/5 trials · 1 complete · 1 running · best 0.9000 (grid2d)]"
    assert second == "[bold] is no markup"
    assert "x" * 200 in third
    assert "search: 4/5 trials · 1 complete, 1 failed · 0 running" in third


def test_the_time_left_is_told_once_four_have_ended() -> None:
    """The first ones' time is mostly that of starting processes; those of an earlier driver say nothing of it."""
    progress = Progress("search", "trials", total=20, done=10)
    for how in ("complete", "pruned", "failed"):
        progress.ended(how, "")
        assert "left" not in progress.summary()
    progress.ended("complete", "")
    assert progress.summary().startswith("search: 14/20 trials · 2 complete, 1 failed, 1 pruned · 0 running · about ")
    assert progress.summary().endswith(" s left")
    for _ in range(6):
        progress.ended("complete", "")
    assert progress.summary().endswith("0 running")  # nothing is left, and no time


def test_counts() -> None:
    progress = Progress("prune", "models", total=2)
    assert progress.summary() == "prune: 0/2 models · 0 running"
    progress.ended("done", "")  # one that an earlier driver had begun
    assert (progress.running, progress.done) == (0, 1)
    progress.ended("done", "")
    assert progress.summary() == "prune: 2/2 models · 2 done · 0 running"  # nothing is left, and no time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5399, "90 min"), (5400, "1.5 h"), (90000, "25.0 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert _duration(seconds) == text
