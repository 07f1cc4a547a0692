"""The channel-similarity loss against its formula, written out in loops (Poli, Dupoux & Riad 2022, equations 1, 2)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.benchmarks.direct import direct
from topotune.errors import InputError
from topotune.losses.channel import channel_loss, channel_similarity, ready
from topotune.topography.positions import positions
from topotune.topography.targets import target_similarity


def _by_formula(activations: Tensor, target: Tensor) -> float:
    """2 / (C(C−1)) · Σ_{i<j} (S_ij − T_ij)², averaged over the batch, in Python's own numbers."""
    samples = [[[float(x) for x in channel.flatten()] for channel in sample] for sample in activations]
    aims = target.tolist()
    total = 0.0
    for sample in samples:
        channels = len(sample)
        pairs = 0.0
        for i in range(channels):
            for j in range(i + 1, channels):
                dot = math.fsum(a * b for a, b in zip(sample[i], sample[j], strict=True))
                norms = math.sqrt(math.fsum(a * a for a in sample[i])) * math.sqrt(math.fsum(b * b for b in sample[j]))
                pairs += (dot / max(norms, 1e-8) - aims[i][j]) ** 2
        total += 2 / (channels * (channels - 1)) * pairs
    return total / len(samples)


def _target(channels: int, name: str = "grid2d") -> Tensor:
    return target_similarity(positions(name, channels))


def _draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


shapes = st.tuples(st.integers(1, 3), st.integers(2, 9) | st.integers(33, 40), st.lists(st.integers(1, 4), max_size=3))


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(0, 10**6), st.sampled_from(["grid2d", "sphere", "nested2d"]))
def test_formula(shape: tuple[int, int, list[int]], seed: int, name: str) -> None:
    samples, channels, spatial = shape
    y, target = _draw(samples, channels, *spatial, seed=seed), _target(channels, name)
    expected = _by_formula(y, target)
    assert channel_loss(y, target).item() == pytest.approx(expected, rel=1e-12)
    single = channel_loss(y.float(), target)
    assert single.dtype == torch.float32
    # a difference S − T near 0 keeps the rounding of S
    assert single.item() == pytest.approx(_by_formula(y.float(), target), rel=1e-6, abs=1e-7)


def test_by_hand() -> None:
    """Two channels with cosine 3/5 and target 1/2: (0.6 − 0.5)² = 0.01."""
    y = torch.tensor([[[1.0, 0.0], [3.0, 4.0]]], dtype=torch.float64)
    target = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    assert channel_loss(y, target).item() == pytest.approx(0.01, rel=1e-12)
    # a second sample with cosine −1: (−1 − 0.5)² = 2.25; the mean of both
    both = torch.cat([y, torch.tensor([[[1.0, 1.0], [-2.0, -2.0]]], dtype=torch.float64)])
    assert channel_loss(both, target).item() == pytest.approx(1.13, rel=1e-12)


@pytest.mark.parametrize("spatial", [(5, 3), (8, 8)])
def test_large_layer(spatial: tuple[int, int]) -> None:
    y, target = _draw(2, 40, *spatial), _target(40, "nested3d")
    assert channel_loss(y, target).item() == pytest.approx(_by_formula(y, target), rel=1e-12)
    single = channel_loss(y.float(), target).item()
    assert single == pytest.approx(_by_formula(y.float(), target), rel=1e-6, abs=1e-7)


# channels and positions: with many channels of few positions another form of the formula is computed
WIDE, NARROW = (6, 3, 4), (40, 2, 1)


@pytest.mark.parametrize(("channels", "height", "width"), [WIDE, NARROW])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_perfect_similarity_costs_nothing(
    channels: int, height: int, width: int, dtype: torch.dtype, tolerance: float
) -> None:
    sizes = torch.arange(1, channels + 1).view(1, channels, 1, 1)
    y = (_draw(3, 1, height, width) * sizes).to(dtype)
    assert channel_loss(y, torch.ones(channels, channels)).item() == pytest.approx(0, abs=tolerance)


def test_the_diagonal_of_the_target_is_not_read() -> None:
    y, target = _draw(2, 5, 3, 3), _target(5)
    assert channel_loss(y, target.clone().fill_diagonal_(17.0)).item() == channel_loss(y, target).item()


@pytest.mark.parametrize("shape", [WIDE, NARROW])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_channels_are_dissimilar_and_harmless(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    y, target = _draw(2, *shape, dtype=dtype), _target(shape[0])
    y[0, 1], y[1] = 0, 0  # one channel of the first sample, all of the second
    y.requires_grad_()
    loss = channel_loss(y, target)
    assert loss.item() == pytest.approx(_by_formula(y.detach(), target), rel=1e-6)
    loss.backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()
    assert (y.grad[1] == 0).all()
    assert y.grad[0, 0].abs().sum() > 0


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-20, 1e-30])
def test_tiny_activations_give_finite_gradients(size: float) -> None:
    y = (_draw(2, 4, 3, 3) * size).float().requires_grad_()
    loss = channel_loss(y, _target(4))
    assert loss.item() == pytest.approx(_by_formula(y.detach().double(), _target(4)), rel=1e-4)
    loss.backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("size", [1e-3, 1e-9, 1e-13, 1e-22, 1e-30])
def test_tiny_activations_of_few_pixels_are_similar_by_their_angles_alone(size: float) -> None:
    """In the form for many channels of few positions the product of two small norms is not clamped."""
    y, target = (_draw(2, *NARROW) * size).float().requires_grad_(), _target(40)
    loss = channel_loss(y, target)
    if size > 1e-12:  # less counts as zero
        assert loss.item() == pytest.approx(_by_formula(y.detach().double() / size, target), rel=1e-5)
    assert 0 <= loss < 1
    loss.backward()
    assert y.grad is not None
    assert y.grad.isfinite().all()


def test_a_single_channel_has_no_pair() -> None:
    y = _draw(3, 1, 4, 4).requires_grad_()
    loss = channel_loss(y, torch.ones(1, 1))
    assert loss.item() == 0
    loss.backward()
    assert y.grad is not None
    assert (y.grad == 0).all()


def test_without_spatial_positions_the_similarity_is_that_of_signs() -> None:
    y = torch.tensor([[2.0, -3.0, 0.5]], dtype=torch.float64)
    target = torch.tensor([[1, 0.1, 0.2], [0.1, 1, 0.3], [0.2, 0.3, 1]], dtype=torch.float64)
    # S = −1, 1, −1 against 0.1, 0.2, 0.3
    assert channel_loss(y, target).item() == pytest.approx((1.1**2 + 0.8**2 + 1.3**2) / 3, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    y, target = _draw(2, 6, 4, 4, dtype=dtype), _target(6)
    loss = channel_loss(y, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(_by_formula(y, target), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [WIDE, NARROW])
def test_gradient_of_half_precision_is_that_of_float32_rounded(
    shape: tuple[int, int, int], layout: torch.memory_format, dtype: torch.dtype
) -> None:
    half = _draw(2, *shape, seed=3, dtype=dtype).clone(memory_format=layout).requires_grad_()
    exact = half.detach().float().requires_grad_()
    for y in (half, exact):
        (3 * channel_loss(y, _target(shape[0]))).backward()
    assert half.grad is not None
    assert exact.grad is not None
    assert half.grad.dtype == dtype
    assert exact.grad.abs().max() > 0
    if dtype == torch.bfloat16:  # the last product is of rounded factors
        torch.testing.assert_close(half.grad.float(), exact.grad, rtol=0.02, atol=0.004 * float(exact.grad.abs().max()))
    else:
        assert torch.equal(half.grad, exact.grad.to(dtype))


def test_autocast_does_not_reach_in() -> None:
    y, target = _draw(2, 6, 4, 4, dtype=torch.float32), _target(6)
    expected = channel_loss(y, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (y[0].flatten(1) @ y[0].flatten(1).T).dtype == torch.bfloat16  # autocast is at work
        inside = channel_loss(y, target)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)


@pytest.mark.parametrize("shape", [WIDE, NARROW, (5,), (40,), (33, 4, 8), (2, 1, 1)])
def test_gradient(shape: tuple[int, ...]) -> None:
    y = _draw(2, *shape, seed=4).requires_grad_()
    target = _target(shape[0])
    assert torch.autograd.gradcheck(lambda x: channel_loss(x, target), (y,), fast_mode=len(y[0]) > 30)


@pytest.mark.parametrize("shape", [WIDE, NARROW])
def test_gradient_in_another_memory_layout(shape: tuple[int, int, int]) -> None:
    y, target = _draw(2, *shape, seed=6), _target(shape[0])
    turned = y.clone(memory_format=torch.channels_last).requires_grad_()
    plain = y.clone().requires_grad_()
    for one in (turned, plain):
        (3 * channel_loss(one, target)).backward()
    assert turned.grad is not None
    assert plain.grad is not None
    torch.testing.assert_close(turned.grad, plain.grad, rtol=1e-10, atol=1e-14)


def _written_out(y: Tensor, target: Tensor) -> Tensor:
    """The formula in tensors, for its gradient."""
    rows = y.flatten(2)
    norm = rows.norm(dim=2)
    similarity = rows @ rows.transpose(1, 2) / (norm.unsqueeze(2) * norm.unsqueeze(1)).clamp(min=1e-8)
    channels = rows.shape[1]
    difference = (similarity - target)[:, ~torch.eye(channels, dtype=torch.bool)]
    return difference.square().sum() / (len(y) * channels * (channels - 1))


@pytest.mark.parametrize(
    ("shape", "size"), [(WIDE, 1.0), (WIDE, 1e-3), (WIDE, 3e-5), (WIDE, 1e-7), (NARROW, 1.0), (NARROW, 0.3)]
)
def test_gradient_of_the_clamped_formula(shape: tuple[int, int, int], size: float) -> None:
    """Sizes at which no, some and all products of two norms are less than 1e-8."""
    y, target = _draw(2, *shape, seed=7) * size, _target(shape[0])
    y[:, 0] *= 1e-3
    y.requires_grad_()
    loss, expected = channel_loss(y, target), _written_out(y, target)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    (mine,), (theirs,) = torch.autograd.grad(loss, y), torch.autograd.grad(expected, y)
    torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10 * theirs.abs().max().item())


def test_gradient_points_down() -> None:
    y, target = _draw(4, 8, 3, 2, seed=5).requires_grad_(), _target(8)
    before = channel_loss(y, target)
    (slope,) = torch.autograd.grad(before, y)
    after = channel_loss(y - 0.1 * slope, target)
    assert after < before


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 12), st.integers(0, 1000))
def test_channels_and_their_places_may_be_renumbered_together(channels: int, seed: int) -> None:
    y, target = _draw(2, channels, 3, seed=seed), _target(channels, "circle")
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(seed))
    found = channel_loss(y[:, order], target[order][:, order])
    assert found.item() == pytest.approx(channel_loss(y, target).item(), rel=1e-12)


def test_the_size_of_a_channel_does_not_matter() -> None:
    y, target = _draw(2, 5, 4, 4), _target(5)
    sizes = torch.tensor([0.01, 1.0, 7.0, 1e3, 0.5], dtype=torch.float64).view(1, 5, 1, 1)
    assert channel_loss(y * sizes, target).item() == pytest.approx(channel_loss(y, target).item(), rel=1e-12)
    # its sign does
    assert channel_loss(y * sizes * torch.tensor([-1, 1, 1, 1, 1]).view(1, 5, 1, 1), target).item() != pytest.approx(
        channel_loss(y, target).item(), rel=1e-3
    )


def test_memory_layout_does_not_matter() -> None:
    y, target = _draw(2, 6, 4, 4), _target(6)
    turned = y.to(memory_format=torch.channels_last)
    assert channel_loss(turned, target).item() == pytest.approx(channel_loss(y, target).item(), rel=1e-13)


@pytest.mark.parametrize(
    ("shape", "target"), [((2, 3, 4), (4, 4)), ((2, 3, 4), (3, 4)), ((2, 3, 4), (3,)), ((3,), (3, 3))]
)
def test_wrong_shapes_are_named(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="does not fit activations") as error:
        channel_loss(torch.zeros(shape), torch.zeros(target))
    assert str(target) in str(error.value)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("shape", [WIDE, NARROW, (1, 3, 3), (5,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_target_that_was_made_ready_is_the_same_target(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    target = _target(shape[0]).to(torch.float64 if dtype == torch.float64 else torch.float32)
    kept, prepared = target.clone(), ready(target)
    results = []
    for aim in (target, prepared):
        y = _draw(2, *shape, dtype=dtype).requires_grad_()
        loss = channel_loss(y, aim)
        loss.backward()
        results.append((loss, y.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] is not None
    assert results[1][1] is not None
    assert torch.equal(results[0][1], results[1][1])
    assert torch.equal(target, kept)  # it is a copy whose diagonal is zero
    assert (prepared.matrix.diagonal() == 0).all()
    assert prepared.square.item() == pytest.approx(kept.double().fill_diagonal_(0).square().sum().item(), rel=1e-12)
    assert prepared.square.dtype == torch.float64


@pytest.mark.parametrize("shape", [WIDE, NARROW])
def test_a_ready_target_outlives_many_steps(shape: tuple[int, int, int]) -> None:
    prepared, first = ready(_target(shape[0])), _draw(2, *shape)
    expected = channel_loss(first, prepared)
    for seed in range(3):
        y = _draw(3, *shape, seed=seed).requires_grad_()
        channel_loss(y, prepared).backward()
    assert torch.equal(channel_loss(first, prepared), expected)


def test_a_ready_target_of_another_size_is_named() -> None:
    with pytest.raises(InputError, match=r"a target of shape \(4, 4\) does not fit activations \(2, 3, 4\)"):
        channel_loss(torch.zeros(2, 3, 4), ready(torch.zeros(4, 4)))


def _direct(y: Tensor, target: Tensor) -> Tensor:
    return direct(y if y.dim() > 2 else y.unsqueeze(2), target)


def _use(y: Tensor, branch: str, loss: Tensor) -> Tensor:
    """Something else that is made of y, before or after the loss in the backward pass."""
    if branch == "before":
        return (y.square() * y.detach().cos()).sum() + loss
    if branch == "after":
        return loss + (y.relu() * 3).sum()
    return loss + loss.square() + y.flatten(1).sum(1).sin().sum()


@pytest.mark.parametrize("shape", [WIDE, NARROW, (5,), (40,)])
@pytest.mark.parametrize("branch", ["before", "after", "twice"])
@pytest.mark.parametrize("turned", [False, True])
def test_gradients_that_are_added_in_place_spoil_nothing(shape: tuple[int, ...], branch: str, turned: bool) -> None:
    """y goes on into the network, and its two gradients are added: against the formula in plain operations."""
    target, weights = _target(shape[0]), _draw(*(shape[0],) * 2, seed=9)
    layout = torch.channels_last if turned and len(shape) == 3 else torch.contiguous_format
    found = []
    for formula in (channel_loss, _direct):
        x = _draw(3, *shape, seed=2).requires_grad_()
        y = torch.einsum("nc...,dc->nd...", x, weights).contiguous(memory_format=layout)
        y.retain_grad()
        total = _use(y, branch, formula(y, target)) + 0.5 * formula(y, target)
        total.backward()
        found.append((total.detach(), x.grad, y.grad))
    for mine, theirs in zip(*found, strict=True):
        assert mine is not None
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [WIDE, NARROW])
def test_gradients_of_several_losses_accumulate(shape: tuple[int, int, int]) -> None:
    y, targets = _draw(2, *shape).requires_grad_(), [_target(shape[0]), _target(shape[0], "circle")]
    for target in targets:
        channel_loss(y, target).backward()
    expected = _draw(2, *shape).requires_grad_()
    torch.stack([direct(expected, target) for target in targets]).sum().backward()
    torch.testing.assert_close(y.grad, expected.grad, rtol=1e-9, atol=1e-12)


def test_the_gradient_can_be_taken_once() -> None:
    y = _draw(2, *WIDE).requires_grad_()
    (slope,) = torch.autograd.grad(channel_loss(y, _target(6)), y, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        slope.sum().backward()


def test_similarity_by_hand() -> None:
    """Cosines 3/5 and −1 in two samples: on average −1/5; a channel of zeros is like no other."""
    y = torch.tensor([[[1.0, 0.0], [3.0, 4.0], [0, 0]], [[1.0, 1.0], [-2.0, -2.0], [0, 0]]])
    expected = torch.tensor([[1.0, -0.2, 0], [-0.2, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(channel_similarity(y), expected)
    assert channel_similarity(y.double()).dtype == torch.float64
    assert channel_similarity(y.bfloat16()).dtype == torch.float32
    assert channel_similarity(torch.tensor([[2.0, -3.0]])).tolist() == [[1, -1], [-1, 1]]
