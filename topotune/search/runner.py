"""The cluster: joining one or starting one here, a search on it, and follow-up jobs spread over it."""

import logging
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the driver, and the study goes on later
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000")  # the searcher holds back what there is no room for
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # progress is ours
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # not all that a trial tells is an epoch

import ray
from ray import tune
from ray._private import ray_constants
from ray.air._internal import usage
from ray.tune.logger import JsonLoggerCallback
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from topotune.errors import InputError, StageError
from topotune.search.adapter import Place, RestartCallback, StudyScheduler, StudySearcher
from topotune.search.space import StudyFile
from topotune.search.study import Study
from topotune.search.token import check_token, token_hint
from topotune.search.trial import Measure, check_shared, keep_to_own_gpus, trainable
from topotune.search.watch import Watcher

# Tune imports MLflow and others, which takes seconds, to count callbacks for the statistics that are off; while the
# tracker's thread imports it too, one of the two may find it half imported
usage.tag_callbacks = lambda callbacks: False

Job = TypeVar("Job")
Done = TypeVar("Done")

RECORDS = "ray"  # Tune's own records in a study's folder; they go when the search is over, for nobody reads them
GROWTH = 600.0  # seconds that a cluster of machines that come and go has to get room for a trial
RESTARTS = 3  # of a trial whose process died, since it last got through an epoch


@dataclass(frozen=True)
class Resources:
    """What a trial takes: one bundle a rank."""

    workers: int
    cpus: float
    gpus: float

    @property
    def bundle(self) -> dict[str, float]:
        """What one rank asks for."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})

    @property
    def bundles(self) -> list[dict[str, float]]:
        """What the gang asks for."""
        return [self.bundle] * self.workers

    def slots(self) -> int:
        """How many trials the cluster has room for, now."""
        there = ray.cluster_resources()
        fits = [int(_times(there.get(name, 0), amount) / self.workers) for name, amount in self.bundle.items()]
        return max(min(fits, default=1), 1)


@contextmanager
def cluster(address: str | None) -> Iterator[bool]:
    """Within it, this process is a Ray driver; whether of a cluster that was there before, whose machines come and go.

    Args:
        address: of a running cluster; None takes RAY_ADDRESS (a submitted job has it), else starts one here that
            listens on loopback and ends with this process.

    Raises:
        InputError: no cluster answers at that address, or the environment's token is none.
        StageError: one started here did not get ready in Ray's own 30 seconds.
    """
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    own = where == "local"
    check_token()
    if own:
        _stay_on_loopback()
    else:
        _knock(where)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a trial that fails is told of in one line
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(where, include_dashboard=False if own else None, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"no Ray cluster at {where!r}: {reason}; or {token_hint()}") from None
    except Exception as error:  # Ray has no class of its own for this
        reason = str(error).splitlines()[0]
        raise StageError(f"Ray did not start ({reason}); where the machine is busy, try again later") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would abort this process
    try:
        yield not own
    finally:
        ray.shutdown()


def _knock(where: str) -> None:
    """Where nobody listens, Ray itself waits for minutes and fills the terminal meanwhile."""
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # local, auto, or for Ray to judge
    host = host.strip("[]")
    if error := _refused(host, port):
        raise InputError(
            f"no Ray cluster at {where!r}: {error}; give the head's address (HOST:6379), or none to start one here"
        )
    # Ray takes loopback for the machine's outer address, where a head that keeps to loopback does not listen
    if host in ("127.0.0.1", "localhost") and _refused(ray.util.get_node_ip_address(), port):
        _stay_on_loopback()


def _refused(host: str, port: str) -> Exception | None:
    """Why nothing can be connected to there, if so."""
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        return error
    return None


def _times(there: float, amount: float) -> int:
    """How many times ``amount`` goes into what is there; 0.1 goes three times into 0.3."""
    return int(there / amount + 1e-6)


def _stay_on_loopback() -> None:
    """Ray's processes listen on all interfaces, unless the system is one where it supports no clusters: say so."""
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for the processes to come
    ray_constants.ENABLE_RAY_CLUSTER = False


def resources(file: StudyFile, say: Callable[[str], None] | None = None) -> Resources:
    """What the study's trials take on this cluster.

    Args:
        file: the study's.
        say: told once that a cluster whose machines come and go has no room for a trial now, and is given time; None
            if this one stays as it is.

    Raises:
        InputError: the cluster, or its largest node, is too small for one trial.
    """
    workers, gpus = int(file.constants.get("workers", 1)), file.option("budget", "gpus_per_worker")
    if gpus == "auto":
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else 0
    if workers > 1 and 0 < gpus < 1:
        raise InputError(
            f"gpus_per_worker = {gpus:g} with workers = {workers}: ranks that share a GPU cannot talk (nccl)"
        )
    wanted = Resources(workers, file.option("budget", "cpus_per_worker"), gpus)
    lack = _lack(wanted)
    if lack and say:
        say(f"{lack}; machines have {GROWTH / 60:.0f} minutes to join")
        until = time.monotonic() + GROWTH
        while (lack := _lack(wanted)) and time.monotonic() < until:
            time.sleep(1)
    if lack:
        raise InputError(f"{lack}; lower workers or what each takes ([budget] cpus_per_worker, gpus_per_worker)")
    return wanted


def _lack(wanted: Resources) -> str:
    """Why the cluster has no room for one trial, were it idle; empty where it has."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, amount in wanted.bundle.items():
        if amount and sum(_times(node.get(name, 0), amount) for node in nodes) < wanted.workers:
            there = sum(node.get(name, 0) for node in nodes)
            return (
                f"workers = {wanted.workers} with {amount:g} {name} each is more than the cluster has: "
                f"{there:g} {name} on {len(nodes)} node(s)"
            )
    return ""


def search(
    study: Study,
    data: Path | None,
    wanted: Resources,
    watchers: Sequence[Watcher],
    measure: Measure | None = None,
) -> None:
    """Run the study's trials until its budget is spent; ``measure`` takes those metrics of a finished trial that need
    work of their own.

    Raises:
        InputError: the data turned out to be missing or damaged where the trials ran.
        StageError: the cluster failed, or a disk is full; what was running is paused.
    """
    place = Place(data, wanted.gpus, wanted.workers * (wanted.gpus or wanted.cpus))
    searcher = StudySearcher(study, place, _every(2.0, wanted.slots), watchers)
    function = tune.with_parameters(trainable, measure=measure) if measure else trainable
    tuner = tune.Tuner(
        tune.with_resources(function, tune.PlacementGroupFactory(wanted.bundles, strategy="PACK")),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=StudyScheduler(searcher), num_samples=-1, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name=RECORDS,
            storage_path=str(study.folder.path),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            # Tune reads its own result.json at the end
            callbacks=[JsonLoggerCallback(), RestartCallback(searcher)],
        ),
    )
    try:
        tuner.fit()
    except (tune.TuneError, ray.exceptions.RayError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise StageError(f"search: Ray gave up ({reason}); the same command goes on") from error
    shutil.rmtree(study.folder.path / RECORDS, ignore_errors=True)
    searcher.raise_halt()


def spread(
    function: Callable[[Job], Done], jobs: Iterable[Job], wanted: Resources, study: Path, started: Callable[[], None]
) -> Iterator[tuple[Job, Done | Exception]]:
    """``function(job)`` for every job on the cluster; each job with its result, or its error, as it gets ready.

    Each job stands in the first bundle of a placement group of its own, so that it can gather a gang of ranks.
    A job whose process dies is run again; one on a node that does not see the folder ``study`` ends with an InputError.
    ``started`` is called as each one is handed to the cluster.
    """

    def run(job: Job) -> Done:
        keep_to_own_gpus()
        check_shared(study)
        return function(job)

    task = ray.remote(num_cpus=wanted.cpus, num_gpus=wanted.gpus, max_retries=RESTARTS)(run)
    waiting, running = list(jobs), dict[Any, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < wanted.slots():
                job, group = waiting.pop(0), placement_group(wanted.bundles, strategy="PACK")
                place = PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
                )
                running[task.options(scheduling_strategy=place).remote(job)] = (job, group)
                started()
            for future in ray.wait(list(running), num_returns=1, timeout=5)[0]:
                job, group = running.pop(future)
                remove_placement_group(group)
                yield job, _outcome(future)
    finally:
        for _job, group in running.values():
            remove_placement_group(group)


def _outcome(future: Any) -> Any:
    try:
        return ray.get(future)
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, InputError) else error
    except ray.exceptions.RayError as error:
        return error


def _every(seconds: float, look: Callable[[], int]) -> Callable[[], int]:
    """``look``, asked at most once in ``seconds``."""
    value, until = 0, 0.0

    def cached() -> int:
        nonlocal value, until
        if time.monotonic() >= until:
            value, until = look(), time.monotonic() + seconds
        return value

    return cached
