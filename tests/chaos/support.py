"""What the chaos tests share: commands whose processes are all known, and what a study held at one moment."""

import random
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import Cli
from tests.integration.support import alive, descendants, end, free_port, optuna_study, wait_for

TRAINING = r"ray::(ImplicitFunc|_Rank)|raylet/raylet|gcs_server"  # what could go on with a dead driver's trials

# the ray command, but without the server for Ray Client, which nobody uses here and whose end ends its node: at a port
# that another cluster has, or on a machine that is too busy for the 30 s that it waits
RAY = """
from ray.scripts import scripts
scripts.get_ray_client_dependency_error = lambda: "not here"
scripts.main()
"""


class Started:
    """Commands in the background, and all processes that they started."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self._commands: list[subprocess.Popen[str]] = []
        self._seen: dict[int, psutil.Process] = {}

    def __call__(self, *words: object) -> subprocess.Popen[str]:
        process = self.cli.start(*words)
        self._commands.append(process)
        return process

    def look(self, process: subprocess.Popen[str], pattern: str = "") -> list[psutil.Process]:
        self._seen |= {one.pid: one for one in descendants(process)}
        return descendants(process, pattern)

    def kill_driver(self, process: subprocess.Popen[str]) -> None:
        """SIGKILL for the driver alone; its cluster must end without it."""
        self.look(process)
        cluster = self.look(process, TRAINING)
        process.kill()
        process.communicate()
        wait_for(lambda: not alive(cluster), 60, "the end of the killed driver's cluster")

    def end_all(self) -> None:
        for process in self._commands:
            if process.poll() is None:
                self.look(process)
                process.kill()
                process.communicate()
        end(list(self._seen.values()))  # Ray's agents stay for minutes where their raylet was killed


@dataclass(frozen=True)
class Standing:
    """What a study held at one moment, by the number of the trial."""

    ended: dict[int, Any]  # as Optuna has them
    metrics: dict[int, bytes]  # each trial's metrics.csv


def standing(folder: Path) -> Standing:
    trials = [one for one in optuna_study(folder / "journal.log").trials if one.state.is_finished()]
    files = folder.glob("trials/*/metrics.csv")
    return Standing(
        {one.number: (one.state, one.value, one.params, one.intermediate_values, one.datetime_start) for one in trials},
        {int(path.parent.name): path.read_bytes() for path in files},
    )


class Nodes:
    """A Ray cluster on this machine: each node a ``ray start`` with an address of its own, which can be killed."""

    def __init__(self, env: dict[str, str], cpus: int, dashboard: int | None = None) -> None:
        """Start the head, with a dashboard where its port is given; ``env`` must say where the token is, and have
        ``RAY_TMPDIR``, a short path."""
        self._env, self._port, self._started = env, free_port(), 1
        self._host = "127.0.0.2"  # Ray takes 127.0.0.1 for the machine's outer address
        self.address = f"{self._host}:{self._port}"
        words = ["--head", "--port", str(self._port)]
        words += ["--include-dashboard", "false"] if dashboard is None else ["--dashboard-port", str(dashboard)]
        self._head = self._start(words, cpus)
        self._others: list[subprocess.Popen[bytes]] = []
        try:
            wait_for(self._answers, 180, "the head of a cluster", self._head)
        except BaseException:
            self.end()
            raise

    def add(self) -> None:
        """One more node, with one CPU."""
        self._others.append(self._start(["--address", self.address], 1))

    def kill_one(self, chance: random.Random) -> None:
        """SIGKILL for all processes of a node other than the head."""
        self._kill(self._others.pop(chance.randrange(len(self._others))))

    def kill_with(self, pattern: str) -> None:
        """SIGKILL for all processes of the one node, other than the head, that runs such a process."""
        (found,) = [node for node in self._others if descendants(node, pattern)]
        self._others.remove(found)
        self._kill(found)

    def end(self) -> None:
        """SIGKILL for everything that is left."""
        for node in (*self._others, self._head):
            if node.poll() is None:
                self._kill(node)

    def _start(self, words: list[str], cpus: int) -> "subprocess.Popen[bytes]":
        self._started += 1
        command = [sys.executable, "-c", RAY, "start", "--block", "--disable-usage-stats"]
        command += ["--node-ip-address", f"127.0.0.{self._started}", "--num-cpus", str(cpus), *words]
        # else they share one, where each unpacks a job's files anew under the feet of the others
        command += ["--temp-dir", f"{self._env['RAY_TMPDIR']}/{self._port}-{self._started}"]
        # other clusters may be at work here; and for ports that it is not told, a node waits 15 s and then aborts
        for name in ("metrics-export", "dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent"):
            command += [f"--{name}-port", str(free_port())]
        command += ["--min-worker-port", "0", "--max-worker-port", "0"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env=self._env, stdout=quiet, stderr=quiet, start_new_session=True)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self._host, self._port), timeout=1):
            return True
        return False

    def _kill(self, node: "subprocess.Popen[bytes]") -> None:
        everything = [*descendants(node), psutil.Process(node.pid)]
        end(everything)
        node.wait()
        wait_for(lambda: not alive(everything), 30, "the end of a node")
