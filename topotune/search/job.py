"""A study as a job of a Ray cluster: what is sent, following its log, coming back, stopping it."""

import asyncio
import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shlex import join
from typing import Any

from aiohttp import ClientError
from packaging.requirements import Requirement
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from topotune.errors import InputError, StageError
from topotune.search.token import check_token, token_hint

AGAIN = 5.0  # seconds between two attempts to reach a head that was there before
ANSWER = 30.0  # seconds that a head may take for one
PATIENCE = 600.0  # seconds for which it may be away
SILENCE = 100.0  # seconds without a line (a study writes one a minute) after which a connection counts as dead
STOPPING = 30.0  # seconds for a job that was told to stop
STARTING = 60.0  # seconds that a head may take from its first answer to its first job
_NO_AGENT = "No available agent"  # Ray's words for one that has just started, or whose agent has no port
_LOST = (OSError, ClientError, AuthenticationError, RuntimeError)  # requests' are OSErrors


@contextmanager
def upload(space: Path, within: str) -> Iterator[Path]:
    """A folder with all that a job needs of this machine: the package as it is here, and the study file, which may
    have any name, in a folder ``within``.

    Nothing else is sent: no data, no studies, no history, no environment.
    """
    with tempfile.TemporaryDirectory() as name:
        package = Path(__file__).resolve().parent.parent
        shutil.copytree(package, Path(name) / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        (Path(name) / within).mkdir()
        shutil.copy(space, Path(name) / within)
        yield Path(name)


def size_of(folder: Path) -> tuple[int, int]:
    """How many files, and how many bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def pinned(package: str = "topotune") -> list[str]:
    """The packages that a package needs, and those that they need, each at the version that is installed here: lines
    of a requirements.txt.

    Ray is left out: a job has that of its cluster.
    """
    found: dict[str, str] = {}
    waiting = [package]
    while waiting:
        for line in distribution(waiting.pop()).requires or ():
            one = Requirement(line)
            if one.name in found or one.name == "ray" or (one.marker and not one.marker.evaluate({"extra": ""})):
                continue
            try:
                found[one.name] = distribution(one.name).version
            except PackageNotFoundError:
                continue
            waiting.append(one.name)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def new_id(study: str) -> str:
    """What a job of a study is called."""
    return f"{study}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


class _Client(JobSubmissionClient):
    """Ray's, which waits for an answer for ever: a head that hangs takes connections."""

    def _do_request(self, *given: Any, **more: Any) -> Any:
        return super()._do_request(*given, **{"timeout": ANSWER} | more)


class Jobs:
    """The jobs of one cluster, by way of its dashboard."""

    def __init__(self, address: str) -> None:
        """Knock.

        Raises:
            InputError: it is no address of a dashboard, nobody answers, or a token is missing or wrong.
        """
        if not address.startswith(("http://", "https://")):
            raise InputError(f"--address {address!r}: must be that of the head's dashboard, http://HOST:8265")
        check_token()
        self.address = address
        for noisy in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env"):
            logging.getLogger(f"ray.{noisy}").setLevel(logging.ERROR)
        try:
            self._client = _Client(address)
        except AuthenticationError:
            raise InputError(f"--address {address!r}: {token_hint()}") from None
        except (OSError, RuntimeError, ValueError) as error:
            reason = _first_line(error)
            raise InputError(f"--address {address!r}: no Ray dashboard answers there ({reason})") from None

    def submit(self, words: Sequence[str], job: str, folder: Path, env: Mapping[str, str], pins: Sequence[str]) -> None:
        """Send a job off.

        Args:
            words: its command.
            job: its id, see ``new_id``.
            folder: becomes its working folder, on every node.
            env: its environment; the dashboard shows it.
            pins: packages that it wants, in an environment of its own; none takes what the nodes have.

        Raises:
            StageError: the cluster did not take it.
        """
        environment = {"working_dir": str(folder), "env_vars": dict(env)} | ({"pip": list(pins)} if pins else {})
        until = time.monotonic() + STARTING
        while True:
            try:
                self._client.submit_job(entrypoint=join(words), submission_id=job, runtime_env=environment)
                return
            except _LOST as error:
                said = _first_line(error)
                if _NO_AGENT not in said or time.monotonic() > until:
                    hint = ": see its dashboard_agent.log" if _NO_AGENT in said else ""
                    raise StageError(f"{self.address} did not take the job: {said}{hint}") from error
            time.sleep(AGAIN)

    def details(self, job: str) -> JobDetails:
        """What the cluster says of a job.

        Raises:
            InputError: it knows of none.
        """
        try:
            return self._client.get_job_info(job)
        except RuntimeError as error:
            if "404" not in str(error):
                raise
            raise InputError(
                f"job {job!r}: {self.address} knows of none; where its head was started anew, submit the study again: "
                "it goes on"
            ) from None

    def follow(self, job: str, tell: Callable[[str], None], say: Callable[[str], None]) -> int:
        """Tell a job's log, from its first line, until it has ended; its exit code. A lost connection is taken up
        again where it broke.

        Raises:
            InputError: the cluster knows of no such job.
            StageError: the head has not answered for ``PATIENCE`` seconds, or the job did not get to an exit
                code of its own.
        """
        told, answered = 0, time.monotonic()

        def hear(text: str, at: int) -> int:
            """Tell what is new of a piece of the log that stands at ``at``; where the next one stands."""
            nonlocal told, answered
            answered, end = time.monotonic(), at + len(text)
            if end > told:
                tell(text[max(told - at, 0) :])
                told = end
            return end

        async def tail() -> None:
            """The log as it grows. A machine that slept, or is cut off, is not told that its connection has ended."""
            at, log = 0, self._client.tail_job_logs(job)
            with suppress(StopAsyncIteration, TimeoutError):
                while True:
                    at = hear(await asyncio.wait_for(anext(log), SILENCE), at)

        lost = False
        while True:
            try:
                details = self.details(job)
                answered = time.monotonic()
                if details.status.is_terminal():
                    try:
                        hear(self._client.get_job_logs(job), 0)
                    except _LOST as error:  # the node that has it may be gone for good
                        say(f"the end of the job's log is not to be had ({_first_line(error)})")
                    return _exit_code(job, details)
                asyncio.run(tail())
                lost = False
            except _LOST as error:
                if time.monotonic() - answered > PATIENCE:
                    raise StageError(
                        f"{self.address} has not answered for {PATIENCE:.0f} s ({_first_line(error)}); the job "
                        "may well go on"
                    ) from error
                if not lost:
                    say(f"the connection to {self.address} is lost ({_first_line(error)}); trying again")
                lost = True
            time.sleep(AGAIN if lost else 1.0)

    def stop(self, job: str) -> bool:
        """Ask a job to end, as Ctrl-C would, and wait for it; whether it has."""
        try:
            self._client.stop_job(job)
            until = time.monotonic() + STOPPING
            while time.monotonic() < until:
                if self.details(job).status.is_terminal():
                    return True
                time.sleep(0.5)
        except _LOST as error:
            raise StageError(f"{self.address} did not stop job {job}: {_first_line(error)}") from error
        return False


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _exit_code(job: str, details: JobDetails) -> int:
    if details.driver_exit_code is not None:
        return int(details.driver_exit_code)
    if details.status.value == "STOPPED":
        return 143
    reason = " ".join((details.message or "no reason given").split())
    raise StageError(f"job {job} did not get to its end: {reason}; submit the study again: it goes on")
