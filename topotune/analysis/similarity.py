"""Similarity of two models' representations: RSA (Kriegeskorte et al. 2008) and linear CKA (Kornblith et al. 2019).

N images, C units.
"""

from typing import NamedTuple

import numpy as np
import torch

from topotune.analysis.correlation import standard_ranks
from topotune.analysis.units import Array, Measure
from topotune.losses.neighbours import correlations

IMAGES = 500  # at most, so that their pairs fit: the same for every model of a data set


class Signature(NamedTuple):
    """What is compared of a model.

    ranks: of the dissimilarities 1 − r of each two images' responses over the units, less their mean, of length 1.
    centred: (N, C) responses, each unit less its mean.
    """

    ranks: Array
    centred: Array


def signature(responses: Array) -> Signature:
    """Of responses (N, C), to the same images for all models."""
    few = np.ascontiguousarray(responses[:IMAGES], dtype=float)
    r = correlations(torch.from_numpy(few.T)).numpy()  # images in the role of units
    return Signature(standard_ranks(1 - r[np.triu_indices(len(few), 1)]), few - few.mean(0))


def similarity(one: Signature, other: Signature) -> list[Measure]:
    """``rsa``: Spearman's correlation of the dissimilarities; ``cka``: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), 1 for representations
    that differ by a rotation and a scale; no value where one does not vary."""
    x, y = one.centred, other.centred
    scale = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    cka = float(np.square(y.T @ x).sum()) / scale if scale else np.nan
    return [Measure("rsa", float(one.ranks @ other.ranks)), Measure("cka", cka)]
