"""What a person sees: one line an event where the output is no terminal."""

import pytest

from topotune.progress import Progress, _duration


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
    first, second, third = shown.err.splitlines()
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


def test_a_failure_stays_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What comes after the last clearing of the status line is what a person still sees."""
    for name, value in (("TTY_COMPATIBLE", "1"), ("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "100")):
        monkeypatch.setenv(name, value)
    with Progress("search", "trials", total=3) as progress:
        progress.started()
        progress.ended("complete", "trial 0: a success")
        progress.ended("failed", "trial 1: out of memory")
        progress.say("search: over")
    shown = capsys.readouterr().err
    assert "trial 1: out of memory\n" in shown
    assert "search: over\n" in shown
    assert "a success" not in shown
    # the status line itself is wiped at the end
    assert "search: 2/3 trials" in shown
    assert shown.rstrip().endswith("\x1b[2K")


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
