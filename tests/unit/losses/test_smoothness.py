"""The smoothness loss of TopoLoss against a blur that is worked out cell by cell."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from topotune.losses.smoothness import FACTOR, laplacian_loss
from topotune.topography.positions import positions
from topotune.topography.targets import sheet_cells


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _resize(values: list[list[float]], size: int) -> list[list[float]]:
    """Rows of vectors, drawn out or together to ``size`` of them, linear between the centres of cells."""
    length = len(values)
    result = []
    for one in range(size):
        at = max((one + 0.5) * length / size - 0.5, 0.0)
        low = min(int(at), length - 1)
        high, share = min(low + 1, length - 1), at - low
        result.append([(1 - share) * a + share * b for a, b in zip(values[low], values[high], strict=True)])
    return result


def _both_ways(sheet: list[list[list[float]]], height: int, width: int) -> list[list[list[float]]]:
    """A sheet of vectors at another size: along its rows, then along its columns."""
    rows = [_resize(row, width) for row in sheet]
    columns = [_resize([row[x] for row in rows], height) for x in range(width)]
    return [[columns[x][y] for x in range(width)] for y in range(height)]


def _by_loops(weights: Tensor, cells: Tensor, factor: float) -> float:
    height, width = cells.shape
    sheet = [[weights[channel].flatten().tolist() for channel in row] for row in cells.tolist()]
    smaller = _both_ways(sheet, max(int(height / factor), 1), max(int(width / factor), 1))
    blurred = _both_ways(smaller, height, width)
    alike = []
    for y in range(height):
        for x in range(width):
            one, other = sheet[y][x], blurred[y][x]
            norms = math.hypot(*one) * math.hypot(*other)
            alike.append(math.fsum(a * b for a, b in zip(one, other, strict=True)) / norms if norms else 0.0)
    return 1 - math.fsum(alike) / len(alike)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 10**6),
       st.sampled_from([1.5, 2.0, 3.0, 4.0]))  # fmt: skip
def test_formula(channels: int, kernel: list[int], seed: int, factor: float) -> None:
    weights, cells = _draw(channels, *kernel, seed=seed), sheet_cells(positions("sheet", channels))
    expected = max(_by_loops(weights, cells, factor), 0)
    assert laplacian_loss(weights, cells, factor).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    single = laplacian_loss(weights.float(), cells, factor)
    assert single.dtype == torch.float32
    # where the blur takes a cell to nearly nothing its direction is rounding
    assert single.item() == pytest.approx(
        max(_by_loops(weights.float().double(), cells, factor), 0), rel=1e-5, abs=1e-5
    )


def test_an_11_by_11_sheet() -> None:
    weights, cells = _draw(121, 64), sheet_cells(positions("sheet", 121))
    assert laplacian_loss(weights, cells).item() == pytest.approx(_by_loops(weights, cells, FACTOR), rel=1e-12)
    single = weights.float()
    expected = _by_loops(single.double(), cells, FACTOR)
    assert laplacian_loss(single, cells).item() == pytest.approx(expected, rel=1e-6)


def test_by_hand() -> None:
    """Three cells in a row become one, the middle one, which all are then held against: cosines 0, 1 and 3/5."""
    weights = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 3.0]], dtype=torch.float64)
    cells = torch.tensor([[0, 1, 2]])
    assert laplacian_loss(weights, cells, 3.0).item() == pytest.approx(1 - 1.6 / 3)
    # two cells in a row become their mean, (1, 1): cosines √½
    assert laplacian_loss(torch.eye(2, dtype=torch.float64) * 2, torch.tensor([[0, 1]])).item() == pytest.approx(
        1 - math.sqrt(0.5)
    )


def test_a_smooth_sheet_costs_nothing() -> None:
    cells = sheet_cells(positions("sheet", 36))
    alike = torch.ones(36, 5, dtype=torch.float64) * torch.arange(1, 6)
    assert laplacian_loss(alike, cells).item() == pytest.approx(0, abs=1e-12)
    rough = alike * torch.tensor([1.0, -1.0] * 18, dtype=torch.float64).unsqueeze(1)
    assert laplacian_loss(rough, cells).item() > 0.5


def test_what_sits_where_matters_and_not_its_number() -> None:
    weights, cells = _draw(24, 7), sheet_cells(positions("sheet", 24))
    expected = laplacian_loss(weights, cells).item()
    order = torch.randperm(24, generator=torch.Generator().manual_seed(5))
    moved = sheet_cells(positions("sheet", 24)[order])
    assert laplacian_loss(weights[order], moved).item() == pytest.approx(expected, rel=1e-12)
    assert laplacian_loss(weights, moved).item() != pytest.approx(expected, rel=1e-6)


def test_the_gradient_makes_it_smoother() -> None:
    weights, cells = _draw(121, 8).requires_grad_(), sheet_cells(positions("sheet", 121))
    before = laplacian_loss(weights, cells)
    (slope,) = torch.autograd.grad(before, weights)
    assert laplacian_loss(weights - 5 * slope, cells) < before
