"""Every loss of LOSSES: a scalar that is no less than 0, finite gradients, whatever the layer looks like."""

from pkgutil import resolve_name

import pytest
import torch

from topotune.losses import LOSSES
from topotune.topography.positions import positions
from topotune.topography.targets import target_similarity


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(4, 6, 5, 5), (1, 6, 5, 5), (4, 2, 3), (4, 6), (4, 1, 5, 5), (2, 70, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_contract(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    loss = resolve_name(LOSSES[name])
    target = target_similarity(positions("nested2d", shape[1]))
    y = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    value = loss(y, target)
    assert value.shape == ()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value >= 0
    assert torch.equal(loss(y, target), value)
    value.backward()
    assert y.grad is not None
    assert y.grad.dtype == dtype
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_dead_layer_is_harmless(name: str) -> None:
    y = torch.zeros(3, 8, 4, 4, requires_grad=True)
    value = resolve_name(LOSSES[name])(y, target_similarity(positions("grid2d", 8)))
    value.backward()
    assert value.isfinite()
    assert y.grad is not None
    assert y.grad.isfinite().all()
