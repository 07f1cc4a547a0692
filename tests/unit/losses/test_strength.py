"""The topographic weight: its course over a training, and the one that follows the gradients."""

import json
import math

import pytest
import torch
from torch import Tensor, nn

from topotune.errors import InputError
from topotune.losses import WEIGHT_SCHEDULES
from topotune.losses.strength import CEILING, GradientRatio, weight_factor


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        # at 0, ¼, ½ and ¾ of the training
        ("constant", 0.3, [1, 1, 1, 1]),
        ("linear", 0.3, [1, 0.75, 0.5, 0.25]),
        ("cosine", 0.3, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ("warmup", 0.5, [0, 0.5, 1, 1]),
        ("warmup", 1.0, [0, 0.25, 0.5, 0.75]),
        ("warmup", 0.0, [1, 1, 1, 1]),
    ],
)
def test_schedules(schedule: str, warmup: float, expected: list[float]) -> None:
    found = [weight_factor(schedule, step / 4, warmup) for step in range(4)]
    assert found == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("schedule", WEIGHT_SCHEDULES)
def test_a_factor_is_a_share(schedule: str) -> None:
    assert all(0 <= weight_factor(schedule, step / 100, 0.3) <= 1 for step in range(100))


def test_an_unknown_schedule_is_said() -> None:
    with pytest.raises(
        InputError, match="unknown weight_schedule 'step'; choose from constant, linear, cosine, warmup"
    ):
        weight_factor("step", 0.5, 0.3)


class _Two:
    """A network with two losses: one of its output, one of what only its first layer makes."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
        self.images = torch.randn(5, 3, dtype=torch.float64)

    def losses(self, step: int = 0) -> tuple[Tensor, Tensor]:
        hidden = self.model[0](self.images + step)
        return self.model[2](hidden.tanh()).square().sum(), (hidden - 1).square().mean()

    @property
    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def gradients(self) -> list[Tensor]:
        found = [one.grad for one in self.parameters]
        assert all(one is not None for one in found)
        return [one.clone() for one in found if one is not None]

    def norms(self, step: int = 0) -> tuple[float, float]:
        """Over the first layer's parameters, which alone the topographic gradient reaches."""
        first = self.parameters[:2]
        task, topographic = self.losses(step)
        return tuple(  # type: ignore[return-value]
            math.sqrt(sum(one.square().sum().item() for one in torch.autograd.grad(loss, first, retain_graph=True)))
            for loss in (task, topographic)
        )


def _expected(weight: float, step: int = 0, before: list[Tensor] | None = None) -> list[Tensor]:
    """The gradients that the sum of both losses has, on top of those of before."""
    plain = _Two()
    if before:
        for parameter, old in zip(plain.parameters, before, strict=True):
            parameter.grad = old.clone()
    task, topographic = plain.losses(step)
    (task + weight * topographic).backward()
    return plain.gradients()


def _close(found: list[Tensor], expected: list[Tensor]) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("ratio", [0.0, 0.008, 0.2, 5.0])
def test_the_weight_is_the_gradients_ratio(ratio: float) -> None:
    """λ = ρ · ‖∇task‖ / ‖∇topographic‖, both over what the topographic gradient reaches."""
    two, strength = _Two(), GradientRatio(ratio)
    strength.backward(*two.losses(), two.parameters)
    task, topographic = two.norms()
    assert strength.weight is not None
    assert strength.weight.item() == pytest.approx(ratio * task / topographic, rel=1e-6)
    _close(two.gradients(), _expected(strength.weight.item()))


def test_the_weight_is_smoothed_from_step_to_step() -> None:
    """λ_t = 0.9 λ_{t−1} + 0.1 λ; the first is λ itself."""
    two, strength, expected = _Two(), GradientRatio(0.5), None
    for step in range(4):
        two.model.zero_grad()
        strength.backward(*two.losses(step), two.parameters)
        task, topographic = two.norms(step)
        new = 0.5 * task / topographic
        expected = new if expected is None else 0.9 * expected + 0.1 * new
        assert strength.weight is not None
        assert strength.weight.item() == pytest.approx(expected, rel=1e-6)
        _close(two.gradients(), _expected(strength.weight.item(), step))


def test_the_weight_has_a_ceiling() -> None:
    two, strength = _Two(), GradientRatio(1.0)
    task, topographic = two.losses()
    strength.backward(task, 1e-9 * topographic, two.parameters)
    assert strength.weight is not None
    assert strength.weight.item() == CEILING == 1e4
    _close(two.gradients(), _expected(1e4 * 1e-9))


def test_no_topographic_gradient_changes_nothing() -> None:
    """It is zero where all weights are equal, say: the step is the task's alone, and λ stays as it was."""
    two, strength = _Two(), GradientRatio(0.2)
    task, topographic = two.losses()
    strength.backward(task, 0 * topographic, two.parameters)
    assert strength.weight is not None
    assert strength.weight.item() == 0
    _close(two.gradients(), _expected(0.0))
    two, strength = _Two(), GradientRatio(0.2)
    strength.backward(*two.losses(), two.parameters)
    assert strength.weight is not None
    before = strength.weight.item()
    two.model.zero_grad()
    task, topographic = two.losses(1)
    strength.backward(task, 0 * topographic, two.parameters)
    assert strength.weight.item() == before > 0
    _close(two.gradients(), _expected(0.0, 1))


def test_a_loss_that_reaches_nothing_leaves_the_task_alone() -> None:
    """As where all that it could move is frozen, or another network's."""
    two, strength, other = _Two(), GradientRatio(0.2), torch.ones(3, requires_grad=True)
    task, _ = two.losses()
    strength.backward(task, other.square().sum(), two.parameters)
    _close(two.gradients(), _expected(0.0))


@pytest.mark.parametrize("every", [1, 2])
def test_a_parameter_that_the_task_does_not_reach_is_pulled_as_well(every: int) -> None:
    """And counts in the norms: λ = ρ · ‖(2, 2)‖ / ‖(3, 3, 1, 1)‖ for a·a and 3a + b."""
    a, b = (torch.ones(2, requires_grad=True) for _ in range(2))
    strength = GradientRatio(0.5, every)
    weight = 0.5 * math.sqrt(8) / math.sqrt(20)
    for _step in range(2):
        a.grad = b.grad = None
        strength.backward(a.square().sum(), (3 * a + b).sum(), [a, b])
        assert strength.weight is not None
        assert strength.weight.item() == pytest.approx(weight)
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, torch.full((2,), 2 + 3 * weight))
        torch.testing.assert_close(b.grad, torch.full((2,), weight))


@pytest.mark.parametrize("every", [1, 3])
def test_a_schedules_factor_is_on_top_of_the_weight(every: int) -> None:
    """λ is measured and smoothed without it; what is added is factor · λ times the topographic gradient."""
    plain, other = GradientRatio(0.5, every), GradientRatio(0.5, every)
    for step, factor in enumerate((1.0, 0.5, 0.0, 0.25)):
        one, two = _Two(), _Two()
        plain.backward(*one.losses(step), one.parameters)
        other.backward(*two.losses(step), two.parameters, factor)
        assert plain.weight is not None
        assert other.weight is not None
        assert plain.weight.item() == other.weight.item()
        _close(two.gradients(), _expected(factor * other.weight.item(), step))


@pytest.mark.parametrize(("ratio", "every"), [(-0.1, 1), (math.nan, 1), (math.inf, 1), (0.1, 0)])
def test_wrong_settings_are_said(ratio: float, every: int) -> None:
    with pytest.raises(InputError, match=f"^ratio = {ratio!r}, every = {every}: must be finite and >= 0, and at least"):
        GradientRatio(ratio, every)


def test_no_task_gradient_leaves_no_weight() -> None:
    two, strength = _Two(), GradientRatio(0.2)
    task, topographic = two.losses()
    strength.backward(0 * task, topographic, two.parameters)
    assert strength.weight is not None
    assert strength.weight.item() == 0
    assert all((one == 0).all() for one in two.gradients())


@pytest.mark.parametrize("every", [1, 2, 3])
def test_it_is_measured_every_so_often(every: int) -> None:
    two, strength, weights = _Two(), GradientRatio(0.5, every), list[float]()
    for step in range(6):
        two.model.zero_grad()
        strength.backward(*two.losses(step), two.parameters)
        assert strength.weight is not None
        weights.append(strength.weight.item())
        _close(two.gradients(), _expected(weights[-1], step))
        if step and step % every == 0:  # the smoothing goes on by as many steps
            task, topographic = two.norms(step)
            kept = 0.9**every
            assert weights[-1] == pytest.approx(kept * weights[-2] + (1 - kept) * 0.5 * task / topographic, rel=1e-6)
    changes = [step for step in range(1, 6) if weights[step] != weights[step - 1]]
    assert changes == [step for step in range(1, 6) if step % every == 0]


@pytest.mark.parametrize("every", [1, 2])
def test_gradients_of_before_are_added_to_and_not_measured(every: int) -> None:
    """Two passes without zeroing between, as when gradients are accumulated over parts of a batch."""
    two, strength = _Two(), GradientRatio(0.5, every)
    before = [torch.full_like(one, 7.0) for one in two.parameters]
    for parameter, old in zip(two.parameters, before, strict=True):
        parameter.grad = old.clone()
    strength.backward(*two.losses(), two.parameters)
    task, topographic = two.norms()
    assert strength.weight is not None
    first = strength.weight.item()
    assert first == pytest.approx(0.5 * task / topographic, rel=1e-6)
    _close(two.gradients(), _expected(first, before=before))
    between = two.gradients()
    strength.backward(*two.losses(1), two.parameters)
    _close(two.gradients(), _expected(strength.weight.item(), 1, before=between))


def test_a_loss_of_weights_shares_no_graph_with_the_task() -> None:
    two, strength = _Two(), GradientRatio(0.3)
    first = two.parameters[0]
    task, _ = two.losses()
    strength.backward(task, first.square().sum(), two.parameters)
    (own,) = torch.autograd.grad(two.losses()[0], first)
    weight = 0.3 * own.norm().item() / (2 * first).norm().item()
    assert strength.weight is not None
    assert strength.weight.item() == pytest.approx(weight, rel=1e-6)
    torch.testing.assert_close(first.grad, own + weight * 2 * first.detach(), rtol=1e-6, atol=1e-9)


def test_a_frozen_parameter_gets_no_gradient() -> None:
    two, strength = _Two(), GradientRatio(0.5)
    two.parameters[1].requires_grad_(False)
    strength.backward(*two.losses(), two.parameters)
    assert two.parameters[1].grad is None
    plain = _Two()
    plain.parameters[1].requires_grad_(False)
    task, topographic = plain.losses()
    assert strength.weight is not None
    (task + strength.weight.item() * topographic).backward()
    for mine, theirs in zip(two.parameters, plain.parameters, strict=True):
        assert (mine.grad is None) == (theirs.grad is None)
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_it_goes_on_from_its_state(every: int, stop: int) -> None:
    """To the same bits; its state is made of plain numbers."""

    def run(strength: GradientRatio, steps: range) -> list[float]:
        weights = []
        for step in steps:
            two = _Two(step)
            strength.backward(*two.losses(), two.parameters)
            assert strength.weight is not None
            weights.append(strength.weight.float().item())
        return weights

    whole = run(GradientRatio(0.5, every), range(6))
    first, second = GradientRatio(0.5, every), GradientRatio(0.5, every)
    before = run(first, range(stop))
    second.resume(json.loads(json.dumps(first.state())))
    assert before + run(second, range(stop, 6)) == whole
    fresh = GradientRatio(0.5, every)
    fresh.resume(GradientRatio(0.5, every).state())
    assert (fresh.steps, fresh.weight) == (0, None)
    assert run(fresh, range(6)) == whole


def test_in_a_training_loop_it_keeps_the_topographic_gradient_at_its_share() -> None:
    two, strength = _Two(), GradientRatio(0.2)
    optimizer = torch.optim.SGD(two.model.parameters(), lr=0.01)
    for _step in range(60):
        optimizer.zero_grad()
        strength.backward(*two.losses(), two.parameters)
        optimizer.step()
    task, topographic = two.norms()
    assert strength.weight is not None
    assert strength.weight.item() * topographic / task == pytest.approx(0.2, rel=0.5)
