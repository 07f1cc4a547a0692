"""What a trial's process takes of its GPU."""

import pytest
import torch

from topotune.search.system import Gauge

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch.cuda.is_available() is false"),
]

NOW, PEAK = "system/gpu_0_memory_usage_megabytes", "system/gpu_0_memory_peak_megabytes"


def test_memory_now_and_at_most_since_the_trial_began() -> None:
    block = torch.zeros(100_000_000, dtype=torch.uint8, device="cuda")
    del block
    gauge = Gauge()  # a reused actor: the block was of the trial before
    before = gauge.read()
    kept = torch.zeros(20_000_000, dtype=torch.uint8, device="cuda")
    more = torch.zeros(30_000_000, dtype=torch.uint8, device="cuda")
    del more
    after = gauge.read()
    assert after[NOW] - before[NOW] == pytest.approx(kept.nbytes / 1e6, abs=1)
    assert after[PEAK] - before[NOW] == pytest.approx(50, abs=1)
