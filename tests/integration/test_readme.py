"""The README's Python runs, its study file loads, and its commands are commands, as they stand."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from topotune.arguments import parser
from topotune.config import TrialConfig
from topotune.search.study_file import load_study
from topotune.training.fit import fit

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS, TOML = (re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL) for kind in ("python", "toml"))


def test_the_study_file_can_be_loaded(tmp_path: Path) -> None:
    (text,) = TOML
    path = tmp_path / "example.toml"
    path.write_text(text, encoding="utf-8")
    study = load_study(path)
    assert study.topographies == ("none", "grid2d", "circle")
    assert study.replicates == 3
    several = load_study(path, {"objective.metric": ["validation_accuracy", "pruned_accuracy"], "study.pruner": "none"})
    assert several.objectives == ("validation_accuracy", "pruned_accuracy")


@pytest.fixture
def quick_checkpoint(tmp_path: Path) -> Path:
    """A folder with studies/digits/best in it."""
    fit(TrialConfig(epochs=3, batch_size=64, learning_rate=0.1, threads=1), tmp_path / "studies" / "digits" / "best")
    return tmp_path


def test_three_lines_add_topography() -> None:
    (code,) = (block for block in BLOCKS if "topotune.Topography(" in block)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    task = torch.nn.functional.cross_entropy(names["logits"], names["labels"])
    assert names["loss"] > task
    assert all(parameter.grad.isfinite().all() for parameter in names["model"].parameters())
    assert not any(module._forward_hooks for module in names["model"].modules())


def test_trained_networks(quick_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compact network has the outputs of the pruned one."""
    (code,) = (block for block in BLOCKS if "robustness_curve(" in block)
    monkeypatch.chdir(quick_checkpoint)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert list(names["before"]) == [0.01, 0.05, 0.1, 0.15, 0.2]
    assert names["before"][0.01] > 0.8
    assert list(names["after"]) == [0.05, 0.1]
    assert {name: len(channels) for name, channels in names["gone"].items()} == {"conv1": 16, "conv2": 32}
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(names["small"](images), names["model"](images))


def test_every_command_is_one() -> None:
    """With its options; and the study files that they name are there."""
    lines = re.findall(r"^    (topotune .*?[^\\])$", README, re.MULTILINE | re.DOTALL)
    assert len(lines) > 10
    for line in lines:
        _, *words = shlex.split(line.replace("\\\n", " "), comments=True)
        parser().parse_args(words)
        assert all((ROOT / word).is_file() for word in words if word.startswith("search_spaces/")), line
