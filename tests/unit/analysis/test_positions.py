"""Whose positions a network's units are looked at: its own, learned and assigned ones too; a control's are lent."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from topotune.analysis.analyses import Settings
from topotune.analysis.correlation import correlation
from topotune.analysis.positions import layers_of, places_of, views_of
from topotune.analysis.responses import open_subject
from topotune.config import TrialConfig
from topotune.errors import InputError
from topotune.files import read_table
from topotune.topography.positions import positions
from topotune.training.fit import fit

Quick = Callable[..., TrialConfig]


@pytest.fixture
def trained(quick: Quick, tmp_path: Path) -> Callable[..., tuple[TrialConfig, Path]]:
    def train(**changes: object) -> tuple[TrialConfig, Path]:
        config = quick(**({"model": "mnist_cnn", "loss": "as", "epochs": 1} | changes))
        fit(config, tmp_path / "run")
        return config, tmp_path / "run"

    return train


def test_layers(quick: Quick) -> None:
    assert layers_of(quick(model="mnist_cnn", loss="ws")) == ("fc1",)
    assert layers_of(quick(model="mnist_cnn")) == ("conv1", "conv2")
    assert layers_of(quick(model="mnist_cnn", loss="ws"), "conv*,fc1") == ("conv1", "conv2", "fc1")
    with pytest.raises(InputError, match="model 'mnist_cnn': layers = 'fc7': no layer matches 'fc7'"):
        layers_of(quick(model="mnist_cnn"), "fc7")


def test_views(quick: Quick) -> None:
    assert views_of(quick(topography="grid2d-learned"), ("circle",)) == ("grid2d-learned",)
    control = quick(topography="none", weight=0.0)
    assert views_of(control, ("grid2d", "circle")) == ("grid2d", "grid2d-assigned", "circle", "circle-assigned")


def test_a_fixed_topography(trained: Callable[..., tuple[TrialConfig, Path]]) -> None:
    config, folder = trained(topography="circle", radius=2.0, loss="as_global", layers="fc1")
    subject = open_subject(folder, None, ["fc1"], Settings(permutations=7, seed=3))
    places = places_of(subject, "fc1", config.topography, folder)
    np.testing.assert_array_equal(places.positions, positions("circle", 121, radius=2.0).numpy())
    assert (places.permutations, places.seed, places.lattice) == (7, 3, False)


def test_assigned_positions_are_the_checkpoints_own(trained: Callable[..., tuple[TrialConfig, Path]]) -> None:
    config, folder = trained(topography="grid2d-assigned", weight=0.0)
    (done,) = read_table(folder / "arrangement.json")["rounds"]
    subject = open_subject(folder, None, ["fc1"], Settings())
    places = places_of(subject, "fc1", config.topography, folder)
    np.testing.assert_array_equal(places.positions, positions("grid2d", 121)[torch.tensor(done["permutation"])].numpy())
    assert places.lattice


def test_a_control_at_lent_and_at_assigned_positions(trained: Callable[..., tuple[TrialConfig, Path]]) -> None:
    """Assigned, its neighbours correlate over images that had no say in the assignment; as they come, they do not."""
    _config, folder = trained(topography="none", weight=0.0)
    subject = open_subject(folder, None, ["fc1"], Settings(permutations=100))
    found = {}
    for view in ("grid2d", "grid2d-assigned"):
        places = places_of(subject, "fc1", view, folder)
        assert sorted(map(tuple, places.positions)) == sorted(map(tuple, positions("grid2d", 121).tolist()))
        found[view] = correlation(subject.units("fc1"), places).measures[0]
    plain, assigned = found["grid2d"], found["grid2d-assigned"]
    assert plain.chance is not None
    assert assigned.chance is not None
    assert plain.value < plain.chance.high + 0.1
    assert assigned.value > assigned.chance.high + 0.2
    np.testing.assert_array_equal(
        places_of(subject, "fc1", "grid2d", folder).positions, positions("grid2d", 121).numpy()
    )
