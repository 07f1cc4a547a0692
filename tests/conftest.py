"""What all tests share: where the real data is, if it is anywhere, and the real command line."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# a shell's background job ignores Ctrl-C, and its children inherit that; some tests send one
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
_REAL = Path(os.environ.get("TOPOTUNE_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session", autouse=True)
def data_cache() -> Iterator[Path]:
    """Prepared data in a folder of these tests' own."""
    with TemporaryDirectory(prefix="tt-cache") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPOTUNE_CACHE", name)
        yield Path(name)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets (TOPOTUNE_DATA); skips where there is none."""
    if not _REAL.is_dir():
        pytest.skip(f"no data sets in {_REAL}; name their folder in TOPOTUNE_DATA")
    return _REAL


@pytest.fixture(scope="session")
def ray_folder() -> Iterator[Path]:
    """A temporary folder of Ray's own for these tests; short, for socket paths have at most 107 characters."""
    with TemporaryDirectory(prefix="tt", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


class Cli:
    """The real command line, in a process of its own."""

    def __init__(self, ray_folder: Path, cwd: Path) -> None:
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("TOPOTUNE_", "MLFLOW_"))}
        self.env |= {"RAY_TMPDIR": str(ray_folder), "PYTHONPATH": str(ROOT)}
        self.env["TOPOTUNE_CACHE"] = os.environ["TOPOTUNE_CACHE"]  # the tests' own
        self.env.pop("RAY_ADDRESS", None)
        self.cwd = cwd

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "topotune", *map(str, words)]

    def __call__(self, *words: object, timeout: float = 280, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), cwd=self.cwd, env=self.env | env, capture_output=True, text=True, timeout=timeout
        )  # fmt: skip

    def start(self, *words: object, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words), cwd=self.cwd, env=self.env | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip


@pytest.fixture
def cli(ray_folder: Path, tmp_path: Path) -> Cli:
    """Runs ``topotune`` with the words given; the working folder is the test's own."""
    return Cli(ray_folder, tmp_path)
