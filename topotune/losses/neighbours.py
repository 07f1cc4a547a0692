"""Neighbour losses of Truong & Hasson (arXiv 2508.00043), for units on a grid or channels on any lattice.

N batch, C units, P spatial positions; a activations (C, M) with M = N·P samples, w weights (C, E), K pairs.
The activation losses are about a batch as a whole. Over several ranks, its sums are gathered, so that value and
gradient are those of one process with the whole batch.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from topotune.losses.numerics import exact, gathered, unit_rows

CONSTANT = 1e-6  # a unit whose deviation is less than this share of its root mean square does not vary


def weight_similarity(weights: Tensor, pairs: Tensor) -> Tensor:
    """Weight similarity: mean over the pairs of ‖w_p − w_q‖₂, not squared. No pair: 0. Equal weights: gradient 0.

    Args:
        weights: (C, ...), a unit's incoming weights in each row, without bias.
        pairs: (2, K) neighbouring units.
    """
    w = exact(weights).flatten(1)
    one, other = _both(w, pairs)
    return _mean(torch.linalg.vector_norm(one - other, dim=1))


def weight_cosine(weights: Tensor, pairs: Tensor) -> Tensor:
    """Mean over the pairs of 1 − the cosine of their weights; arguments as for ``weight_similarity``."""
    return _dissimilarity(exact(weights).flatten(1), pairs)


def weight_pearson(weights: Tensor, pairs: Tensor) -> Tensor:
    """Mean over the pairs of 1 − the Pearson correlation of their weights; as for ``weight_similarity``."""
    return _dissimilarity(_centred(exact(weights).flatten(1)), pairs)


def activation_similarity(activations: Tensor, pairs: Tensor) -> Tensor:
    """Activation similarity: mean over the pairs of 1 − Pearson r between their activations over the batch.

    The authors' code does not hold this loss; the definition is ours, on activations before the ReLU. In a
    convolution every position of every image is a sample. A unit that does not vary has r = 0 with any other.

    Args:
        activations: (N, C, *spatial).
        pairs: (2, K) neighbouring units.
    """
    return _mean(1 - _picked(_correlation(_samples(activations), gather=True), pairs))


def rectified_similarity(activations: Tensor, pairs: Tensor) -> Tensor:
    """``activation_similarity`` of the activations after a ReLU."""
    return activation_similarity(F.relu(activations), pairs)


def global_similarity(activations: Tensor, target: Tensor) -> Tensor:
    """Global activation similarity: mean over all pairs of (cos(a_i, a_j) − T_ij)², the cosine taken over the batch.

    Args:
        activations: (N, C, *spatial).
        target: (C, C) target similarities; the diagonal is not read.
    """
    cosine = _cosine(_samples(activations), gather=True)
    difference = cosine - target.to(cosine.dtype)
    channels = len(difference)
    off = ~torch.eye(channels, dtype=torch.bool, device=difference.device)
    return (difference.square() * off).sum() / max(channels * (channels - 1), 1)


def weight_affinity(weights: Tensor) -> Tensor:
    """(C, C): less the farther apart two units' weights are."""
    w = exact(weights).flatten(1)
    # without matrix products: these lose small distances
    return -torch.cdist(w, w, compute_mode="donot_use_mm_for_euclid_dist")


def weight_cosines(weights: Tensor) -> Tensor:
    """(C, C) cosines of the units' weights."""
    return _cosine(exact(weights).flatten(1))


def weight_correlations(weights: Tensor) -> Tensor:
    """(C, C) Pearson correlations of the units' weights."""
    return _cosine(_centred(exact(weights).flatten(1)))


def correlations(activations: Tensor) -> Tensor:
    """(C, C) Pearson correlations of the activations (N, C, *spatial) over this process's batch."""
    return _correlation(_samples(activations))


def rectified_correlations(activations: Tensor) -> Tensor:
    """``correlations`` after a ReLU."""
    return correlations(F.relu(activations))


def cosines(activations: Tensor) -> Tensor:
    """(C, C) cosines of the activations (N, C, *spatial) over this process's batch."""
    return _cosine(_samples(activations))


def _mean(values: Tensor) -> Tensor:
    return (values.sum() / max(len(values), 1)).clamp(min=0)  # 1 − r can round to less


def _picked(matrix: Tensor, pairs: Tensor) -> Tensor:
    return matrix[pairs[0], pairs[1]]


def _dissimilarity(rows: Tensor, pairs: Tensor) -> Tensor:
    one, other = _both(unit_rows(rows), pairs)
    return _mean(1 - (one * other).sum(1))


def _both(rows: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of both units of every pair; index_select, whose gradient is far quicker than that of indexing."""
    return rows.index_select(0, pairs[0]), rows.index_select(0, pairs[1])


def _samples(activations: Tensor) -> Tensor:
    """(N, C, *spatial) -> (C, M), a row a unit."""
    return exact(activations).transpose(0, 1).flatten(1)


def _centred(rows: Tensor) -> Tensor:
    """Rows less their means; a row that does not vary becomes 0, not rounding errors."""
    centred = rows - rows.mean(1, keepdim=True)
    varies = centred.detach().square().sum(1) > CONSTANT**2 * rows.detach().square().sum(1)
    return centred * varies.unsqueeze(1)


def _correlation(samples: Tensor, *, gather: bool = False) -> Tensor:
    """Pearson r (C, C) of the rows of (C, M), over all ranks' samples if ``gather``."""
    sums = torch.cat([samples.sum(1), samples.new_full((1,), samples.shape[1])])
    if gather:
        sums = gathered(sums)
    mean = sums[:-1] / sums[-1].detach()
    gram = _gram(samples - mean.unsqueeze(1), gather)
    least = CONSTANT**2 * (gram.diagonal() + mean.square() * sums[-1])
    return _scaled(gram, least.detach())


def _cosine(samples: Tensor, *, gather: bool = False) -> Tensor:
    """Cosines (C, C) of the rows of (C, M), over all ranks' samples if ``gather``."""
    gram = _gram(samples, gather)
    return _scaled(gram, torch.zeros_like(gram.diagonal()))


def _gram(samples: Tensor, gather: bool) -> Tensor:
    with torch.autocast(samples.device.type, enabled=False):
        gram = samples @ samples.T
    return gathered(gram) if gather else gram


def _scaled(gram: Tensor, least: Tensor) -> Tensor:
    """gram_ij / √(gram_ii gram_jj); 0, with gradient 0, where a diagonal entry is no more than ``least`` (C,)."""
    square = gram.diagonal()
    alive = square > least.clamp(min=torch.finfo(gram.dtype).tiny)
    scale = torch.where(alive, square, 1).rsqrt() * alive
    return gram * scale.unsqueeze(0) * scale.unsqueeze(1)
