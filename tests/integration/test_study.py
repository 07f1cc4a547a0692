"""A whole study through the command line: what it leaves, and whether all that tells of it agrees."""

import html
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
from optuna.trial import TrialState

import topotune
from tests.conftest import Cli
from tests.integration.support import (
    SPACE,
    by_key,
    columns,
    one_error,
    optuna_study,
    rows,
    same_weights,
    snapshot,
    tracked,
    write_space,
)
from topotune.config import unused_settings
from topotune.data.batches import evaluation_batches
from topotune.data.splits import load_split
from topotune.training.device import Precision
from topotune.training.loop import evaluate

pytestmark = pytest.mark.slow

TRIALS, EPOCHS, SEEDS, PROPORTIONS = 12, 6, 2, ["0.0", "0.5", "1.0"]
TOPOGRAPHIES = ("none", "grid2d")
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
TIMED = ("report.html", "summary.json")  # they say when they were written


@dataclass(frozen=True)
class Studied:
    """One study that ``topotune run`` carried out, and how it was called."""

    cli: Cli
    space: Path
    studies: Path
    done: CompletedProcess[str]

    @property
    def folder(self) -> Path:
        return self.studies / "small"

    @property
    def store(self) -> str:
        return f"sqlite:///{self.studies / 'mlflow.db'}"

    @property
    def trials(self) -> list[dict[str, str]]:
        return rows(self.folder / "trials.csv")

    @property
    def confirmed(self) -> list[dict[str, str]]:
        return rows(self.folder / "confirm.csv")

    def lasting(self) -> dict[str, str]:
        """The study's files, but for those that hold the time and what waits for MLflow."""
        files = snapshot(self.folder)
        return {name: one for name, one in files.items() if name not in TIMED and not name.startswith("mlflow/")}


@pytest.fixture(scope="module")
def study(ray_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Studied:
    home = tmp_path_factory.mktemp("study")
    cli, space = Cli(ray_folder, home), write_space(home)
    return Studied(cli, space, home / "studies", cli("run", space))


def metrics(folder: Path) -> list[dict[str, str]]:
    return rows(folder / "metrics.csv")


def trial_folder(study: Studied, number: int | str) -> Path:
    return study.folder / "trials" / f"{int(number):05d}"


def accuracy(folder: Path, part: str) -> float:
    """The accuracy of a checkpoint, measured here."""
    torch.set_num_threads(1)
    model = topotune.load_checkpoint(folder)
    batches = evaluation_batches(load_split("digits", part))
    return evaluate(model, batches, Precision(torch.device("cpu"), False)).accuracy


def test_it_ends_well_and_says_where_things_are(study: Studied) -> None:
    assert study.done.returncode == 0, study.done.stderr
    assert "Traceback" not in study.done.stderr
    assert study.done.stdout.splitlines() == [
        f"report:  {study.folder / 'report.html'}",
        f"best:    {study.folder / 'best'}",
        f"MLflow:  {study.store}  (topotune ui --studies {study.studies})",
    ]
    assert "search: 12/12 trials" in study.done.stderr
    assert "confirm: 4/4 models" in study.done.stderr
    assert "prune: 4/4 parts" in study.done.stderr


def test_its_folder_holds_what_folder_py_says(study: Studied) -> None:
    names = {path.name for path in study.folder.iterdir()}
    assert names - {"ray", ".lock"} == {
        "study.toml", "journal.log", "trials", "trials.csv", "confirm", "confirm.csv", "pruning.csv", "best", "mlflow",
        "report.html", "summary.json",
    }  # fmt: skip
    temporary = [path for path in study.folder.rglob(".*") if path.name != ".lock" and "ray" not in path.parts]
    assert not temporary
    assert sorted(path.name for path in (study.folder / "trials").iterdir()) == [f"{n:05d}" for n in range(TRIALS)]


def test_the_resolved_study_file_is_the_same_study(study: Studied) -> None:
    asked = topotune.load_study(study.space)
    assert topotune.load_study(study.folder / "study.toml") == asked


def test_each_trial_has_a_row(study: Studied) -> None:
    assert columns(study.folder / "trials.csv") == [
        "id", "state", "rank", "config_hash", "topography", "weight", "learning_rate", "validation_accuracy",
        "epochs", "seconds", "start_seconds", "reason",
    ]  # fmt: skip
    assert [row["id"] for row in study.trials] == [str(number) for number in range(TRIALS)]
    states = Counter(row["state"] for row in study.trials)
    assert set(states) == {"complete", "pruned"}
    for row in study.trials:
        own = metrics(trial_folder(study, row["id"]))
        config = json.loads((trial_folder(study, row["id"]) / "config.json").read_text())
        assert [one["epoch"] for one in own] == [str(epoch) for epoch in range(1, int(row["epochs"]) + 1)]
        assert float(row["validation_accuracy"]) == max(float(one["validation_accuracy"]) for one in own)
        assert row["config_hash"] == topotune.TrialConfig.from_dict(config).hash
        assert (row["topography"], float(row["weight"])) == (config["topography"], config["weight"])
        assert float(row["seconds"]) == pytest.approx(sum(float(one["seconds"]) for one in own))
        assert float(row["weight"]) == 0 if row["topography"] == "none" else 0.001 <= float(row["weight"]) <= 10
        assert int(row["epochs"]) == EPOCHS if row["state"] == "complete" else int(row["epochs"]) < EPOCHS
        assert float(row["start_seconds"]) > 0
        assert row["reason"] == ""


def test_a_trial_leaves_weights_only_if_it_is_complete(study: Studied) -> None:
    for row in study.trials:
        names = {path.name for path in trial_folder(study, row["id"]).iterdir()}
        complete = {"model.safetensors", "result.json"} if row["state"] == "complete" else set()
        assert names == {"config.json", "metrics.csv"} | complete


def test_every_topography_has_a_complete_trial(study: Studied) -> None:
    assert {row["topography"] for row in study.trials if row["state"] == "complete"} == set(TOPOGRAPHIES)


def test_optuna_agrees_with_the_table(study: Studied) -> None:
    stored = optuna_study(study.folder / "journal.log")
    assert stored.study_name == "small"
    assert len(stored.trials) == TRIALS
    for trial, row in zip(stored.trials, study.trials, strict=True):
        own = metrics(trial_folder(study, trial.number))
        assert STATES[trial.state] == row["state"]
        assert trial.intermediate_values == {int(one["epoch"]): float(one["validation_accuracy"]) for one in own}
        assert trial.params["topography"] == row["topography"]
        assert trial.params["learning_rate"] == float(row["learning_rate"])
        assert trial.params.get("weight", 0.0) == float(row["weight"])
    complete = [row for row in study.trials if row["state"] == "complete"]
    assert stored.best_value == max(float(row["validation_accuracy"]) for row in complete)


def test_each_confirmed_model_has_a_row(study: Studied) -> None:
    assert columns(study.folder / "confirm.csv") == [
        "topography", "weight", "seed", "test_accuracy", "test_roc_auc", "test_samples", "validation_accuracy",
        "best_epoch", "epochs", "seconds", "trial", "variant", "config_hash", "checkpoint",
    ]  # fmt: skip
    assert Counter((row["topography"], row["seed"]) for row in study.confirmed) == {
        (name, str(seed)): 1 for name in TOPOGRAPHIES for seed in range(1, SEEDS + 1)
    }
    for row in study.confirmed:
        same = [one for one in study.trials if one["topography"] == row["topography"] and one["state"] == "complete"]
        best = max(same, key=lambda one: float(one["validation_accuracy"]))
        assert float(row["validation_accuracy"]) == max(
            float(one["validation_accuracy"]) for one in metrics(study.folder / row["checkpoint"])
        )
        assert (row["trial"], row["weight"]) == (best["id"], best["weight"])
        assert row["epochs"] == str(EPOCHS)
        assert Path(row["checkpoint"]).parts[0] == "confirm"


def test_confirmed_models_are_as_good_as_the_table_says(study: Studied) -> None:
    for row in study.confirmed:
        assert accuracy(study.folder / row["checkpoint"], "test") == float(row["test_accuracy"])
        assert accuracy(study.folder / row["checkpoint"], "validation") == float(row["validation_accuracy"])


def test_each_confirmed_model_is_pruned_at_each_proportion(study: Studied) -> None:
    path = study.folder / "pruning.csv"
    assert columns(path) == [
        "topography", "weight", "seed", "criterion", "scope", "proportion", "finetune_epochs", "accuracy",
        "config_hash",
    ]  # fmt: skip
    assert {(row["criterion"], row["scope"], row["finetune_epochs"]) for row in rows(path)} == {
        ("l2", "topographic", "0")
    }
    curves = {(row["config_hash"], row["proportion"]): float(row["accuracy"]) for row in rows(path)}
    assert len(rows(path)) == len(curves) == TRIALS
    labels = load_split("digits", "test").labels.tolist()
    shares = {count / len(labels) for count in Counter(labels).values()}
    for model in study.confirmed:
        whole, half, none = (curves[model["config_hash"], proportion] for proportion in PROPORTIONS)
        assert whole == float(model["test_accuracy"])
        assert half < whole
        assert none in shares  # without channels a network says the same of every image


def test_best_is_of_the_topography_with_the_best_mean(study: Studied) -> None:
    means: dict[str, list[float]] = {}
    for row in study.confirmed:
        means.setdefault(row["topography"], []).append(float(row["validation_accuracy"]))
    winner = max(means, key=lambda name: sum(means[name]))
    config = json.loads((study.folder / "best" / "config.json").read_text())
    assert config["topography"] == winner
    result = json.loads((study.folder / "best" / "result.json").read_text())
    assert result["validation_accuracy"] == max(means[winner])
    assert accuracy(study.folder / "best", "validation") == result["validation_accuracy"]


def test_the_summary_counts_right(study: Studied) -> None:
    summary = json.loads((study.folder / "summary.json").read_text())
    states = Counter(row["state"] for row in study.trials)
    assert summary["trials"] == {
        "complete": states["complete"], "pruned": states["pruned"], "failed": 0, "running": 0, "repeated": 0,
    }  # fmt: skip
    assert summary["epochs"] == sum(int(row["epochs"]) for row in study.trials)
    assert [one["topography"] for one in summary["confirm"]] == list(TOPOGRAPHIES)
    for one in summary["confirm"]:
        own = [float(row["test_accuracy"]) for row in study.confirmed if row["topography"] == one["topography"]]
        assert one["mean"] == pytest.approx(sum(own) / SEEDS)
    assert summary["provenance"]["data_checksum"] == load_split("digits", "train").checksum
    assert summary["provenance"]["confirm_seeds"] == [1, 2]


def test_the_report_names_the_numbers(study: Studied) -> None:
    page = (study.folder / "report.html").read_text(encoding="utf-8")
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    complete = [row for row in study.trials if row["state"] == "complete"]
    best = max(complete, key=lambda row: float(row["validation_accuracy"]))
    assert f"validation accuracy {100 * float(best['validation_accuracy']):.2f}% (trial {best['id']})" in text
    assert f"{TRIALS} trials: {len(complete)} complete, {TRIALS - len(complete)} pruned, 0 failed." in text
    for name in TOPOGRAPHIES:
        own = [float(row["test_accuracy"]) for row in study.confirmed if row["topography"] == name]
        assert f"{50 * sum(own):.2f} ± " in text
    assert all(row["config_hash"] in text for row in study.confirmed)
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["']?(https?:|/|\.)""", own)  # nothing from elsewhere
    plots = set(re.findall(r'data-plot="([^"]+)"', own))
    searched = {"weight", "history", "learning", "settings", "parallel"}
    searched |= {"importances"} if len(complete) >= 10 else set()
    assert plots == searched | {"confirmed", "differences", "pruning-1"}
    assert len(page) < 8 * 2**20


def history(client: Any, run: Any, metric: str) -> dict[int, float]:
    """One metric's values by step; no step twice."""
    values = client.get_metric_history(run.info.run_id, metric)
    assert len({one.step for one in values}) == len(values)
    return {one.step: one.value for one in values}


def parent(run: Any) -> str | None:
    found: str | None = run.data.tags.get("mlflow.parentRunId")
    return found


def has_settings(run: Any, config: Mapping[str, Any]) -> bool:
    """Whether the settings that matter to any trial of the study, and no others, are the run's parameters."""
    without = {"device", "threads"} | unused_settings("grid2d", config["loss"], config["strength"])
    wanted = {name: str(value) for name, value in config.items() if name not in without}
    return dict(run.data.params) == wanted


def test_mlflow_has_a_run_for_the_study_and_each_trial(study: Studied) -> None:
    client, found = tracked(study.store, "small")
    runs = by_key(found)
    assert len(runs) == 1 + TRIALS + 2 * len(study.confirmed)
    whole = runs["study"]
    assert (whole.info.status, parent(whole), whole.info.run_name) == ("FINISHED", None, "small")
    assert whole.data.params["budget.trials"] == str(TRIALS)
    commit = json.loads((study.folder / "summary.json").read_text())["provenance"]["git_commit"]
    for row in study.trials:
        run, own = runs[f"trial/{row['id']}"], metrics(trial_folder(study, row["id"]))
        config = json.loads((trial_folder(study, row["id"]) / "config.json").read_text())
        assert run.info.status == {"complete": "FINISHED", "pruned": "KILLED"}[row["state"]]
        assert parent(run) == whole.info.run_id
        assert has_settings(run, config)
        tags = run.data.tags
        assert (tags["state"], tags["config_hash"]) == (row["state"], row["config_hash"])
        λ = f" λ={float(row['weight']):.3g}" if row["topography"] != "none" else ""
        assert run.info.run_name == f"trial {row['id']} {row['topography']}{λ} seed=0"
        assert (tags["stage"], tags["study"], tags.get("mlflow.source.git.commit")) == ("search", "small", str(commit))
        for name in ("task_loss", "topographic_loss", "validation_accuracy", "validation_loss", "learning_rate"):
            assert history(client, run, name) == {int(one["epoch"]): float(one[name]) for one in own}
        assert run.data.metrics["best_validation_accuracy"] == float(row["validation_accuracy"])


def test_mlflow_has_the_follow_up_below_the_trials(study: Studied) -> None:
    client, found = tracked(study.store, "small")
    runs = by_key(found)
    for row in study.confirmed:
        confirm, prune = runs[f"confirm/{row['config_hash']}"], runs[f"prune/{row['config_hash']}"]
        assert parent(confirm) == runs[f"trial/{row['trial']}"].info.run_id
        assert parent(prune) == confirm.info.run_id
        assert {confirm.info.status, prune.info.status} == {"FINISHED"}
        config = json.loads((study.folder / row["checkpoint"] / "config.json").read_text())
        for stage, run in (("confirm", confirm), ("prune", prune)):
            assert (run.data.tags["stage"], run.data.tags["state"]) == (stage, "complete")
            assert run.data.params["seed"] == row["seed"]
            assert has_settings(run, config)
            assert run.info.run_name.startswith(f"{stage} {row['topography']}")
            assert run.info.run_name.endswith(f" seed={row['seed']}")
        assert confirm.data.metrics["test_accuracy"] == float(row["test_accuracy"])
        assert history(client, confirm, "validation_accuracy") == {
            int(one["epoch"]): float(one["validation_accuracy"]) for one in metrics(study.folder / row["checkpoint"])
        }
        curve = {
            round(1000 * float(one["proportion"])): float(one["accuracy"])
            for one in rows(study.folder / "pruning.csv")
            if one["config_hash"] == row["config_hash"]
        }
        assert history(client, prune, "pruned_accuracy") == curve


def test_mlflow_has_the_files(study: Studied) -> None:
    client, found = tracked(study.store, "small")
    runs = by_key(found)

    def artifacts(key: str, below: str) -> dict[str, int]:
        run = runs[key].info.run_id
        return {Path(one.path).name: one.file_size for one in client.list_artifacts(run, below) if not one.is_dir}

    checkpoint = ("config.json", "model.safetensors", "metrics.csv", "result.json")
    for row in study.confirmed:
        there = study.folder / row["checkpoint"]
        sizes = {name: (there / name).stat().st_size for name in checkpoint}
        assert artifacts(f"confirm/{row['config_hash']}", "checkpoint") == sizes
    assert set(artifacts("study", "best")) == set(checkpoint)
    assert set(artifacts("study", "report")) == {"report.html", "summary.json", "study.toml", "trials.csv"}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # MLflow's own
def test_a_model_loads_from_mlflow_as_from_its_folder(study: Studied) -> None:
    client, found = tracked(study.store, "small")
    row = study.confirmed[-1]
    run = by_key(found)[f"confirm/{row['config_hash']}"].info.run_id
    wanted = topotune.load_checkpoint(study.folder / row["checkpoint"])
    assert same_weights(topotune.load_checkpoint(f"runs:/{run}/checkpoint", store=study.store), wanted)
    best = topotune.load_checkpoint(study.folder / "best")
    for uri in ("models:/small@best", "models:/small/1"):
        assert same_weights(topotune.load_checkpoint(uri, store=study.store), best)
    (version,) = client.search_model_versions("name = 'small'")
    (registered,) = [one for one in study.confirmed if one["config_hash"] == version.tags["config_hash"]]
    assert version.run_id == by_key(found)[f"confirm/{registered['config_hash']}"].info.run_id
    assert (version.tags["study"], version.tags["test_accuracy"]) == ("small", registered["test_accuracy"])
    with pytest.raises(topotune.InputError, match="no checkpoint at models:/small/9"):
        topotune.load_checkpoint("models:/small/9", store=study.store)


def test_show_studies_and_plan_in_words(study: Studied) -> None:
    shown = study.cli("show", "small", "--top", 1).stdout
    complete = [row for row in study.trials if row["state"] == "complete"]
    best = max(complete, key=lambda row: float(row["validation_accuracy"]))
    board = shown.split("Rank")[1].split("\n\n")[0].splitlines()
    assert len(board) == 2
    assert board[1].split()[:3] == ["1", best["id"], best["topography"]]
    assert f"report: {study.folder / 'report.html'}" in shown
    listed = study.cli("studies").stdout.splitlines()
    assert listed[1].split()[:3] == ["small", str(TRIALS), str(len(complete))]
    planned = study.cli("plan", study.space).stdout
    assert "12 trials of 1 worker(s), at most 6 epochs of 17 steps each" in planned
    assert "confirm:   4 models, 24 epochs" in planned
    assert "full grid: 156 trials" in planned  # 12 rates for the control, 12 times 12 for grid2d


def test_show_studies_and_plan_for_programs(study: Studied) -> None:
    shown = json.loads(study.cli("show", study.folder, "--top", 2, "--json").stdout)
    assert [shown["study"], shown["path"]] == ["small", str(study.folder)]
    values = [one["validation_accuracy"] for one in shown["leaderboard"]]
    assert values == sorted(values, reverse=True)
    assert len(values) == 2
    (listed,) = json.loads(study.cli("studies", "--json").stdout)
    assert (listed["study"], listed["trials"], listed["confirmed"], listed["report"]) == ("small", TRIALS, 4, True)
    planned = json.loads(study.cli("plan", study.space, "--json").stdout)
    assert planned["study_hash"] == shown["study_hash"]
    assert (planned["trials"], planned["confirmed_models"], planned["pruned_evaluations"]) == (12, 4, 12)


def test_the_same_command_again_does_nothing_and_says_so(study: Studied) -> None:
    before, runs = study.lasting(), len(tracked(study.store, "small")[1])
    again = study.cli("run", study.space)
    states = Counter(row["state"] for row in study.trials)
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    assert again.returncode == 0
    assert again.stdout == study.done.stdout
    assert again.stderr.splitlines() == [
        f"search: nothing to do, 12 of 12 trials have begun; {counted}",
        "confirm: nothing to do, 4 models are there",
        "prune: nothing to do, 4 models are pruned in 3 ways",
    ]
    assert study.lasting() == before
    assert len(tracked(study.store, "small")[1]) == runs


@pytest.mark.parametrize("stage", ["search", "confirm", "prune"])
def test_a_stage_again_does_nothing_and_says_so(study: Studied, stage: str) -> None:
    before = study.lasting()
    again = study.cli(stage, study.space if stage == "search" else "small")
    assert again.returncode == 0
    assert again.stderr.startswith(f"{stage}: nothing to do")
    assert study.lasting() == before


def test_another_space_under_the_same_name_is_refused(study: Studied) -> None:
    before = study.lasting()
    refused = study.cli("run", study.space, "--set", "epochs=7", "--set", "weight=0.5")
    one_error(refused, "'small'", "fixed.epochs, scientific.weight differ", "--set study.name=", "--fresh")
    assert study.lasting() == before


def test_fresh_begins_beside_it_under_a_new_name(study: Studied) -> None:
    before = study.lasting()
    words = ("--set", "epochs=1", "--set", "topography=none", "--set", "budget.trials=1")
    done = study.cli("search", study.space, "--fresh", *words)
    assert done.returncode == 0, done.stderr
    other = study.studies / "small-2"
    assert f"next:    topotune confirm {other}" in done.stdout
    assert len(rows(other / "trials.csv")) == 1
    assert set(by_key(tracked(study.store, "small-2")[1])) == {"study", "trial/0"}
    assert study.lasting() == before
    shutil.rmtree(other)  # the other tests count the studies


def test_stage_by_stage_equals_run_and_a_greater_budget_goes_on(study: Studied, tmp_path: Path) -> None:
    """A copy of the study as the search left it, elsewhere and with an MLflow store of its own."""
    studies = tmp_path / "moved"
    copy = studies / "small"
    shutil.copytree(study.folder, copy)
    for name in ("confirm", "best"):
        shutil.rmtree(copy / name)
    for name in ("confirm.csv", "pruning.csv", "report.html", "summary.json"):
        (copy / name).unlink()
    for stage in ("confirm", "prune", "report"):
        done = study.cli(stage, "small", "--studies", studies)
        assert done.returncode == 0, done.stderr
    timeless = [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows(copy / "confirm.csv")]
    assert timeless == [{name: cell for name, cell in row.items() if name != "seconds"} for row in study.confirmed]
    assert (copy / "pruning.csv").read_bytes() == (study.folder / "pruning.csv").read_bytes()
    for name in ("best", *(row["checkpoint"] for row in study.confirmed)):
        assert same_weights(topotune.load_checkpoint(copy / name), topotune.load_checkpoint(study.folder / name))
    moved = by_key(tracked(f"sqlite:///{studies / 'mlflow.db'}", "small")[1])
    assert moved.keys() == by_key(tracked(study.store, "small")[1]).keys()

    done = study.cli("search", study.space, "--studies", studies, "--set", f"budget.trials={TRIALS + 2}")
    assert done.returncode == 0, done.stderr
    more = rows(copy / "trials.csv")
    assert [row | {"rank": ""} for row in more[:TRIALS]] == [row | {"rank": ""} for row in study.trials]
    assert [row["id"] for row in more[TRIALS:]] == ["12", "13"]
    assert len({row["config_hash"] for row in more}) == TRIALS + 2


def test_the_space_of_these_tests_is_what_the_numbers_above_say() -> None:
    for line in (f"trials = {TRIALS}", f"epochs = {EPOCHS}", f"seeds = {SEEDS}"):
        assert line in SPACE
