"""``topotune analyze`` on a real study and on checkpoints: rows, maps, MLflow, going on, wrong input."""

import json
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.integration.support import by_key, columns, one_error, rows, tracked, write_space
from topotune.analysis.analyses import ANALYSES
from topotune.folder import ANALYSIS_COLUMNS

pytestmark = pytest.mark.slow

QUICK = ("--images", 100, "--permutations", 50)
TRIAL = (
    "dataset=digits", "model=mnist_cnn", "loss=ws", "epochs=2", "batch_size=64", "optimizer=adam", "threads=1",
    "learning_rate=0.005", "weight_decay=0.0",
)  # fmt: skip


def _train(cli: Cli, out: str, *settings: str) -> None:
    words = [word for one in (*TRIAL, *settings) for word in ("--set", one)]
    done = cli("train", *words, "--out", out)
    assert done.returncode == 0, done.stderr


def test_checkpoints(cli: Cli) -> None:
    """Torch alone: a topographic network and its control, one table; the same command again does nothing."""
    _train(cli, "ws", "topography=grid2d", "weight=1.0")
    _train(cli, "none", "topography=none")
    one_error(cli("analyze", "ws"), "ws is a checkpoint", "--out FILE.csv")
    one_error(cli("analyze", "ws", "--analyses", "moron", "--out", "a.csv"), "unknown analysis 'moron'", "moran")
    one_error(cli("analyze", "none", "--topography", "gird", "--out", "a.csv"), "unknown organisation 'gird'", "grid2d")
    one_error(cli("analyze", "none", "--out", "a.csv"), "none is a control", "--topography")
    one_error(cli("analyze", "ws", "none", "--images", 3, "--out", "a.csv"), "--images 3: must be at least 10")
    assert not (cli.cwd / "a.csv").exists()
    done = cli("analyze", "ws", "none", *QUICK, "--out", "rows.csv")
    assert done.returncode == 0, done.stderr
    assert "layer  analysis" in done.stdout
    path = cli.cwd / "rows.csv"
    assert columns(path) == list(ANALYSIS_COLUMNS)
    found = rows(path)
    assert {row["analysis"] for row in found} == set(ANALYSES)
    assert {row["layer"] for row in found} == {"fc1"}
    assert {(row["topography"], row["positions"]) for row in found if row["positions"]} == {
        ("grid2d", "grid2d"), ("none", "grid2d"), ("none", "grid2d-assigned"),
    }  # fmt: skip
    assert sorted(one.stem for one in (cli.cwd / "rows").iterdir()) == sorted({row["weights"] for row in found})
    first = path.read_bytes()
    again = cli("analyze", "ws", "none", *QUICK, "--out", "rows.csv", "--json")
    assert again.stderr.startswith("nothing to do, 2 models are analysed with images=100 permutations=50")
    assert path.read_bytes() == first
    told = json.loads(again.stdout)
    assert ["" if row["value"] is None else str(row["value"]) for row in told] == [row["value"] for row in found]


def test_a_study(cli: Cli) -> None:
    small = ("budget.trials=2", "epochs=2", "confirm.seeds=1", "prune.proportions=[0.0]", "topography=grid2d")
    words = [part for one in small for part in ("--set", one)]
    assert cli("run", write_space(cli.cwd), *words).returncode == 0
    one_error(cli("analyze", "small", "--out", "a.csv"), "--out and several targets are for checkpoints")
    one_error(cli("analyze", "small", "--layers", "fc7"), "no layer matches 'fc7'")
    folder = cli.cwd / "studies" / "small"
    confirmed = (folder / "confirm.csv").rename(folder / "away.csv")
    one_error(cli("analyze", "small"), "has no confirmed models to analyse; run: topotune confirm small")
    confirmed.rename(folder / "confirm.csv")
    assert not (folder / "analysis.csv").exists()
    done = cli("analyze", "small", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "analyze: 2/2 models" in done.stderr
    models, found = rows(folder / "confirm.csv"), rows(folder / "analysis.csv")
    hashes = [model["config_hash"] for model in models]
    assert list(dict.fromkeys(row["config_hash"] for row in found)) == hashes
    assert {row["layer"] for row in found} == {"conv1", "conv2"}
    assert {row["analysis"] for row in found} == set(ANALYSES)
    _check_mlflow(cli.cwd, hashes, found)
    first = (folder / "analysis.csv").read_bytes()
    idle = cli("analyze", "small", *QUICK)
    assert idle.stderr.startswith("analyze: nothing to do, 2 models are analysed")
    assert (folder / "analysis.csv").read_bytes() == first


def _check_mlflow(home: Path, hashes: list[str], found: list[dict[str, str]]) -> None:
    _client, tracked_runs = tracked(f"sqlite:///{home / 'studies' / 'mlflow.db'}", "small")
    runs = by_key(tracked_runs)
    for config_hash in hashes:
        run = runs[f"analysis/{config_hash}"]
        assert run.data.tags["mlflow.parentRunId"] == runs[f"confirm/{config_hash}"].info.run_id
        assert run.info.status == "FINISHED"
        told = {
            "/".join(row[name] for name in ("layer", "positions", "analysis", "measure") if row[name]): row["value"]
            for row in found
            if row["config_hash"] == config_hash and not row["at"] and not row["other"] and row["value"]
        }
        assert run.data.metrics == {name: float(value) for name, value in told.items()}
