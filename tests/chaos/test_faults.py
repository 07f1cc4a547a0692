"""One study through killed drivers, processes and nodes: nothing lost, nothing twice, all records agree.

``python -m tests.benchmarks.faults`` does the same for longer.
"""

import random
from pathlib import Path

import pytest

from tests.benchmarks.faults import environment, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_study_survives_drivers_processes_and_nodes(ray_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ray_folder / "faults"
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    found = run(folder, random.randrange(2**32), {"drivers": 2, "workers": 2, "nodes": 2})
    assert found["trials"] > 6
    assert (found["lost"], found["twice"], found["differences"]) == (0, 0, []), found
    assert found["epochs_again"] <= 2 * 6  # at most two run at a time
