"""One epoch of training, and one evaluation.

N batch of this rank, L topographic layers.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from topotune.data.batches import Batch
from topotune.models.topographic import LayerOutputs
from topotune.training.distributed import sum_over_ranks


@dataclass(frozen=True)
class Topography:
    """The topographic part of the loss: ``weight`` times the sum or mean of ``loss(outputs, target)`` over layers."""

    layers: Sequence[nn.Module]
    targets: Sequence[Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    weight: float
    mean: bool

    def __call__(self, outputs: Sequence[Tensor]) -> Tensor:
        """The unweighted loss, reduced over the layers, from the layers' outputs in the same order."""
        total = torch.stack([self.loss(y, target) for y, target in zip(outputs, self.targets, strict=True)]).sum()
        return total / len(self.targets) if self.mean else total


@dataclass(frozen=True)
class Precision:
    """Which device, and in which precision the forward pass runs."""

    device: torch.device
    bfloat16: bool

    def images(self, images: Tensor) -> Tensor:
        """Images in the memory layout that is fast in this precision."""
        return images.to(memory_format=torch.channels_last) if self.bfloat16 else images

    def autocast(self) -> torch.autocast:
        """The context of the forward pass."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)


def losses(
    model: nn.Module, batch: Batch, topography: Topography | None, precision: Precision
) -> tuple[Tensor, Tensor]:
    """The task's loss (cross-entropy, mean over the batch) and the unweighted topographic loss, both scalars."""
    with LayerOutputs(topography.layers if topography else ()) as caught, precision.autocast():
        logits = model(precision.images(batch.images))
    task = F.cross_entropy(logits.float(), batch.labels)
    return task, topography(caught.outputs) if topography else task.new_zeros(())


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    topography: Topography | None,
    precision: Precision,
    rates: Iterable[float],
) -> tuple[float, float]:
    """One pass over ``batches``, each at its learning rate; the mean task and topographic losses over all ranks."""
    model.train()
    total = torch.zeros(3, dtype=torch.float64, device=precision.device)
    for batch, rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        task, topographic = losses(model, batch, topography, precision)
        loss = task + topography.weight * topographic if topography else task
        optimizer.zero_grad(set_to_none=True)
        # a rank with fewer samples than the others counts for less in the ranks' mean
        (loss * batch.share).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        # stays on the device: a number read here would make every step wait
        size = len(batch.labels)
        total += torch.stack([task.detach() * size, topographic.detach() * size, task.new_tensor(size)])
    task_sum, topographic_sum, samples = sum_over_ranks(total).tolist()
    return task_sum / samples, topographic_sum / samples


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch], precision: Precision) -> tuple[float, float]:
    """Accuracy (a fraction) and mean cross-entropy over all ranks' batches, in evaluation mode."""
    model.eval()
    total = torch.zeros(3, dtype=torch.float64, device=precision.device)
    for batch in batches:
        with precision.autocast():
            logits = model(precision.images(batch.images))
        correct = (logits.argmax(1) == batch.labels).sum()
        loss = F.cross_entropy(logits.float(), batch.labels, reduction="sum")
        total += torch.stack([correct.double(), loss.double(), correct.new_tensor(len(batch.labels)).double()])
    right, loss_sum, samples = sum_over_ranks(total).tolist()
    return right / samples, loss_sum / samples
