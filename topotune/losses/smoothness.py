"""The smoothness loss of TopoLoss (Deb et al. 2025): weights on a sheet resemble the sheet seen out of focus."""

from torch import Tensor
from torch.nn import functional as F

from topotune.losses.numerics import exact, unit_rows

FACTOR = 3.0  # by which the sheet is made smaller, and larger again


def laplacian_loss(weights: Tensor, cells: Tensor, factor: float = FACTOR) -> Tensor:
    """1 − the mean cosine of each cell's weights and the blurred sheet's there.

    Args:
        weights: (C, ...), a channel's flattened kernel in each row, without bias.
        cells: (h, w), which channel sits in each cell; h·w = C.
        factor: the blur: down-sampled by so much, and up-sampled back, bilinear both.
    """
    w = exact(weights).flatten(1)
    height, width = cells.shape
    cell = w[cells.flatten()]  # (h·w, E)
    sheet = cell.T.reshape(1, -1, height, width)
    smaller = [max(int(height / factor), 1), max(int(width / factor), 1)]
    blurred = F.interpolate(F.interpolate(sheet, smaller, mode="bilinear"), [height, width], mode="bilinear")
    return (1 - (unit_rows(cell) * unit_rows(blurred.flatten(2)[0].T)).sum(1).mean()).clamp(min=0)
