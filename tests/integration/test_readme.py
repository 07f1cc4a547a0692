"""The README's Python runs as it stands."""

import re
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_three_lines_add_topography() -> None:
    (code,) = (block for block in BLOCKS if "topotune.Topography(" in block)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    task = torch.nn.functional.cross_entropy(names["logits"], names["labels"])
    assert names["loss"] > task
    assert all(parameter.grad.isfinite().all() for parameter in names["model"].parameters())
    assert not any(module._forward_hooks for module in names["model"].modules())
