"""One epoch of training, and one evaluation."""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from topotune.data.batches import Batch
from topotune.losses.strength import GradientRatio
from topotune.training.device import Precision
from topotune.training.distributed import from_every, sum_over_ranks, unsynchronised
from topotune.training.memory import EVALUATED
from topotune.training.topography import Topography


@dataclass(frozen=True)
class Pull:
    """The topographic part of a step: the loss, and what makes its weight follow the gradients, if anything does."""

    topography: Topography
    ratio: GradientRatio | None = None

    @property
    def weight(self) -> float | Tensor:
        """The full λ as it is now."""
        if self.ratio is None:
            return self.topography.weight
        return 0.0 if self.ratio.weight is None else self.ratio.weight


def losses(
    model: nn.Module, batch: Batch, topography: Topography | None, precision: Precision
) -> tuple[Tensor, Tensor]:
    """The task's loss (cross-entropy, mean over the batch) and the unweighted topographic loss, both scalars."""
    with topography or nullcontext(), precision.autocast():
        logits = model(precision.images(batch.images))
    task = F.cross_entropy(logits.float(), batch.labels)
    return task, topography.value() if topography else task.new_zeros(())


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    pull: Pull | None,
    precision: Precision,
    plan: Iterable[tuple[float, float]],
    accumulate: int = 1,
) -> tuple[float, float, float]:
    """One pass over ``batches``, each with its learning rate and its share of the full topographic weight.

    accumulate: in how many micro-batches each batch goes through the network; their gradients add up to one step.

    Returns:
        the mean task loss, the mean topographic loss and the mean λ over all ranks' samples.
    """
    model.train()
    total = torch.zeros(4, dtype=torch.float64, device=precision.device)
    for batch, (rate, factor) in zip(batches, plan, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        # all ranks divide alike, as the one with the fewest samples can: losses and normalisation may gather from all
        fewest = int(len(batch.labels) / batch.share + 1e-6)
        parts = batch.parts(min(accumulate, fewest // 2))
        for part in parts:
            with nullcontext() if part is parts[-1] else unsynchronised(model):
                task, topographic = losses(model, part, pull.topography if pull else None, precision)
                # a part, or a rank, with fewer samples than the others counts for less in the mean
                if pull and pull.ratio:
                    pull.ratio.backward(task * part.share, topographic * part.share, model.parameters(), factor)
                else:
                    loss = task + factor * pull.topography.weight * topographic if pull else task
                    (loss * part.share).backward()  # type: ignore[no-untyped-call]
            # stays on the device: a number read here would make every step wait
            acting = factor * pull.weight if pull else 0.0
            seen = torch.stack([task.detach(), topographic.detach(), task.new_ones(()) * acting, task.new_ones(())])
            total += len(part.labels) * seen.double()
        optimizer.step()
    *sums, samples = sum_over_ranks(total).tolist()
    task_mean, topographic_mean, strength = (one / samples for one in sums)
    return task_mean, topographic_mean, strength


@dataclass(frozen=True)
class Evaluation:
    """Over all samples: accuracy (a fraction), mean cross-entropy, and, of two classes, the area under the ROC curve
    (None where only one of them occurs)."""

    accuracy: float
    loss: float
    roc_auc: float | None = None


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch], precision: Precision) -> Evaluation:
    """Over all ranks' batches, in evaluation mode; the logits of a clip are the mean of its windows'."""
    model.eval()
    total = torch.zeros(3, dtype=torch.float64, device=precision.device)
    scores: list[tuple[Tensor, Tensor]] = []
    for batch in batches:
        with precision.autocast():  # a long clip has more windows than memory may hold at once
            parts = [model(precision.images(some)).float() for some in torch.split(batch.images, EVALUATED)]
        logits = torch.cat(parts)
        if batch.owner is not None:
            windows = batch.owner.bincount(minlength=len(batch.labels)).unsqueeze(1)
            logits = logits.new_zeros(len(windows), logits.shape[1]).index_add_(0, batch.owner, logits) / windows
        if logits.shape[1] == 2:
            scores.append((logits[:, 1] - logits[:, 0], batch.labels))
        correct = (logits.argmax(1) == batch.labels).sum()
        loss = F.cross_entropy(logits, batch.labels, reduction="sum")
        total += torch.stack([correct.double(), loss.double(), torch.full_like(loss, len(batch.labels)).double()])
    right, loss_sum, samples = sum_over_ranks(total).tolist()
    return Evaluation(right / samples, loss_sum / samples, _roc_auc(scores))


def _roc_auc(scores: list[tuple[Tensor, Tensor]]) -> float | None:
    own = [torch.cat(values).cpu() for values in zip(*scores, strict=True)]
    every = [one for one in from_every(own) if one]
    if not every:
        return None
    score, label = (torch.cat(values) for values in zip(*every, strict=True))
    if len(set(label.tolist())) < 2 or not score.isfinite().all():
        return None
    from sklearn.metrics import roc_auc_score  # half a second that other data sets need not wait for

    return float(roc_auc_score(label.numpy(), score.numpy()))
