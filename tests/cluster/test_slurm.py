"""cluster/slurm/study.sbatch on a real Slurm: requeued, cancelled and submitted again, its study goes on."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cluster.slurm import Slurm, missing_slurm, wait
from tests.cluster.support import CLUSTER, ROOT
from tests.integration.support import rows, write_space

pytestmark = pytest.mark.slow

SCRIPT = CLUSTER / "slurm" / "study.sbatch"
HERE = ("--nodes=1", "--gpus-per-node=0", "--cpus-per-task=2", "--mem=0")  # of this machine
LONG = 420  # seconds for a head, a driver and an epoch beside other work


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    if absent := missing_slurm():
        pytest.skip(f"no Slurm here (Debian: slurm-wlm, munge): {absent}")
    one = Slurm()
    try:
        one.start()
        yield one
    finally:
        one.stop()


def processes_of(job: str) -> list[str]:
    """Ray's, by the folder that the job's have on their command lines."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(f"/tmp/tt-{job}" in word for word in words):
            found.append(" ".join(words))
    return found


@pytest.mark.timeout(1800)
def test_a_study_goes_on_after_requeue_and_cancellation(slurm: Slurm, tmp_path: Path) -> None:
    studies, log = tmp_path / "studies", tmp_path / "log"
    space = write_space(tmp_path)
    slurm.env |= {"PYTHONPATH": str(ROOT), "TOPOTUNE_CACHE": str(tmp_path / "cache")}

    def submit() -> str:
        words = (str(space), "--studies", str(studies), "--set", "epochs=40", "--set", "budget.trials=3")
        words += ("--set", "study.pruner=none", "--set", "confirm.seeds=1", "--set", "prune.proportions=[0.0]")
        answer = slurm("sbatch", *HERE, f"--output={log}", str(SCRIPT), *words)
        assert answer.startswith("Submitted batch job "), answer
        return answer.split()[-1]

    def epochs() -> list[int]:
        """Of every trial, how many are written down."""
        return [len(rows(path)) for path in sorted((studies / "small").glob("trials/*/metrics.csv"))]

    job = submit()
    wait(lambda: sum(epochs()) >= 3, LONG, f"epochs; {log}")
    assert processes_of(job)
    slurm("scancel", "--batch", "--signal=USR1", job)  # as Slurm does two minutes before the job's time is up
    wait(lambda: slurm.state(job) == "PENDING", LONG, "the job to be requeued")
    assert "stopped; nothing that was finished is lost" in log.read_text(encoding="utf-8")
    assert processes_of(job) == []
    assert list(Path("/tmp").glob(f"tt-{job}*")) == []

    before = sum(epochs())
    wait(lambda: sum(epochs()) > before, LONG, f"more epochs; {log}")
    slurm("scancel", job)
    wait(lambda: slurm.state(job) == "CANCELLED", LONG, "the job to end")
    # what the log says is chance: scancel ends Ray's own processes too, and the study may see them go before its signal
    assert processes_of(job) == []
    assert list(Path("/tmp").glob(f"tt-{job}*")) == []

    before = sum(epochs())
    job = submit()
    wait(lambda: slurm.state(job) in ("COMPLETED", "FAILED"), LONG, f"the study; {log}")
    assert slurm.state(job) == "COMPLETED", log.read_text(encoding="utf-8")
    assert 0 < before < 120
    assert epochs() == [40, 40, 40]  # none lost, none twice
    for path in (studies / "small").glob("trials/*/metrics.csv"):
        assert [row["epoch"] for row in rows(path)] == [str(number) for number in range(1, 41)]
    assert (studies / "small" / "report.html").is_file()
    assert processes_of(job) == []


def test_it_says_what_it_needs(slurm: Slurm, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = slurm("sbatch", *HERE, f"--output={log}", str(SCRIPT)).split()[-1]
    wait(lambda: slurm.state(job) == "FAILED", LONG, "the job to fail")
    assert "which study? sbatch cluster/slurm/study.sbatch SPACE" in log.read_text(encoding="utf-8")
