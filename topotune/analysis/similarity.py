"""Similarity of two models' representations: RSA (Kriegeskorte et al. 2008) and linear CKA (Kornblith et al. 2019), by
its unbiased estimate (Nguyen, Raghu & Kornblith 2021; HSIC₁ of Song et al. 2012).

N images, C units.
"""

from typing import NamedTuple

import numpy as np
import torch

from topotune.analysis.correlation import spearman, standard_ranks
from topotune.analysis.units import Array, Measure
from topotune.losses.neighbours import correlations

IMAGES = 500  # at most, so that their pairs fit: the same for every model of a data set


class Signature(NamedTuple):
    """What is compared of a model.

    ranks: of the dissimilarities 1 − r of each two images' responses over the units, less their mean, of length 1; NaN
    where they are all equal.
    kernel: (N, N) products of two images' responses, centred so that its products are unbiased (``_centred``).
    """

    ranks: Array
    kernel: Array


def signature(responses: Array) -> Signature:
    """Of responses (N, C), to the same images for all models; of more than ``IMAGES``, to those that are drawn, since a
    data set may be in the order of its classes."""
    few = np.asarray(responses, dtype=float)
    if len(few) > IMAGES:
        few = few[np.random.default_rng(0).choice(len(few), IMAGES, replace=False)]
    r = correlations(torch.from_numpy(np.ascontiguousarray(few.T))).numpy()  # images in the role of units
    return Signature(standard_ranks(1 - r[np.triu_indices(len(few), 1)]), _centred(few))


def similarity(one: Signature, other: Signature) -> list[Measure]:
    """``rsa``: Spearman's correlation of the dissimilarities; ``cka``: 1 for representations that differ by a rotation
    and a scale, 0 in the mean for such as have nothing to do with each other, whatever their number of units; no value
    where one does not vary."""
    scale = float((one.kernel**2).sum() * (other.kernel**2).sum())
    cka = float((one.kernel * other.kernel).sum()) / scale**0.5 if scale else np.nan
    return [Measure("rsa", spearman(one.ranks, other.ranks)), Measure("cka", cka)]


def _centred(responses: Array) -> Array:
    """The Gram matrix with a diagonal of zeros, centred such that each row sums to 0 without it (Székely & Rizzo 2014,
    eq. 3.1); zeros where nothing varies."""
    count = len(responses)
    varied = responses - responses.mean(0)
    if count < 4 or np.linalg.norm(varied) <= 1e-9 * np.linalg.norm(responses):
        return np.zeros((count, count))
    kernel = varied @ varied.T
    np.fill_diagonal(kernel, 0)
    rows = kernel.sum(1) / (count - 2)
    found: Array = kernel - rows[:, None] - rows[None] + kernel.sum() / ((count - 1) * (count - 2))
    np.fill_diagonal(found, 0)
    return found
