"""The ranks of one trial: torch.distributed, or nothing at all when there is one rank."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes
from torch.nn.parallel import DistributedDataParallel

from topotune.errors import StageError

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
TIMEOUT = timedelta(minutes=10)  # for a collective whose peer hangs; a peer that dies ends it at once


def rank() -> int:
    """This process's rank; 0 when it trains alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many ranks train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(rank: int, world_size: int, address: str, device: torch.device) -> Iterator[None]:
    """Within it, ``world_size`` processes are one gang; ``address`` is ``host:port`` of rank 0.

    gloo between CPUs, nccl between GPUs.
    """
    host, _, port = address.rpartition(":")
    if host == LOOPBACK:  # gloo would listen on the interface that the host's name stands for
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback_interface())
    # rank 0 meets the others on the named interface only; by itself torch's store listens on all of them
    listening = socket.create_server((host, int(port))).detach() if rank == 0 else None
    store = dist.TCPStore(  # type: ignore[attr-defined]
        host, int(port), world_size, rank == 0, TIMEOUT, master_listen_fd=listening
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)  # nccl's collectives run on the current device
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def launch(workers: int, function: Callable[..., None], *arguments: Any) -> None:
    """Run ``function(rank, address, *arguments)`` in ``workers`` new processes of this machine and wait for all.

    The first process to fail ends the others, and its error is raised here.
    """
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    every = (errors, function, free_address(LOOPBACK), *arguments)
    try:
        ranks = start_processes(  # type: ignore[no-untyped-call]
            _guarded, args=every, nprocs=workers, join=False, daemon=True, start_method="spawn"
        )
        try:
            while not ranks.join():
                pass
        finally:  # of a SIGTERM, or a notebook's interrupt, the ranks know nothing
            for process in ranks.processes:
                process.terminate()
    except ProcessRaisedException as trace:
        if errors.empty():
            raise
        error = errors.get()
        if _lost_another(error):
            raise StageError(f"a rank lost another ({error}); the same command goes on from the last epoch") from None
        raise error from trace
    except ProcessExitedException as trace:
        error = None if errors.empty() else errors.get()
        if error is not None and not _lost_another(error):  # another rank says why
            raise error from trace
        raise StageError(f"a rank's process died ({trace}); the same command goes on from the last epoch") from None


def _lost_another(error: Exception) -> bool:
    """Whether a rank failed only because it noticed that another had died."""
    return isinstance(error, dist.DistError) or (type(error) is RuntimeError and "gloo" in str(error))


def _guarded(rank: int, errors: Any, function: Callable[..., None], *arguments: Any) -> None:
    try:
        function(rank, *arguments)
    except Exception as error:
        errors.put(error)  # torch itself passes on the text only
        raise
    sys.stdout.flush()
    sys.stderr.flush()
    # all is done and written: gloo's threads now and then abort a process that takes the long way out
    os._exit(0)


def free_address(host: str) -> str:
    """``host:port`` with a TCP port of this machine that was free a moment ago."""
    with socket.create_server((host, 0)) as probe:
        return f"{host}:{probe.getsockname()[1]}"


def _loopback_interface() -> str:
    return next(name for _index, name in socket.if_nameindex() if name.startswith("lo"))


def parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with its gradients averaged over the ranks; the model itself when there is one rank."""
    if world_size() == 1:
        return model
    devices = [device] if device.type == "cuda" else None
    # running statistics stay apart during an epoch and are averaged before evaluation
    return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True)


def unsynchronised(model: nn.Module) -> AbstractContextManager[None]:
    """Within it, gradients add up on each rank alone; the first backward pass after it exchanges their sum."""
    if isinstance(model, DistributedDataParallel):
        context: AbstractContextManager[None] = model.no_sync()
        return context
    return nullcontext()


def average_buffers(model: nn.Module) -> None:
    """Give every rank the mean of the ranks' running statistics, so that all evaluate the same model."""
    if world_size() == 1:
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            sum_over_ranks(buffer).div_(world_size())


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum in place over the ranks; what every rank then holds."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def any_rank(flag: bool) -> bool:
    """Whether ``flag`` is true on any rank; the same answer on all."""
    if world_size() == 1:
        return flag
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    return sum_over_ranks(torch.tensor(int(flag), device=device)).item() > 0


def from_first(make: Callable[[], T]) -> T:
    """What ``make`` returns on rank 0, on every rank; the others need not see the same files."""
    if world_size() == 1:
        return make()
    box: list[Any] = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box)
    value: T = box[0]
    return value


def from_every(value: T) -> list[T]:
    """Every rank's value, in the order of the ranks, on all of them."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values
