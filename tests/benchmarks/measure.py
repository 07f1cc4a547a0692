"""Timing side by side, and the peak of what an operation allocates."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch.profiler import ProfilerActivity, profile

Work = Callable[[], object]


def seconds(works: Sequence[Work], rounds: int, least: float = 0.0) -> list[list[float]]:
    """Seconds that each work takes, in ``rounds`` rounds of one after the other, after one of warm-up.

    A work shorter than ``least`` seconds is repeated within a round until it is that long. Before it is timed it runs
    once untimed, since the work before has left its traces in caches and in the allocator.
    """
    repeats = []
    for work in works:
        work()
        took = _once(work, 1)
        repeats.append(max(1, round(least / max(took, 1e-7))))
    found: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for place, (work, many) in enumerate(zip(works, repeats, strict=True)):
            work()
            found[place].append(_once(work, many))
    return found


def _once(work: Work, many: int) -> float:
    _wait()
    started = time.perf_counter()
    for _ in range(many):
        work()
    _wait()
    return (time.perf_counter() - started) / many


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median over the rounds of one time over the other: what slows a round slows both."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def peak_bytes(work: Work) -> int:
    """The most bytes that ``work`` has allocated at a time, beyond what was there before."""
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    now = peak = 0
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = [one for one in profiler.profiler.kineto_results.events() if one.name() == "[memory]"]
    for event in sorted(events, key=lambda one: one.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak
