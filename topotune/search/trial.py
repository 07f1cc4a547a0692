"""One trial on the cluster: a function in one actor, or a gang of ranks in one placement group.

Rank 0 runs in the trial's own process; ranks 1 … n-1 are actors in the other bundles of its placement group.
"""

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from topotune.config import TrialConfig
from topotune.errors import DiskFull, InputError
from topotune.files import is_full, write_text
from topotune.folder import StudyFolder
from topotune.search.system import Gauge

# torch and ray.tune are imported where they are used: a gang's processes start, and import them, side by side
if TYPE_CHECKING:
    from topotune.training.records import EpochMetrics, Report, TrialResult

Measure = Callable[[Sequence[str], Path, "Path | None"], dict[str, float]]  # of a checkpoint, names -> values

SEED = "seed_step"  # in what a trial tells: which of its seeds it is about, counted from 0
MEASURED = "measured"  # in what a trial tells: the metrics that took work of their own
HALT = "halt"  # in what a trial tells: what would befall every other one too
ERROR = "error.txt"  # in a trial's folder: what its process raised
GRACE = 5.0  # seconds that rank 0 has to notice a dead rank by itself
SETTLED = 5.0  # seconds that a network's file system may take to show what another node has written
LEAVE = 1.5  # seconds that the others have to end after rank 0; Tune waits 2 s for all of it


def check_shared(study: Path) -> None:
    """Whether this node sees a study's folder as its driver does, who has written study.toml there.

    Raises:
        InputError: it does not.
    """
    until = time.monotonic() + SETTLED
    while not StudyFolder(study).study_file.exists():
        if time.monotonic() > until:
            raise InputError(
                f"{study} of the driver is not there on node {ray.util.get_node_ip_address()}: --studies must be a "
                "folder that all nodes see at the same path"
            )
        time.sleep(0.5)


def trainable(job: dict[str, Any], measure: Measure | None = None) -> None:
    """Ray Tune's function: trains ``job["config"]`` on one seed after the other and tells of each epoch, of each seed,
    and of what ``measure`` found; a hopeless trial tells why, and one that finds a disk full, or the
    study's folder missing on its node, tells where.

    job: study (its folder), config (a TrialConfig as a dict), outs (a folder a seed), data (paths), measures (names of
    metrics), gpus (a rank's share), suggested_at (Unix time), system_metrics (whether each epoch tells what this
    process took of its machine).
    """
    keep_to_own_gpus()
    config, outs = TrialConfig.from_dict(job["config"]), [Path(one) for one in job["outs"]]
    data = Path(job["data"]) if job["data"] else None
    if config.workers > 1:
        _rank_actors(_own_group(config))
    from ray import tune

    from topotune.training.records import TrainingDiverged

    try:
        check_shared(Path(job["study"]))
    except InputError as error:
        tune.report({HALT: str(error), "input_error": True})
        return
    _keep_to_own_gpu_memory(job["gpus"])
    gauge, measured = Gauge() if job["system_metrics"] else None, []
    try:
        (outs[0] / ERROR).unlink(missing_ok=True)
        for seed, out in enumerate(outs):
            own = config.replace(seed=config.seed + seed)
            result = train_on_cluster(own, out, data, _teller(seed, job["suggested_at"], gauge))
            if measure and job["measures"]:
                measured.append(measure(job["measures"], out, data))
            if len(outs) > 1:
                tune.report({SEED: seed, "validation_accuracy": result.validation_accuracy})
        if measured:
            means = {name: sum(one[name] for one in measured) / len(measured) for name in measured[0]}
            tune.report({MEASURED: means})
    except TrainingDiverged as error:
        tune.report({"failed": str(error)})
    except InputError as error:
        tune.report({"failed": str(error), "input_error": True})
    except Exception as error:
        if is_full(error) or isinstance(error, DiskFull):
            where = ray.util.get_node_ip_address()
            tune.report({HALT: f"{error}, on {where}; make room, and the same command goes on"})
            return
        write_text(outs[0] / ERROR, traceback.format_exc())  # Tune tries again; when it gives up, this says why
        raise
    finally:
        _forget_gpu_memory()


def _teller(seed: int, suggested_at: float, gauge: Gauge | None) -> "Report":
    """Tells Tune of each epoch of one seed."""
    from ray import tune

    def report(metrics: "EpochMetrics") -> None:
        row = {name: getattr(metrics, name) for name in metrics.__dataclass_fields__}
        # the time from the suggestion to the first step; only the first epoch's means anything
        row |= {"start_seconds": time.time() - metrics.seconds - suggested_at, SEED: seed}
        tune.report(row | (gauge.read() if gauge else {}))

    return report


def train_on_cluster(
    config: TrialConfig, out: Path, data: Path | None, report: "Report | None" = None
) -> "TrialResult":
    """``fit`` from within a Ray task or actor that stands in the first bundle of its placement group."""
    from topotune.training.device import pick_device
    from topotune.training.distributed import free_address, process_group
    from topotune.training.fit import fit

    if config.workers == 1:
        return fit(config, out, data, report=report)
    address = free_address(ray.util.get_node_ip_address())
    with (
        _other_ranks(config, address, out, data),
        process_group(0, config.workers, address, pick_device(config.device)),
    ):
        return fit(config, out, data, report=report)


@ray.remote(max_restarts=0)
class _Rank:
    """One further rank of a gang."""

    def __init__(self) -> None:
        from topotune.training import fit  # noqa: F401 (while the other ranks do the same)

    def fit(self, rank: int, address: str, config: dict[str, Any], out: str, data: str | None) -> None:
        from topotune.training.device import pick_device
        from topotune.training.distributed import process_group
        from topotune.training.fit import fit
        from topotune.training.records import TrialStopped

        keep_to_own_gpus()
        own = TrialConfig.from_dict(config)
        try:
            # rank 0 says why; and what an exception holds must be gone before the group is
            with process_group(rank, own.workers, address, pick_device(own.device, rank)), suppress(TrialStopped):
                fit(own, Path(out), Path(data) if data else None)
        finally:
            _forget_gpu_memory()


@contextmanager
def _other_ranks(config: TrialConfig, address: str, out: Path, data: Path | None) -> Iterator[None]:
    """Ranks 1 … n-1 at work; when one dies this process does not wait for it in a collective."""
    group = _own_group(config)
    actors = _rank_actors(group)
    settings, data_path = config.to_dict(), str(data) if data else None
    futures = [
        actor.fit.remote(rank, address, settings, str(out), data_path) for rank, actor in enumerate(actors, start=1)
    ]
    over = threading.Event()
    threading.Thread(target=_watch, args=(futures, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        # a rank that died or hangs is not used again
        _ready, hanging = ray.wait(futures, num_returns=len(futures), timeout=LEAVE)
        if hanging or any(isinstance(_error(future), ray.exceptions.RayActorError) for future in futures):
            for actor in _gangs.pop(group.id):
                ray.kill(actor)


def _own_group(config: TrialConfig) -> PlacementGroup:
    group = ray.util.get_current_placement_group()
    assert group is not None
    assert group.bundle_count == config.workers
    return group


_gangs: dict[Any, list[Any]] = {}  # placement group -> its rank actors, kept for the next trial of this process


def _rank_actors(group: PlacementGroup) -> list[Any]:
    """The actors in all bundles of the group but the first; starting a process and importing torch takes seconds."""
    if group.id not in _gangs:
        _gangs.clear()  # the handles of another group's actors, which end with them
        _gangs[group.id] = [
            _Rank.options(  # type: ignore[attr-defined]
                num_cpus=bundle.get("CPU", 0),
                num_gpus=bundle.get("GPU", 0),
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
            ).remote()
            for rank, bundle in enumerate(group.bundle_specs)
            if rank > 0
        ]
    return _gangs[group.id]


def _error(future: Any) -> Exception | None:
    """How a finished call ended: None, or its error."""
    try:
        ray.get(future)
    except Exception as error:  # noqa: BLE001 (whatever the rank raised)
        return error
    return None


def _watch(futures: list[Any], over: threading.Event) -> None:
    """End this process when a rank has failed and rank 0 still waits for it: Tune restarts the trial then."""
    pending = futures
    while pending and not over.is_set():
        ready, pending = ray.wait(pending, num_returns=1, timeout=0.2)
        for future in ready:
            if (error := _error(future)) and not over.wait(GRACE):
                print(f"a rank failed and rank 0 did not notice within {GRACE:g} s: {error}", flush=True)
                os._exit(1)


def keep_to_own_gpus() -> None:
    """A task that asked for no GPU sees none: Ray hides the others' GPUs only from those that asked for one."""
    if not ray.get_gpu_ids():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _keep_to_own_gpu_memory(share: float) -> None:
    """A trial that has a part of a GPU gets that part of its memory: it runs out, and not its neighbour."""
    import torch

    if 0 < share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(share)


def _forget_gpu_memory() -> None:
    """A reused actor starts its next trial with an empty GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
