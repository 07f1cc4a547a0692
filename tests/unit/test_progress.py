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
    assert first.startswith(
        "trial 2: 0.9   [search: 3/5 trials · 1 complete · 1 running · best 0.9000 (grid2d) · about "
    )
    assert first.endswith(" left]")
    assert second == "[bold] is no markup"
    assert "x" * 200 in third
    assert "search: 4/5 trials · 1 complete, 1 failed · 0 running" in third


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
