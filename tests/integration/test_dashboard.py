"""optuna-dashboard on a study's journal, as a user starts it; skips where it is not installed."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import SPACE, free_port, wait_for, write_space
from topotune.files import write_csv
from topotune.folder import StudyFolder
from topotune.search.study import Study
from topotune.search.study_file import load_study

pytestmark = pytest.mark.slow


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def _answer(url: str) -> Any:
    try:
        return _get(url)
    except OSError:
        return None  # not yet


def test_the_dashboard_reads_a_study(tmp_path: Path) -> None:
    where = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = shutil.which("optuna-dashboard", path=where)
    if not command:
        pytest.skip("optuna-dashboard is not installed")
    study = Study(load_study(write_space(tmp_path, SPACE)), StudyFolder(tmp_path / "small"))
    asked = study.ask()
    assert asked is not None
    row = {"epoch": 1, "validation_accuracy": 0.5, "seconds": 0.25}
    write_csv(study.folder.trial(asked.number) / "metrics.csv", list(row), [row])
    study.report(asked.number, 1, 0.5)
    study.end(asked.number, "complete")
    # the driver still holds the study
    before, port = study.folder.journal.read_bytes(), free_port()
    words = [command, str(study.folder.journal), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            base = f"http://127.0.0.1:{port}/api/studies"
            (found,) = wait_for(lambda: _answer(base), 60, "the dashboard's answer", process)["study_summaries"]
            assert (found["study_name"], found["directions"]) == ("small", ["maximize"])
            trials = _get(f"{base}/{found['study_id']}")["trials"]
        finally:
            process.terminate()
    assert (trials[0]["state"], trials[0]["values"]) == ("Complete", [0.5])
    assert study.folder.journal.read_bytes() == before
    study.close()
