"""cluster/local/head.sh for real: it listens on loopback only, asks for its token, and ends what it started."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster.support import CLUSTER
from tests.conftest import ROOT
from tests.integration.support import write_space
from tests.servers import free_port

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for socket paths have at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="tt", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


def test_a_head_stays_at_home(folder: Path, tmp_path: Path) -> None:
    port, dashboard = free_port(), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"PATH": f"{BIN}:{env['PATH']}", "HOME": str(tmp_path), "FOLDER": str(folder / "ray")}
    env |= {"PORT": str(port), "DASHBOARD": str(dashboard)}
    log = (tmp_path / "log").open("wb")
    head = subprocess.Popen([CLUSTER / "local" / "head.sh"], env=env, stdout=log, stderr=log, start_new_session=True)
    log.close()

    def jobs(**more: str) -> subprocess.CompletedProcess[str]:
        words = [BIN / "ray", "job", "list", "--address", f"http://127.0.0.1:{dashboard}"]
        return subprocess.run(words, env=env | more, capture_output=True, text=True, timeout=120)

    try:
        until = time.monotonic() + 240
        while (
            "Ray runtime started" not in (tmp_path / "log").read_text() or jobs(RAY_AUTH_MODE="token").returncode != 0
        ):
            assert head.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(1)
        token = tmp_path / ".ray" / "auth_token"
        assert token.stat().st_mode & 0o777 == 0o600
        refused = jobs(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
        assert refused.returncode != 0
        assert "token" in (refused.stdout + refused.stderr).lower()

        started = psutil.Process(head.pid).children(recursive=True)
        assert len(started) > 4
        places = [
            connection.laddr.ip
            for process in (psutil.Process(head.pid), *started)
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(places) > 4
        assert {place.removeprefix("::ffff:") for place in places} == {"127.0.0.1"}

        # a driver on the machine itself, though Ray takes this address for the outer one
        words = [sys.executable, "-m", "topotune", "search", write_space(tmp_path), "--studies", tmp_path / "studies"]
        more = {"RAY_AUTH_MODE": "token", "TOPOTUNE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*map(str, words), "--address", f"127.0.0.1:{port}", "--set", "budget.trials=1"], env=env | more,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (folder / "ray").stat().st_mode & 0o777 == 0o700, "Ray opens its own folder to everybody"
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(120)
    _gone, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []

    with (tmp_path / "again").open("wb") as log:  # the folder is there, and its own
        head = subprocess.Popen(
            [CLUSTER / "local" / "head.sh"], env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + 240
        while "Ray runtime started" not in (tmp_path / "again").read_text():
            assert head.poll() is None, (tmp_path / "again").read_text()
            assert time.monotonic() < until, (tmp_path / "again").read_text()
            time.sleep(1)
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(120)


def test_what_cannot_be_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for given, needle in (
            ({"PORT": str(port)}, f"port {port} of 127.0.0.1 is taken"),
            ({"PORT": str(port - 2)}, f"port {port} of 127.0.0.1 is taken"),
            ({"PORT": str(free_port()), "DASHBOARD": str(port)}, f"port {port} of 127.0.0.1 is taken"),
            ({"PORT": "10000"}, "must not be 9998 to 19999"),
            ({"PORT": "65534"}, "must be numbers from 1 to 65533, not '65534'"),
            ({"DASHBOARD": "web"}, "must be numbers from 1 to 65533, not 'web'"),
            ({"PORT": "7000", "DASHBOARD": "7002"}, "DASHBOARD=7002: must not be PORT=7000, nor one of the two"),
            ({"FOLDER": "here"}, "FOLDER=here: must be an absolute path of at most 34 characters"),
            ({"FOLDER": "/" + "a" * 34}, "must be an absolute path of at most 34 characters"),
            ({"PATH": "/usr/bin:/bin"}, "no ray on PATH: activate the environment"),
        ):
            _refused(tmp_path, needle, **({"DASHBOARD": str(free_port())} | given))


def test_a_folder_that_others_may_enter_is_named(folder: Path, tmp_path: Path) -> None:
    given = {"PORT": str(free_port()), "DASHBOARD": str(free_port())}
    (folder / "open").mkdir(mode=0o755)
    (folder / "closed").mkdir(mode=0o700)
    (folder / "link").symlink_to(folder / "closed")
    for name in ("open", "link"):
        _refused(tmp_path, f"FOLDER={folder / name}: must be your own", FOLDER=str(folder / name), **given)


def _refused(home: Path, needle: str, **given: str) -> None:
    """The script says why in one line, and starts nothing."""
    env = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home)} | given
    done = subprocess.run([CLUSTER / "local" / "head.sh"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert needle in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (home / ".ray").exists()
