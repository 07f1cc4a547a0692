"""Memory that is kept between steps, tried in a process of its own: the setting is the whole process's."""

import subprocess
import sys
from pathlib import Path

import pytest

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
