"""Every loss of LOSSES: a scalar that is no less than 0, exact and finite gradients, whatever the layer looks like."""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from torch import Tensor

from topotune.losses import LOSSES, LossEntry
from topotune.topography.learned import closeness
from topotune.topography.positions import positions
from topotune.topography.targets import neighbour_pairs, sheet_cells, target_similarity

EACH = pytest.mark.parametrize("name", LOSSES)


def _draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _places(channels: int) -> Tensor:
    """Of the sheet: a lattice, and a full rectangle, so that every loss can have it."""
    return positions("sheet", channels)


def _plain(entry: LossEntry, places: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    if entry.geometry == "targets":
        return target_similarity(places).to(dtype)
    return neighbour_pairs(places) if entry.geometry == "neighbours" else sheet_cells(places)


def _loss(name: str, channels: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Callable[..., Tensor]:
    """The loss of ``channels`` channels as a function of what it reads, its geometry made ready as for training."""
    entry = LOSSES[name]
    function, geometry = resolve_name(entry.function), _plain(entry, _places(channels), dtype).to(device)
    prepared = resolve_name(entry.ready)(geometry) if entry.ready else geometry
    return lambda read: function(read, prepared)


def _shape(name: str, channels: int = 6) -> tuple[int, ...]:
    return (5, channels, 3, 2) if LOSSES[name].reads == "outputs" else (channels, 2, 3, 2)


def _row(name: str, read: Tensor, channel: int) -> Tensor:
    """What is read of one channel; a view."""
    return read[:, channel] if LOSSES[name].reads == "outputs" else read[channel]


def _gradient(loss: Callable[[Tensor], Tensor], read: Tensor) -> Tensor:
    leaf = read.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    return gradient


@EACH
def test_an_entry_names_what_there_is(name: str) -> None:
    entry = LOSSES[name]
    assert callable(resolve_name(entry.function))
    assert entry.reads in ("outputs", "weights")
    assert entry.geometry in ("targets", "neighbours", "sheet")
    assert all(callable(resolve_name(path)) for path in (entry.ready, entry.affinity) if path)


@EACH
@pytest.mark.parametrize("channels", [1, 2, 6, 70])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_contract(name: str, channels: int, dtype: torch.dtype) -> None:
    loss = _loss(name, channels, torch.float64 if dtype == torch.float64 else torch.float32)
    read = _draw(*_shape(name, channels), dtype=dtype).requires_grad_()
    before = read.detach().clone()
    value = loss(read)
    assert value.shape == ()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value >= 0
    assert torch.equal(loss(read), value)
    value.backward()
    assert read.grad is not None
    assert read.grad.dtype == dtype
    assert read.grad.isfinite().all()
    assert torch.equal(read, before)
    if channels == 1:  # no pair
        assert value.item() == pytest.approx(0, abs=1e-6)
        assert read.grad.abs().max() <= 1e-6
    else:
        assert read.grad.abs().sum() > 0


def _zero_channel(read: Tensor, row: Callable[[int], Tensor]) -> None:
    row(1).zero_()


def _constant_channel(read: Tensor, row: Callable[[int], Tensor]) -> None:
    row(1).fill_(1000.1)


def _two_constant_neighbours(read: Tensor, row: Callable[[int], Tensor]) -> None:
    row(0).fill_(1000.1)
    row(1).fill_(-0.1)


def _equal_channels(read: Tensor, row: Callable[[int], Tensor]) -> None:
    for channel in range(1, 6):
        row(channel).copy_(row(0))


def _equal_constants(read: Tensor, row: Callable[[int], Tensor]) -> None:
    read.fill_(1000.1)


def _opposite_channels(read: Tensor, row: Callable[[int], Tensor]) -> None:
    row(1).copy_(-row(0))


def _all_zero(read: Tensor, row: Callable[[int], Tensor]) -> None:
    read.zero_()


def _tiny(read: Tensor, row: Callable[[int], Tensor]) -> None:
    read.mul_(1e-30)


def _large(read: Tensor, row: Callable[[int], Tensor]) -> None:
    read.mul_(1e6)


POINTS = [
    _zero_channel, _constant_channel, _two_constant_neighbours, _equal_channels, _equal_constants, _opposite_channels,
    _all_zero, _tiny, _large,
]  # fmt: skip


@EACH
@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.__name__.strip("_"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_points_have_finite_gradients(
    name: str, point: Callable[[Tensor, Callable[[int], Tensor]], None], dtype: torch.dtype
) -> None:
    read = _draw(*_shape(name), dtype=dtype)
    point(read, lambda channel: _row(name, read, channel))
    loss = _loss(name, 6, dtype)
    value = loss(read)
    assert value.isfinite()
    assert value >= 0
    assert _gradient(loss, read).isfinite().all()


SMALL = {
    "outputs": [(5, 6, 1, 1), (1, 6, 3, 2), (1, 6, 1, 1), (5, 6), (1, 6), (5, 6, 4), (2, 6, 2, 2, 2), (1, 1, 1, 1)],
    "weights": [(6, 1), (6, 4), (6, 1, 1, 1), (6, 2, 3), (1, 1), (1, 4)],
}


@pytest.mark.parametrize(("name", "shape"), [(name, one) for name in LOSSES for one in SMALL[LOSSES[name].reads]])
def test_small_layers(name: str, shape: tuple[int, ...]) -> None:
    """One pixel, one image, a fully connected layer, one incoming weight."""
    channels = shape[1] if LOSSES[name].reads == "outputs" else shape[0]
    loss, read = _loss(name, channels), _draw(*shape)
    assert loss(read).isfinite()
    assert loss(read) >= 0
    assert _gradient(loss, read).isfinite().all()


# where a channel that is zero says nothing about any other, it is not moved; (for ws it is a vector like any other,
# and the sheet's blur mixes it into its neighbours)
@pytest.mark.parametrize("name", ["as", "as_relu", "as_global", "ws_cosine", "ws_pearson"])
def test_a_zero_channel_has_no_gradient(name: str) -> None:
    read = _draw(*_shape(name))
    _row(name, read, 1).zero_()
    gradient = _gradient(_loss(name, 6), read)
    assert (_row(name, gradient, 1) == 0).all()
    assert gradient.abs().sum() > 0


def test_a_zero_channel_of_few_pixels_has_no_gradient() -> None:
    read = _draw(3, 40, 1, 2)
    read[:, 1] = 0
    gradient = _gradient(_loss("channel", 40), read)
    assert (gradient[:, 1] == 0).all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", ["as", "as_relu", "ws_pearson"])
@pytest.mark.parametrize("level", [1000.1, 0.1, 1e-4])
def test_a_constant_channel_has_no_gradient(name: str, level: float) -> None:
    """Its deviations are rounding errors, of which no correlation is to be made."""
    read = _draw(*_shape(name))
    _row(name, read, 1).fill_(level)
    loss = _loss(name, 6)
    gradient = _gradient(loss, read)
    assert (_row(name, gradient, 1) == 0).all()
    assert gradient.abs().sum() > 0
    _row(name, read, 1).zero_()  # which r = 0 it has does not depend on its level
    assert loss(read).item() == pytest.approx(_with_level(name, read, level), rel=1e-6)


def _with_level(name: str, read: Tensor, level: float) -> float:
    moved = read.clone()
    _row(name, moved, 1).fill_(level)
    return _loss(name, 6)(moved).item()


@pytest.mark.parametrize("name", ["ws", "ws_cosine", "ws_pearson"])
def test_equal_weights_are_left_alone(name: str) -> None:
    read = _draw(6, 4, dtype=torch.float64)
    read[:] = read[:1].clone()
    loss = _loss(name, 6, torch.float64)
    assert loss(read).item() == pytest.approx(0, abs=1e-15)
    assert _gradient(loss, read).abs().max() <= (0 if name == "ws" else 1e-15)


@EACH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    half = _draw(*_shape(name), dtype=dtype)
    loss = _loss(name, 6)
    assert torch.equal(loss(half), loss(half.float()))


@EACH
@pytest.mark.parametrize("channels", [6, 40])
def test_autocast_does_not_reach_in(name: str, channels: int) -> None:
    read, loss = _draw(*_shape(name, channels)), _loss(name, channels)
    expected, slope = loss(read), _gradient(loss, read)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaf = read.clone().requires_grad_()
        inside = loss(leaf)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)
    assert torch.equal(torch.autograd.grad(inside, leaf)[0], slope)


@EACH
@pytest.mark.parametrize(("channels", "seed"), [(2, 0), (6, 1), (6, 2), (40, 3)])
def test_gradient(name: str, channels: int, seed: int) -> None:
    """Against differences, in double precision; 40 channels of 6 pixels take the channel loss's other form."""
    read = _draw(*_shape(name, channels), seed=seed, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(_loss(name, channels, torch.float64), (read,), fast_mode=channels > 6)


@EACH
def test_the_gradient_scales(name: str) -> None:
    read, loss = _draw(*_shape(name), dtype=torch.float64), _loss(name, 6, torch.float64)
    thrice = _gradient(lambda one: 3 * loss(one), read)
    torch.testing.assert_close(thrice, 3 * _gradient(loss, read), rtol=1e-12, atol=1e-16)


@EACH
def test_nothing_is_kept_without_a_gradient(name: str) -> None:
    read, loss = _draw(*_shape(name)), _loss(name, 6)
    expected = loss(read.clone().requires_grad_())
    assert not loss(read).requires_grad
    assert torch.equal(loss(read), expected)
    with torch.no_grad():
        assert torch.equal(loss(read.clone().requires_grad_()), expected)


def _close(entry: LossEntry, channels: int) -> Tensor:
    return closeness(_plain(entry, _places(channels), torch.float64), channels)


@pytest.mark.parametrize("name", [name for name, entry in LOSSES.items() if entry.affinity])
@pytest.mark.parametrize("channels", [6, 12, 40])
def test_the_affinity_predicts_the_loss(name: str, channels: int) -> None:
    """Wherever the channels sit: loss = something − ⟨affinity, closeness of their positions⟩ · a known slope."""
    entry = LOSSES[name]
    function = resolve_name(entry.function)
    read = _draw(*_shape(name, channels), seed=8, dtype=torch.float64)
    affinity: Tensor = resolve_name(str(entry.affinity))(read)
    assert affinity.shape == (channels, channels)
    torch.testing.assert_close(affinity, affinity.T, rtol=0, atol=1e-12)
    close, places = _close(entry, channels), _places(channels)
    slope = 2 / (channels * (channels - 1)) if entry.geometry == "targets" else 1 / close.sum().item()
    levels = []
    for seed in range(5):
        order = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
        value = function(read, _plain(entry, places[order], torch.float64)).item()
        off = affinity.clone().fill_diagonal_(0)
        levels.append(value + slope * (off * close[order][:, order]).sum().item())
    assert levels == pytest.approx([levels[0]] * 5, rel=1e-9)
    if name in ("as", "as_relu", "ws_cosine", "ws_pearson"):
        assert levels[0] == pytest.approx(1, rel=1e-9)
    if name == "ws":
        assert levels[0] == pytest.approx(0, abs=1e-6)


@EACH
def test_channels_and_their_places_may_be_renumbered_together(name: str) -> None:
    entry, function = LOSSES[name], resolve_name(LOSSES[name].function)
    read, places = _draw(*_shape(name), dtype=torch.float64), _places(6)
    expected = function(read, _plain(entry, places, torch.float64)).item()
    for seed in range(3):
        order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
        mixed = read[:, order] if entry.reads == "outputs" else read[order]
        found = function(mixed, _plain(entry, places[order], torch.float64)).item()
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize(("name", "channels"), [*((name, 6) for name in LOSSES), ("channel", 40)])
def test_compiled(name: str, channels: int) -> None:
    """Within torch.compile, as one graph, it has the same value and gradient."""
    torch.compiler.reset()
    read, loss = _draw(*_shape(name, channels)), _loss(name, channels)
    compiled: Any = torch.compile(loss, fullgraph=True, backend="aot_eager")
    leaf = read.clone().requires_grad_()
    value = compiled(leaf)
    torch.testing.assert_close(value, loss(read), rtol=1e-6, atol=1e-7)
    (found,) = torch.autograd.grad(value, leaf)
    torch.testing.assert_close(found, _gradient(loss, read), rtol=1e-5, atol=1e-7)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
@EACH
@pytest.mark.parametrize("channels", [1, 6, 40])
def test_on_a_gpu(name: str, channels: int) -> None:
    read = _draw(*_shape(name, channels), dtype=torch.float64)
    here = _loss(name, channels, torch.float64)
    there = _loss(name, channels, torch.float64, "cuda")
    torch.testing.assert_close(there(read.cuda()).cpu(), here(read), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(_gradient(there, read.cuda()).cpu(), _gradient(here, read), rtol=1e-8, atol=1e-12)
