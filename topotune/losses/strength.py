"""How strongly topography pulls: its weight over a training run, and a weight that follows the gradients."""

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from topotune.errors import InputError, unknown
from topotune.losses import WEIGHT_SCHEDULES
from topotune.losses.numerics import ranks

SMOOTHING = 0.1  # the share of a new measurement
CEILING = 1e4
EPSILON = 1e-12


def weight_factor(schedule: str, progress: float, warmup: float) -> float:
    """The share of the full weight at ``progress`` in [0, 1) of the training.

    Args:
        schedule: ``constant``; ``linear`` or ``cosine``, from 1 down to 0; ``warmup``, from 0 up to 1 over the first
            ``warmup`` of the training, then constant.
        progress: the share of the training that is done.
        warmup: a share of the training.

    Raises:
        InputError: the schedule is unknown.
    """
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1 - progress
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "warmup":
        return min(progress / warmup, 1.0) if warmup > 0 else 1.0
    raise unknown("weight_schedule", schedule, WEIGHT_SCHEDULES)


class GradientRatio:
    """A weight that keeps the topographic gradient at a share ρ of the task's:

        λ = clamp(ρ · ‖∇task‖ / (‖∇topographic‖ + ε), 0, 1e4), smoothed: λ_t = 0.9 λ_{t−1} + 0.1 λ.

    Both norms are over the parameters that the topographic gradient reaches: the layers' weights for a loss of
    weights, every parameter up to the last topographic layer for a loss of outputs. Over several ranks they are
    those of the mean gradients, so that every rank has the same λ. A measurement that finds no topographic gradient
    leaves λ as it was, 0 before the first.

    Args:
        ratio: ρ.
        every: steps from one measurement to the next. A measurement takes a second backward pass from the
            topographic layers down; that of a loss of weights ends at the weights, and costs nothing to speak of.
    """

    def __init__(self, ratio: float, every: int = 1) -> None:
        if not 0 <= ratio < math.inf or every < 1:
            raise InputError(f"ratio = {ratio!r}, every = {every!r}: must be finite and >= 0, and at least 1")
        self.ratio, self.every, self.steps = ratio, every, 0
        self.weight: Tensor | None = None  # λ_t, on the parameters' device

    def state(self) -> dict[str, float | int | None]:
        """What ``resume`` takes up again."""
        return {"steps": self.steps, "weight": None if self.weight is None else float(self.weight)}

    def resume(self, state: dict[str, float | int | None]) -> None:
        """Go on from a ``state``."""
        self.steps = int(state["steps"] or 0)
        self.weight = None if state["weight"] is None else torch.tensor(state["weight"])

    def backward(self, task: Tensor, topographic: Tensor, parameters: Iterable[Tensor], factor: float = 1.0) -> None:
        """Accumulate into ``.grad`` the gradients of task + factor · λ · topographic (two scalars).

        ``factor`` is that of a schedule. Called where ``(task + weight * topographic).backward()`` would stand
        otherwise; a network within DistributedDataParallel gets the ranks' mean gradients as usual.
        """
        due, self.steps = self.steps % self.every == 0, self.steps + 1
        if not due and self.weight is not None:
            (task + factor * self.weight.to(task) * topographic).backward()  # type: ignore[no-untyped-call]
            return
        if not topographic.requires_grad:
            task.backward()  # type: ignore[no-untyped-call]
            return
        leaves = [one for one in parameters if one.requires_grad]
        before = [None if one.grad is None else one.grad.clone() for one in leaves]
        pulls = torch.autograd.grad(topographic, leaves, retain_graph=True, allow_unused=True)
        task.backward()  # type: ignore[no-untyped-call]
        reached = [(leaf, pull, old) for leaf, pull, old in zip(leaves, pulls, before, strict=True) if pull is not None]
        if not reached:
            return
        pulled = _mean_over_ranks([pull for _leaf, pull, _old in reached])
        own = [_difference(leaf.grad, old) for leaf, _pull, old in reached]
        self._measure(_norm([one for one in own if one is not None]), _norm(pulled))
        assert self.weight is not None
        for (leaf, _pull, _old), pull in zip(reached, pulled, strict=True):
            added = (factor * self.weight).to(pull) * pull
            if leaf.grad is None:
                leaf.grad = added
            else:
                leaf.grad += added

    def _measure(self, task: Tensor, topographic: Tensor) -> None:
        """One step of the smoothing, from the norms of the two gradients; nothing is read off the device."""
        found = (self.ratio * task / (topographic + EPSILON)).clamp(0, CEILING)
        if self.weight is None:
            self.weight = torch.where(topographic > 0, found, torch.zeros_like(found))
            return
        old = self.weight.to(found)
        share = 1 - (1 - SMOOTHING) ** self.every  # of all the steps since the last one
        self.weight = torch.where(topographic > 0, old + share * (found - old), old)


def _difference(gradient: Tensor | None, before: Tensor | None) -> Tensor | None:
    return gradient if gradient is None or before is None else gradient - before


def _norm(gradients: list[Tensor]) -> Tensor:
    total = torch.zeros((), device=gradients[0].device if gradients else None)
    for one in gradients:
        total = total.to(one.device) + one.detach().float().square().sum()
    return total.sqrt()


def _mean_over_ranks(gradients: list[Tensor]) -> list[Tensor]:
    """The ranks' mean of every gradient, in one exchange."""
    if ranks() == 1:
        return gradients
    flat = torch.cat([one.flatten() for one in gradients])
    dist.all_reduce(flat)
    parts = torch.split(flat / ranks(), [one.numel() for one in gradients])
    return [part.view_as(one) for part, one in zip(parts, gradients, strict=True)]
