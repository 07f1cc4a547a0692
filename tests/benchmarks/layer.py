"""One layer's topographic loss, forward and backward: ours against the formula written out; time and peak memory.

    python -m tests.benchmarks.layer [--batch 64] [--rounds 7] [--out FILE.json]

Beside it the two floors: the operations of its matrix products at the rate of a large one, and the bytes of reading the
activations twice and writing their gradient at the rate of a copy. Also how the cost grows with the batch, and weight
similarity against a loop over units. On a GPU where torch sees one.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tests.benchmarks.direct import direct
from tests.benchmarks.measure import peak_bytes, ratio, seconds
from topotune.files import write_json
from topotune.losses.channel import FEW, channel_loss, ready
from topotune.losses.neighbours import weight_similarity
from topotune.topography.positions import positions
from topotune.topography.targets import neighbour_pairs, target_similarity
from topotune.training.memory import keep_freed_memory

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIZES = ((16, 32), (32, 32), (64, 32), (64, 16), (128, 16), (128, 8), (256, 8), (256, 4), (512, 4), (512, 2),
         (512, 1), (1024, 2), (1024, 1))  # fmt: skip


BATCHES = (16, 256)


def both_ways(loss: Callable[..., Tensor], y: Tensor, target: object) -> Callable[[], Tensor]:
    """Forward and backward, as a training step has them."""

    def work() -> Tensor:
        (gradient,) = torch.autograd.grad(loss(y, target), y)
        return gradient

    return work


def rates(dtype: torch.dtype = torch.float32) -> tuple[float, float]:
    """Operations and bytes that this machine does in a second: a large matrix product, a large copy."""
    side = 2048 if DEVICE.type == "cpu" else 8192
    a, b = torch.randn(side, side, device=DEVICE, dtype=dtype), torch.randn(2**25, device=DEVICE)
    c = torch.empty_like(b)
    product, copy = seconds([lambda: a @ a, lambda: c.copy_(b)], 5, least=0.05)
    return 2 * side**3 / statistics.median(product), 2 * 4 * 2**25 / statistics.median(copy)


def floors(channels: int, size: int, batch: int) -> tuple[float, float]:
    """Operations and bytes that the loss and its gradient cannot do without, in the form that ours takes."""
    pixels = size * size
    if channels > max(pixels, FEW):
        operations = 2 * batch * (channels**2 * pixels + 2 * channels * pixels**2)
    else:
        operations = 2 * batch * 2 * channels**2 * pixels
    return operations, 3 * 4 * batch * channels * pixels


def layer(channels: int, size: int, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds and MiB of one layer's loss, both ways."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(batch, channels, size, size, generator=generator).to(DEVICE).requires_grad_()
    target = target_similarity(positions("grid2d", channels)).float().to(DEVICE)
    works = [both_ways(direct, y, target), both_ways(channel_loss, y, ready(target))]
    theirs, ours = seconds(works, rounds, least=0.02)
    memory = [peak_bytes(work) / 2**20 for work in works]
    return {
        "channels": channels, "size": size, "direct_ms": 1000 * statistics.median(theirs),
        "ours_ms": 1000 * statistics.median(ours), "times_as_fast": ratio(theirs, ours),
        "direct_mib": memory[0], "ours_mib": memory[1], "memory_share": memory[1] / memory[0],
    }  # fmt: skip


def looped(weights: Tensor, side: int) -> Tensor:
    """Weight similarity by a loop over units and one over their neighbours."""
    distances = []
    for row in range(side):
        for column in range(side):
            for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
                if row + down < side and 0 <= column + right < side:
                    one, other = row * side + column, (row + down) * side + column + right
                    distances.append(torch.linalg.vector_norm(weights[one] - weights[other]))
    return torch.stack(distances).mean()


def units(rounds: int) -> dict[str, float]:
    """Weight similarity of 121 units with 256 inputs, both ways."""
    weights = torch.randn(121, 256, generator=torch.Generator().manual_seed(0)).to(DEVICE).requires_grad_()
    pairs = neighbour_pairs(positions("grid2d", 121)).to(DEVICE)
    works = [
        lambda: torch.autograd.grad(looped(weights, 11), weights)[0],
        lambda: torch.autograd.grad(weight_similarity(weights, pairs), weights)[0],
    ]
    torch.testing.assert_close(works[0](), works[1](), rtol=1e-4, atol=1e-6)
    theirs, ours = seconds(works, rounds, least=0.02)
    return {
        "loop_ms": 1000 * statistics.median(theirs), "ours_ms": 1000 * statistics.median(ours),
        "times_as_fast": ratio(theirs, ours),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if DEVICE.type == "cpu":
        keep_freed_memory()
    operations, copied = rates()
    print(
        f"float32, {DEVICE}, {torch.get_num_threads()} threads, {operations / 1e9:.0f} GFLOP/s, {copied / 1e9:.0f} GB/s"
    )
    print("                  milliseconds                 floors, ms         MiB at the peak")
    print(f"{'batch':>5} {'C':>5} {'H=W':>4} {'direct':>9} {'ours':>8} {'ratio':>7} {'oper.':>7} {'bytes':>6} "
          f"{'direct':>9} {'ours':>8} {'share':>6}")  # fmt: skip
    cases = [(options.batch, *case) for case in SIZES] + [(batch, 256, 4) for batch in BATCHES]
    rows = []
    for batch, channels, size in cases:
        row = layer(channels, size, batch, options.rounds)
        needed = floors(channels, size, batch)
        row |= {"batch": batch, "floor_operations_ms": 1000 * needed[0] / operations}
        row |= {"floor_bytes_ms": 1000 * needed[1] / copied}
        rows.append(row)
        print(
            f"{batch:5} {channels:5} {size:4} {row['direct_ms']:9.2f} {row['ours_ms']:8.2f} "
            f"{row['times_as_fast']:7.1f} {row['floor_operations_ms']:7.2f} {row['floor_bytes_ms']:6.2f} "
            f"{row['direct_mib']:9.1f} {row['ours_mib']:8.1f} {row['memory_share']:6.2f}",
            flush=True,
        )
    found = units(options.rounds)
    print(
        f"ws, 121 x 256: loop {found['loop_ms']:.1f}, ours {found['ours_ms']:.2f}, ratio {found['times_as_fast']:.0f}"
    )
    if options.out:
        rate = {"operations_per_second": operations, "bytes_per_second": copied}
        write_json(options.out, {"device": str(DEVICE), **rate, "layers": rows, "ws": found})


if __name__ == "__main__":
    main()
