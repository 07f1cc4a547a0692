"""Two ranks at work, for the tests of what ranks share."""

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from topotune.config import TrialConfig
from topotune.training import distributed

ROOT = Path(__file__).parents[3]

OnARank = Callable[[int, str, Path, TrialConfig], None]
TwoRanks = Callable[[OnARank, TrialConfig], tuple[Path, Any, Any]]


@pytest.fixture(scope="module")
def importable(request: pytest.FixtureRequest) -> Iterator[None]:
    """A new process imports the test's module by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        patch.setenv("OMP_NUM_THREADS", "1")
        place = Path(request.module.__file__).relative_to(ROOT).with_suffix("")
        assert sys.modules[".".join(place.parts)] is request.module
        yield


@pytest.fixture(scope="module")
def two_ranks(importable: None, tmp_path_factory: pytest.TempPathFactory) -> TwoRanks:
    """Runs a module's function on both; what each pickled into ``left-<rank>``, after the folder that it is in."""

    def run(on_a_rank: OnARank, config: TrialConfig) -> tuple[Path, Any, Any]:
        out = tmp_path_factory.mktemp("gang")
        distributed.launch(2, on_a_rank, out, config)
        first, second = (pickle.loads((out / f"left-{rank}").read_bytes()) for rank in (0, 1))
        return out, first, second

    return run
