"""Training on after pruning, while the channels that are gone stay zero."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from topotune.config import TrialConfig
from topotune.data import steps_per_epoch
from topotune.data.batches import derive_seed, training_batches
from topotune.data.splits import Split
from topotune.training.device import Precision
from topotune.training.fit import make_optimizer
from topotune.training.loop import train_epoch

SHARE = 0.1  # of the trial's highest learning rate, throughout (Li et al. 2017, arXiv 1608.08710, section 4)


@dataclass(frozen=True)
class Finetuning:
    """How to train on: the trial's settings, its training part on the device, and so many epochs.

    accumulate: into how many micro-batches the trial divided its steps.
    """

    config: TrialConfig
    split: Split
    precision: Precision
    epochs: int
    accumulate: int = 1


def finetune(model: nn.Module, plan: Finetuning, hold: Callable[[], None]) -> None:
    """Train ``model`` in place with the trial's optimiser, batches and augmentation, without a topographic loss.

    ``hold`` is called after every step: it sets what is pruned to zero again.
    """
    config, split = plan.config, plan.split
    optimizer = make_optimizer(config, model)
    handle = optimizer.register_step_post_hook(lambda *_: hold())
    steps = [(SHARE * config.learning_rate, 0.0)] * steps_per_epoch(len(split), config.batch_size)
    for epoch in range(plan.epochs):
        torch.manual_seed(derive_seed(config.seed, "finetune", "dropout", epoch))
        order = derive_seed(config.seed, "finetune", "order", epoch)
        batches = training_batches(split, config.batch_size, order, augment=config.augment)
        train_epoch(model, batches, optimizer, None, plan.precision, steps, plan.accumulate)
    handle.remove()
