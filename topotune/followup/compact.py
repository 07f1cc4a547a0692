"""A pruned checkpoint made physically smaller: what it saves, that it computes the same, and where it can go."""

import copy
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from topotune.data.batches import evaluation_batches
from topotune.data.splits import Split
from topotune.errors import InputError
from topotune.files import write_atomically, write_json
from topotune.followup.lineage import Child
from topotune.followup.masked import multiply_adds, zero
from topotune.followup.pruning import Cut, Subject
from topotune.models.compact import compact
from topotune.training import CONFIG, WEIGHTS
from topotune.training.checkpoint import Compacted, check_free, load_model, read_header, save_weights
from topotune.training.device import Precision
from topotune.training.loop import evaluate

RECORD = "compact.json"
BATCH = 64  # images at once, where time is taken
ROUNDS = 15  # of which the median counts


@dataclass(frozen=True)
class CompactJob:
    """A checkpoint, how it is pruned, the folder for the small one, and whether to prune coupled channels beside.

    origin: where the checkpoint came from, if that is elsewhere.
    """

    checkpoint: Path
    cut: Cut
    out: Path
    data: Path | None = None
    coupled: bool = False
    origin: str = ""


@dataclass(frozen=True)
class Cost:
    """What a network costs: multiply_adds for one image, milliseconds for 1 and for 64 images, file size in bytes."""

    network: str
    parameters: int
    multiply_adds: int
    bytes: int
    milliseconds_1: float
    milliseconds_64: float
    test_accuracy: float


def compact_checkpoint(job: CompactJob) -> dict[str, Any]:
    """Write the compact network of a pruned checkpoint, and ``compact.json`` beside it; what that holds.

    Raises:
        InputError: no checkpoint, one that is compact already, a folder that holds another or a trained network, data
            that are missing.
    """
    subject = Subject(job.checkpoint, job.data)
    if (job.out / WEIGHTS).exists() and "compact" not in read_header(job.out):
        raise InputError(f"--out {job.out}: holds a trained network; the compact one needs a folder of its own")
    check_free(job.out, subject.config)
    test, gone, header = subject.split("test"), subject.channels(job.cut), read_header(job.checkpoint)
    masked = copy.deepcopy(subject.model)
    zero({name: masked.get_submodule(name) for name in gone}, gone)
    small = compact(masked, gone, torch.zeros(1, *test.entry.shape))
    write_json(job.out / CONFIG, subject.config.to_dict())
    made = Compacted(gone, test.entry.shape)
    save_weights(job.out, small, subject.config, header["in_channels"], header["classes"], made)
    networks = {"whole": subject.model, "compact": small}
    if job.coupled:
        from topotune.followup.coupled import prune_coupled  # torch-pruning: seconds

        networks["coupled"] = prune_coupled(
            subject.model, list(gone), job.cut.proportion, torch.zeros(1, *test.entry.shape)
        )
    record = {"checkpoint": job.origin or str(job.checkpoint), "config_hash": subject.config.hash} | asdict(job.cut)
    record["largest_difference"] = largest_difference(masked, small, test, subject.precision)
    record["networks"] = [asdict(one) for one in costs(networks, test, subject.precision)]
    write_json(job.out / RECORD, record)
    return record


def log_compact(job: CompactJob, record: Mapping[str, Any], exported: Path | None, run: Child) -> None:
    """Tell MLflow of a compact network: what ``compact.json`` holds, and the checkpoint itself."""
    for one in record["networks"]:
        run.metrics(0, {f"{one['network']}_{name}": value for name, value in one.items() if name != "network"})
    run.metrics(0, {"largest_difference": record["largest_difference"]})
    for name in (CONFIG, WEIGHTS, RECORD):
        run.artifact(job.out / name, "checkpoint")
    if exported:
        run.artifact(exported, "exported")


@torch.no_grad()
def largest_difference(one: nn.Module, other: nn.Module, split: Split, precision: Precision) -> float:
    """Between the outputs of two networks over all images of a split, as a share of the largest output, in float32."""
    apart = largest = 0.0
    for batch in evaluation_batches(split, BATCH):
        images = precision.images(batch.images)
        expected = one(images)
        apart = max(apart, float((other(images) - expected).abs().max()))
        largest = max(largest, float(expected.abs().max()))
    return apart / max(largest, 1e-30)


def costs(networks: dict[str, nn.Module], split: Split, precision: Precision) -> list[Cost]:
    """What each network costs, timed one after the other in every round, so that what slows one slows all."""
    images = torch.zeros(BATCH, *split.entry.shape, device=precision.device)
    times = {many: _milliseconds(list(networks.values()), images[:many], precision) for many in (1, BATCH)}
    found = []
    for place, (name, network) in enumerate(networks.items()):
        accuracy = evaluate(network, evaluation_batches(split, BATCH), precision).accuracy
        size = sum(tensor.nbytes for tensor in network.state_dict().values())
        found.append(
            Cost(
                name, sum(one.numel() for one in network.parameters()), multiply_adds(network, images), size,
                times[1][place], times[BATCH][place], accuracy,
            )
        )  # fmt: skip
    return found


@torch.no_grad()
def _milliseconds(networks: Sequence[nn.Module], images: Tensor, precision: Precision) -> list[float]:
    found: list[list[float]] = [[] for _ in networks]
    laid = precision.images(images)
    for step in range(ROUNDS + 2):
        for own, network in zip(found, networks, strict=True):
            started = perf_counter()
            with precision.autocast():
                network.eval()(laid)
            if precision.device.type == "cuda":
                torch.cuda.synchronize()
            if step >= 2:  # the first ones warm up
                own.append(1000 * (perf_counter() - started))
    return [round(median(own), 3) for own in found]


def check_export(path: Path) -> None:
    """Whether a network can be written there.

    Raises:
        InputError: another ending than those of EXPORTS, or .onnx where its exporter is not installed.
    """
    if path.suffix not in EXPORTS:
        raise InputError(f"--export {path}: must be called {' or '.join('*' + suffix for suffix in EXPORTS)}")
    missing = [name for name in ("onnx", "onnxscript") if path.suffix == ".onnx" and find_spec(name) is None]
    if missing:
        raise InputError(
            f"--export {path}: .onnx needs what is not installed here: pip install {' '.join(missing)}; or give a "
            ".pt2 file"
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"--export {path}: there is no folder {path.parent}")


def export_checkpoint(checkpoint: Path, path: Path) -> None:
    """Write a compact network for other programs, for any number of images: .pt2 by torch.export, or .onnx.

    Raises:
        InputError: as ``check_export`` does.
    """
    check_export(path)
    shape = read_header(checkpoint)["compact"]["shape"]
    batch = torch.export.Dim("images", min=1)
    model, images = load_model(checkpoint), torch.zeros(2, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of what is old in torch itself
        program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},), strict=False)
        write_atomically(path, lambda temporary: EXPORTS[path.suffix](program, temporary))


def _pt2(program: Any, path: Path) -> None:
    content = io.BytesIO()  # torch wants a path that ends in .pt2
    torch.export.save(program, content)
    path.write_bytes(content.getbuffer())


def _onnx(program: Any, path: Path) -> None:
    made = torch.onnx.export(program, dynamo=True, verbose=False)  # else it talks on standard output
    assert made is not None
    made.save(path)


EXPORTS: dict[str, Callable[[Any, Path], None]] = {".pt2": _pt2, ".onnx": _onnx}
