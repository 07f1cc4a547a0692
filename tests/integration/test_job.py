"""A study as a job of a running cluster, with token authentication: as on a cluster of many machines; by Ray's own
command, and by ours."""

import json
import os
import pty
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.integration.support import by_key, end, free_port, one_error, rows, tracked, write_space
from tests.servers import Wire
from topotune.provenance import git_commit

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
WORDS = ["budget.trials=6", "epochs=3", "confirm.seeds=1", "prune.proportions=[0.0, 0.5]", "topography=grid2d"]


@dataclass(frozen=True)
class Head:
    """A running head. ``env`` is that of a client that has the token, ``stranger`` that of one without."""

    gcs: str
    dashboard: str
    env: dict[str, str]
    stranger: dict[str, str]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    import psutil

    home = tmp_path_factory.mktemp("head")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TOPOTUNE_", "MLFLOW_", "RAY_"))}
    # jobs run what they find as python; the token comes from a file, as on a real cluster
    env |= {"PATH": f"{BIN}:{env['PATH']}", "HOME": str(home), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    (home / "token").write_text(secrets.token_hex(32))
    known = env | {"RAY_AUTH_TOKEN_PATH": str(home / "token")}
    port, dashboard = free_port(), free_port()
    folder = Path(f"/tmp/tt{os.getpid()}")  # short: socket paths have at most 107 characters
    command = [str(BIN / "ray"), "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--num-cpus", "2"]
    command += ["--port", str(port), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)]
    command += ["--temp-dir", str(folder), "--disable-usage-stats"]
    # else one for all heads of a machine, and the second one takes no jobs
    command += ["--dashboard-agent-listen-port", str(free_port())]
    log = (home / "head.log").open("w")
    process = subprocess.Popen(command, env=known, cwd=home, stdout=log, stderr=log, start_new_session=True)
    try:
        found = Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", known, env)
        jobs = [str(BIN / "ray"), "job", "list", "--address", found.dashboard]
        until = time.monotonic() + 120
        while subprocess.run(jobs, env=known, capture_output=True, timeout=60).returncode != 0:
            assert process.poll() is None, (home / "head.log").read_text()
            assert time.monotonic() < until, (home / "head.log").read_text()
            time.sleep(1)
        yield found
    finally:
        started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(60)
        finally:
            end(started)
            log.close()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's files, without its history."""
    copy = tmp_path_factory.mktemp("job") / "topotune"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


def submit(head: Head, checkout: Path, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "ray"), "job", "submit", "--address", head.dashboard, "--working-dir", ".", "--", *words]
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=240)


def test_a_submitted_study_is_a_whole_study(head: Head, checkout: Path, tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    settings = [word for one in WORDS for word in ("--set", one)]
    words = ["python", "-m", "topotune", "run", "search_spaces/digits.toml", *settings, "--studies", str(studies)]
    done = submit(head, checkout, *words, env=head.env)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = studies / "digits"
    assert len(rows(folder / "trials.csv")) == 6
    assert [row["topography"] for row in rows(folder / "confirm.csv")] == ["none", "grid2d"]
    assert len(rows(folder / "pruning.csv")) == 4
    assert (folder / "report.html").is_file()
    assert (folder / "best" / "model.safetensors").is_file()
    # the code was that of the working folder, which is no checkout, and not the one that these tests stand in
    assert json.loads((folder / "summary.json").read_text())["provenance"]["git_commit"] is None
    assert len(by_key(tracked(f"sqlite:///{studies / 'mlflow.db'}", "digits")[1])) == 1 + 6 + 2 + 2
    assert f"report:  {folder / 'report.html'}" in done.stdout


def test_without_the_token_nothing_is_run(head: Head, checkout: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    refused = submit(head, checkout, "touch", str(mark), env=head.stranger | {"HOME": str(tmp_path)})
    assert refused.returncode != 0
    assert "token" in (refused.stdout + refused.stderr).lower()
    wrong = submit(head, checkout, "touch", str(mark), env=head.stranger | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
    assert wrong.returncode != 0
    assert not mark.exists()


@pytest.fixture
def client(head: Head, cli: Cli) -> Cli:
    """Our command line, with the token."""
    cli.env = {name: value for name, value in cli.env.items() if not name.startswith("RAY_")}
    cli.env |= {name: head.env[name] for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
    return cli


def test_submit_sends_a_study_off_and_follows_it_through_a_lost_connection(
    head: Head, client: Cli, tmp_path: Path
) -> None:
    space, studies = write_space(tmp_path), tmp_path / "shared"
    settings = [word for one in ("budget.trials=3", "epochs=3", "confirm.seeds=1") for word in ("--set", one)]
    with Wire(int(head.dashboard.rpartition(":")[2])) as wire:
        there = ["--address", f"http://127.0.0.1:{wire.port}", "--studies", studies]
        process = client.start("submit", space, *there, *settings)
        try:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(2)]
            wire.cut()
            out, err = the_rest(process)
        finally:
            end_process(process)
    assert process.returncode == 0, out + err
    lines += out.splitlines(keepends=True)
    told = [line for line in lines if " trial 0 none seed=0: complete" in line]
    assert len(told) == 1  # nothing twice, nothing left out
    assert f"report:  {studies / 'small' / 'report.html'}\n" in lines
    assert sum(line.startswith("Running entrypoint") for line in lines) == 1
    assert f"the connection to http://127.0.0.1:{wire.port} is lost (" in err
    sent = re.search(r"sent \d+ files, ([0-9.]+) MiB; job small-", err)
    assert sent
    assert 0.1 < float(sent[1]) < 3
    assert len(rows(studies / "small" / "trials.csv")) == 3
    provenance = json.loads((studies / "small" / "summary.json").read_text())["provenance"]
    assert provenance["git_commit"] == git_commit()


COUNT = (
    "import time\nfor one in range(20):\n    print('line', one, flush=True)\n    time.sleep(0.5)\nraise SystemExit(7)"
)
IMPATIENT = "from topotune import cli; from topotune.search import job; job.SILENCE = 3.0; raise SystemExit(cli.main())"


def test_a_connection_that_is_dead_without_a_word_is_taken_up_again(head: Head, client: Cli, tmp_path: Path) -> None:
    script = tmp_path / "count.py"
    script.write_text(COUNT)
    words = ["job", "submit", "--no-wait", "--submission-id", "count", "--address", head.dashboard]
    words += ["--", "python", str(script)]
    subprocess.run([BIN / "ray", *words], env=head.env, check=True, capture_output=True, timeout=60)
    with Wire(int(head.dashboard.rpartition(":")[2])) as wire:
        command = [sys.executable, "-c", IMPATIENT, "submit", "--follow", "count"]
        process = subprocess.Popen(
            [*command, "--address", f"http://127.0.0.1:{wire.port}"], cwd=client.cwd, env=client.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdout
            lines = list(iter(process.stdout.readline, "line 3\n"))
            wire.freeze()
            out, err = the_rest(process)
        finally:
            end_process(process)
    assert process.returncode == 7, out + err
    told = [line for line in [*lines, "line 3", *out.splitlines()] if line.startswith("line")]
    assert [line.strip() for line in told] == [f"line {one}" for one in range(20)]  # nothing twice, nothing left out


def test_a_head_that_takes_connections_and_never_answers_is_given_up(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        words = ["submit", "--follow", "x", "--address", f"http://127.0.0.1:{silent.getsockname()[1]}"]
        impatient = IMPATIENT.replace("job.SILENCE = 3.0", "job.ANSWER = 2.0")
        done = subprocess.run(
            [sys.executable, "-c", impatient, *words], cwd=cli.cwd, env=cli.env, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
    one_error(done, "no Ray dashboard answers there", "Read timed out")


def test_ctrl_c_before_a_job_is_taken_does_not_say_that_it_goes_on(cli: Cli, tmp_path: Path) -> None:
    """By a head that says who it is, and then hangs."""
    asked, over = threading.Event(), threading.Event()

    class Hanging(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/api/version":
                asked.set()
                over.wait(60)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"version": "4", "ray_version": "2.60.0", "ray_commit": "none", "session_name": "none"}')

        def log_message(self, *_given: object) -> None:
            """Not told of."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sender = cli.start("submit", write_space(tmp_path), "--address", f"http://127.0.0.1:{server.server_port}")
    try:
        assert asked.wait(60)
        sender.send_signal(signal.SIGINT)
        said = sender.communicate(timeout=60)[1]
    finally:
        end_process(sender)
        over.set()
        server.shutdown()
        server.server_close()
    assert sender.returncode == 130
    assert "may not have been taken; if it was, it goes on. See:\n  topotune submit --address" in said
    assert "Traceback" not in said


def test_ctrl_c_leaves_the_job_or_stops_it(head: Head, client: Cli, tmp_path: Path) -> None:
    there = ["--address", head.dashboard]
    space = write_space(tmp_path)
    follower = client.start("submit", space, *there, "--studies", tmp_path / "shared", "--set", "epochs=5000")
    said = interrupted(follower, "Running entrypoint")
    (back,) = re.findall(r"goes on. Come back with:\n  topotune (.*)", said)
    assert follower.returncode == 130
    # somebody at a terminal comes back, and stops it
    leader, terminal = pty.openpty()
    command = client.command(*shlex.split(back))
    asked = subprocess.Popen(command, cwd=client.cwd, env=client.env, stdin=terminal, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    os.write(leader, b"y\n")
    said = interrupted(asked, "Running entrypoint")
    os.close(leader)
    os.close(terminal)
    assert asked.returncode == 130
    assert "too? What it has finished is kept. [y/N]" in said
    assert said.rstrip().endswith("stopped")
    assert client(*shlex.split(back)).returncode != 0  # its own exit code, at once


def the_rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process has still to say, of which a line was read before; ``communicate`` loses what came with it."""
    assert process.stdout
    assert process.stderr
    with process:
        return process.stdout.read(), process.stderr.read()


def end_process(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def interrupted(process: subprocess.Popen[str], line: str) -> str:
    """What a process writes to standard error, after Ctrl-C at a line of its output."""
    try:
        assert process.stdout
        assert any(one.startswith(line) for one in process.stdout)
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=60)[1]
    finally:
        end_process(process)


def test_what_submit_refuses(head: Head, client: Cli, tmp_path: Path) -> None:
    space, there = write_space(tmp_path), ["--address", head.dashboard]
    one_error(client("submit", space, *there, "--set", "topography=grid4d"), "[scientific]", "'grid4d'")
    one_error(client("submit", space, *there, "--studies", "here"), "--studies here: must be an absolute path")
    one_error(client("submit", space, *there, "--studies", "s3://b/x"), "--studies s3:/b/x: must be a folder")
    one_error(client("submit", space), "--address", "http://HOST:8265")
    one_error(client("submit", space, "--address", head.gcs), head.gcs, "http://HOST:8265")
    one_error(client("submit", space, "--address", f"http://127.0.0.1:{free_port()}"), "no Ray dashboard answers")
    known = {"RAY_AUTH_TOKEN": Path(head.env["RAY_AUTH_TOKEN_PATH"]).read_text(), "RAY_AUTH_TOKEN_PATH": ""}
    for token in ({}, known):
        one_error(client("submit", *there, "--follow", "nix", **token), "job 'nix'", "knows of none")
    one_error(client("submit", *there), "SPACE", "--follow JOB")
    stranger = {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_TOKEN_PATH": ""}
    one_error(client("submit", space, *there, **stranger), "does not take the token of RAY_AUTH_TOKEN: put the head's")
    no_mode = {"RAY_AUTH_MODE": "disabled"}
    one_error(client("submit", space, *there, **no_mode), "asks for its token", "RAY_AUTH_MODE=token")


def test_a_driver_outside_joins_with_the_token_only(head: Head, cli: Cli, tmp_path: Path) -> None:
    space = write_space(tmp_path)
    words = ["search", space, "--address", head.gcs, "--set", "budget.trials=2", "--set", "epochs=1"]
    cli.env = {name: value for name, value in cli.env.items() if not name.startswith("RAY_")}
    cli.env["RAY_AUTH_MODE"] = "token"
    refused = cli(*words, RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_NUM_REDIS_GET_RETRIES="2")  # not for 20 s
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    last = refused.stderr.splitlines()[-1]  # after Ray's own lines
    assert last.startswith(f"topotune: error: no Ray cluster at '{head.gcs}'")
    assert "the head does not take the token of RAY_AUTH_TOKEN: put the head's into RAY_AUTH_TOKEN" in last
    assert not (tmp_path / "studies" / "small").exists()
    joined = cli(*words, RAY_AUTH_TOKEN=Path(head.env["RAY_AUTH_TOKEN_PATH"]).read_text())
    assert joined.returncode == 0, joined.stderr
    assert len(rows(tmp_path / "studies" / "small" / "trials.csv")) == 2
