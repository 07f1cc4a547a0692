"""Slurm of one machine for a test: munged, slurmctld and slurmd as processes of its own, on ports of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.servers import free_port

_CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=120
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""  # a requeued job waits for cred_expire, which is 120 s else


def missing_slurm() -> str:
    """What Slurm needs here and is not there; empty where nothing is missing."""
    return ", ".join(name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name))


class Slurm:
    """Its commands are run with ``env``, which leads them to it; ``stop`` ends it, with all of its jobs."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tt-slurm", dir="/tmp"))
        self.folder.chmod(0o755)  # munge wants others to be able to reach its socket
        self.env = os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "TOPOTUNE_VENV": sys.prefix}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        host, user = socket.gethostname().partition(".")[0], subprocess.check_output(["id", "-un"], text=True).strip()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        (self.folder / "state").mkdir()
        (self.folder / "spool").mkdir()
        config = _CONFIG.format(
            host=host, user=user, folder=self.folder, controller=free_port(), daemon=free_port()
        )  # fmt: skip
        (self.folder / "slurm.conf").write_text(config, encoding="utf-8")
        own = {name: self.folder / f"munge.{name}" for name in ("sock", "pid", "log", "seed")}
        self._run(
            "munged", "--foreground", f"--key-file={key}", f"--socket={own['sock']}", f"--pid-file={own['pid']}",
            f"--log-file={own['log']}", f"--seed-file={own['seed']}",
        )  # fmt: skip
        wait(own["sock"].exists, 60, "munge")
        self._run("slurmctld", "-D")
        self._run("slurmd", "-D")
        wait(lambda: "idle" in self("sinfo", "--noheader", "--format=%T"), 60, "slurmd")

    def _run(self, *words: str) -> None:
        log = (self.folder / f"{words[0]}.out").open("wb")
        self._processes.append(subprocess.Popen(words, env=self.env, stdout=log, stderr=log, start_new_session=True))
        log.close()

    def __call__(self, *words: str) -> str:
        """What one of its commands prints."""
        done = subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=120)
        return done.stdout if done.returncode == 0 else f"{words[0]}: {done.stderr}"

    def state(self, job: str) -> str:
        return self("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()

    def stop(self) -> None:
        if self._processes:
            self("scancel", "--partition=all")
            wait(lambda: not self("squeue", "--noheader"), 180, "its jobs to end")
        for process in reversed(self._processes):
            process.terminate()
            process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


def wait(until: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.5)
