"""What a trial's process takes of its machine."""

import time

import psutil
import pytest
import torch

from topotune.search.system import Gauge

CPU = "system/cpu_utilization_percentage"
MEMORY = "system/system_memory_usage_megabytes"


def test_work_and_memory_are_seen() -> None:
    gauge = Gauge()
    started, until = time.perf_counter(), time.process_time() + 0.5
    while time.process_time() < until:
        pass
    busy, taken = gauge.read(), time.perf_counter() - started
    assert 0.4 / taken < busy[CPU] / 100 <= psutil.cpu_count()  # half a second of work in that time, or more
    assert busy[MEMORY] == pytest.approx(psutil.Process().memory_info().rss / 1e6, abs=20)


def test_a_process_without_a_gpu_tells_of_none() -> None:
    if torch.cuda.is_initialized():
        pytest.skip("this process uses a GPU")
    assert set(Gauge().read()) == {CPU, MEMORY}
