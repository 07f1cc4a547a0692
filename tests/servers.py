"""Real servers for tests and benchmarks, on loopback, each in a process group of its own and on a free port."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class MlflowServer:
    """MLflow's own server on a database; it can be killed and started again."""

    def __init__(self, folder: Path, database: str, workers: int = 1) -> None:
        self.folder, self.database, self.port, self.workers = folder, database, free_port(), workers
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", str(self.workers)]
        words += ["--artifacts-destination", str(self.folder / "server")]
        own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_BACKEND_STORE_URI": self.database}
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], stdout=log, stderr=log, env=os.environ | own,
            start_new_session=True,
        )  # fmt: skip
        log.close()
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.1)
        raise TimeoutError((self.folder / "server.log").read_text())

    def stop(self) -> None:
        """Kill it, in the middle of whatever it is doing."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def missing_postgres() -> str:
    """What PostgreSQL needs here and is not there; empty where nothing is missing."""
    absent = [name for name in ("initdb", "pg_ctl") if not shutil.which(name)]
    try:
        import psycopg2  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        absent.append("psycopg2")
    return ", ".join(absent)


class Postgres:
    """A PostgreSQL cluster of its own; it refuses root, who hands it over to the user ``postgres`` or ``nobody``."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tt-pg", dir="/tmp"))
        self.port = free_port()
        self.user = "topotune"
        self._as: dict[str, object] = {}
        if os.geteuid() == 0:
            known = {one.pw_name: one for one in pwd.getpwall()}
            owner = known.get("postgres") or known["nobody"]
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://{self.user}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        if not (self.folder / "data").exists():
            # only this machine's users reach it: loopback, and no other socket
            self._run("initdb", "-D", "data", "-U", self.user, "-A", "trust", "--no-sync")
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, *words: str) -> None:
        done = subprocess.run(
            words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, timeout=120, **self._as,  # type: ignore[call-overload]
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


class Wire:
    """A connection to a port of this machine that can be cut: what stands between two machines."""

    def __init__(self, port: int) -> None:
        self._to, self._open, self._frozen = port, list[socket.socket](), set[socket.socket]()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> "Wire":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """End all connections; new ones are let through."""
        while self._open:
            end = self._open.pop()
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def freeze(self) -> None:
        """Let nothing more through the connections of now, without ending them; new ones are let through."""
        self._frozen |= set(self._open)

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near = self._listening.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(one, other), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                if target not in self._frozen:
                    target.sendall(some)
            if target not in self._frozen:
                target.shutdown(socket.SHUT_WR)
