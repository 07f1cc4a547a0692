"""What a trial's process takes of its machine."""

import time

import numpy as np
import psutil
import pytest
import torch

from topotune.search.system import Gauge

CPU = "system/cpu_utilization_percentage"
MEMORY = "system/system_memory_usage_megabytes"


def test_work_and_memory_are_seen() -> None:
    gauge = Gauge()
    time.sleep(0.3)
    idle = gauge.read()
    block = np.ones(50_000_000, dtype=np.uint8)
    until = time.process_time() + 0.5
    while time.process_time() < until:
        pass
    busy = gauge.read()
    assert idle[CPU] < busy[CPU] <= 100 * psutil.cpu_count()
    assert busy[MEMORY] - idle[MEMORY] == pytest.approx(block.nbytes / 1e6, abs=20)
    assert busy[MEMORY] == pytest.approx(psutil.Process().memory_info().rss / 1e6, abs=20)


def test_a_process_without_a_gpu_tells_of_none() -> None:
    if torch.cuda.is_initialized():
        pytest.skip("this process uses a GPU")
    assert set(Gauge().read()) == {CPU, MEMORY}
