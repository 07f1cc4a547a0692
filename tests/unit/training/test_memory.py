"""Memory that is kept between steps, tried in a process of its own, and what is done where it does not suffice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from topotune.errors import InputError
from topotune.training import memory

PROGRAM = """
import platform, torch
from topotune.training.memory import keep_freed_memory
agreed = keep_freed_memory()
assert agreed == keep_freed_memory()
assert agreed == (platform.libc_ver()[0] == "glibc"), agreed
for _ in range(3):
    assert torch.ones(5_000_000).sum() == 5_000_000
"""


def test_large_blocks_are_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory.keep_freed_memory.__wrapped__() is False


def test_a_lack_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50, dtype=torch.uint8)  # 1 PiB
    assert memory.ran_out(error.value)
    assert memory.ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert memory.ran_out(MemoryError("std::bad_alloc"))
    assert memory.ran_out(RuntimeError("posix_memalign failed:Cannot allocate memory (12)"))  # a convolution's
    for other in (
        RuntimeError("CUDA error: device-side assert triggered"), ValueError("DefaultCPUAllocator"),
        KeyboardInterrupt(), InputError("not enough memory even for micro-batches of 2 samples"),
    ):  # fmt: skip
        assert not memory.ran_out(other)
    with pytest.raises(RuntimeError) as error:
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert not memory.ran_out(error.value)


def test_without_a_lack_a_step_is_divided_as_wanted(tmp_path: Path) -> None:
    assert memory.micro_batches(tmp_path / "nowhere", 1) == 1
    assert memory.micro_batches(tmp_path, 3) == 3
    assert list(tmp_path.iterdir()) == []


def test_each_lack_halves_what_is_taken_at_once(tmp_path: Path) -> None:
    """It is kept in the trial's folder, and stays when the trial is started again."""
    said, accumulate = [], 1
    for expected in (2, 4, 8):
        said.append(memory.halve(tmp_path, accumulate, 16))
        accumulate = memory.micro_batches(tmp_path, 1)
        assert accumulate == expected
    assert said == [
        f"out of memory with {size} samples at once: {parts} micro-batches a step from here on"
        for size, parts in ((16, 2), (8, 4), (4, 8))
    ]
    assert json.loads((tmp_path / "last" / "memory.json").read_text()) == {"accumulate": 8}
    assert memory.micro_batches(tmp_path, 16) == 16
    with pytest.raises(InputError, match=r"^not enough memory even for micro-batches of 2 samples$"):
        memory.halve(tmp_path, 8, 16)
    assert memory.micro_batches(tmp_path, 1) == 8


@pytest.mark.parametrize(("accumulate", "share", "enough"), [(1, 4, True), (1, 3, False), (2, 8, True), (3, 11, False)])
def test_a_micro_batch_has_two_samples_at_least(accumulate: int, share: int, enough: bool, tmp_path: Path) -> None:
    if enough:
        memory.halve(tmp_path, accumulate, share)
        assert share // memory.micro_batches(tmp_path, 1) >= 2
    else:
        with pytest.raises(InputError, match=f"micro-batches of {share // accumulate} samples$"):
            memory.halve(tmp_path, accumulate, share)
        assert not (tmp_path / "last").exists()


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_note_of_it_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "last" / "memory.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(InputError, match=r"memory\.json: not"):
        memory.micro_batches(tmp_path, 1)
