"""What ``topotune show`` tells of one study, in numbers worked by hand."""

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from topotune import standing
from topotune.config import TrialConfig
from topotune.files import as_json, write_csv, write_json, write_text
from topotune.folder import StudyFolder
from topotune.search import table
from topotune.search.study_file import load_study, to_toml

SPACE = """
[study]
name = "a-study"
[fixed]
epochs = 9
[nuisance]
learning_rate = {low = 0.01, high = 0.3}
"""


def _row(number: int, state: str, accuracy: float | None, epochs: int) -> dict[str, Any]:
    return {
        "id": number, "state": state, "config_hash": "12345678", "topography": "grid2d", "weight": 0.5,
        "validation_accuracy": accuracy, "epochs": epochs, "seconds": 1.5, "reason": None,
    }  # fmt: skip


ROWS = [
    _row(0, "complete", 0.8, 9),
    _row(1, "pruned", 0.99, 2),
    _row(2, "complete", 0.9, 9),
    _row(3, "failed", None, 0),
    _row(4, "pruned", 0.1, 3),
    _row(5, "complete", float("nan"), 9),
]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A study as a search leaves it: two trials were stopped, after 2 and 3 of 9 epochs."""
    (tmp_path / "space.toml").write_text(SPACE)
    found = StudyFolder(tmp_path / "a-study")
    write_text(found.study_file, to_toml(load_study(tmp_path / "space.toml")))
    write_csv(found.trials_table, list(ROWS[0]), ROWS)
    write_json(found.summary, {"study_hash": "ab", "confirm": []})
    for row in ROWS:
        write_json(found.trial(row["id"]) / "config.json", {"epochs": 9})
        epochs = [{"epoch": epoch, "validation_accuracy": epoch / 10} for epoch in range(1, row["epochs"] + 1)]
        write_csv(found.trial(row["id"]) / "metrics.csv", ["epoch", "validation_accuracy"], epochs)
    (found.trial(2) / "model.safetensors").write_bytes(b"0" * 5000)
    return found


def _search(folder: StudyFolder, directions: list[str]) -> None:
    """Twelve trials: the learning rate is all that matters."""
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name="a-study", storage=storage, directions=directions, sampler=sampler)
    for _ in range(12):
        trial = study.ask()
        rate, _other = trial.suggest_float("learning_rate", 0.01, 0.3), trial.suggest_float("weight", 0.1, 1)
        values = {"validation_accuracy": rate, "parameters": rate**2}
        trial.set_user_attr(table.CONFIG, TrialConfig(learning_rate=rate).to_dict())
        trial.set_user_attr(table.HASH, "12345678")
        trial.set_user_attr(table.RECORD, {"values": values, "epochs": 9, "seconds": 1.5})
        study.tell(trial, list(values.values())[: len(directions)])


def test_a_leaderboard_ranks_what_is_complete(folder: StudyFolder) -> None:
    found = standing.standing(folder, top=5)
    assert [row["id"] for row in found["leaderboard"]] == [2, 0]
    assert found["leaderboard"][0]["config_hash"] == "12345678"
    assert found["study_hash"] == "ab"
    assert [row["id"] for row in standing.standing(folder, top=1)["leaderboard"]] == [2]
    text = standing.standing_text(folder, top=5)
    assert "90.00" in text
    assert "99.00" not in text


def test_what_a_search_has_cost(folder: StudyFolder) -> None:
    found = standing.standing(folder, top=5)
    assert found["states"] == {"complete": 3, "pruned": 2, "failed": 1, "running": 0}
    assert found["spent"] == {"epochs": 32, "seconds": 9.0, "epochs_saved": 7 + 6}
    every = sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())
    assert found["disk"]["all"] == every
    assert found["disk"]["trial_weights"] == 5000
    assert 5000 < found["disk"]["trials"] < every
    text = standing.standing_text(folder, top=5)
    assert "Trained 32 epochs in 0:09 min; early stopping saved 13 (29%)." in text
    assert "the trials' weights 5 kB." in text


def test_curves_if_asked_for(folder: StudyFolder) -> None:
    assert "curves" not in standing.standing(folder, top=1)
    found = standing.standing(folder, top=1, curves=True)
    assert found["curves"] == {"2": {str(epoch): epoch / 10 for epoch in range(1, 10)}}
    text = standing.standing_text(folder, top=1, curves=True)
    assert "trial 2, % by epoch: 1:10.00 2:20.00 3:30.00 " in text
    assert "by epoch" not in standing.standing_text(folder, top=1)


def test_curves_are_means_over_the_seeds(folder: StudyFolder) -> None:
    write_text(folder.study_file, to_toml(load_study(folder.study_file, {"budget.replicates": 2})))
    second = [{"epoch": epoch, "validation_accuracy": epoch / 10 - 0.02} for epoch in range(1, 10)]
    write_csv(folder.trial(2) / "seed-1" / "metrics.csv", ["epoch", "validation_accuracy"], second)
    text = standing.standing_text(folder, top=1, curves=True)
    assert "trial 2, % by epoch, mean of 2 seeds: 1:9.00 2:19.00 3:29.00 " in text


def test_importances_of_a_search(folder: StudyFolder) -> None:
    assert standing.standing(folder, 1)["importances"] == {}
    _search(folder, ["maximize"])
    found = standing.standing(folder, 1)
    assert list(found["importances"]) == ["learning_rate", "weight"]
    assert sum(found["importances"].values()) == pytest.approx(1)
    assert found["pareto_front"] == []
    assert found["states"]["complete"] == 12  # the journal's, which trials.csv follows
    text = standing.standing_text(folder, 1)
    assert "\nSetting        Importance\nlearning_rate  0." in text
    assert "Pareto" not in text


def test_the_front_of_several_objectives(folder: StudyFolder) -> None:
    two = {"objective.metric": ["validation_accuracy", "parameters"], "study.pruner": "none"}
    write_text(folder.study_file, to_toml(load_study(folder.study_file, two)))
    _search(folder, ["maximize", "minimize"])  # every trial is on the front
    found = standing.standing(folder, 1)["pareto_front"]
    assert len(found) == 12
    assert list(found[0]) == ["id", "validation_accuracy", "parameters"]
    assert found[0]["validation_accuracy"] == max(row["validation_accuracy"] for row in found)
    assert "Pareto front:\nTrial  Validation accuracy (%)  Parameters\n" in standing.standing_text(folder, 1)


def test_a_study_that_has_not_begun(tmp_path: Path) -> None:
    new = StudyFolder(tmp_path / "new")
    write_text(new.study_file, "[study]\nname = 'new'\n")
    assert standing.standing_text(new, top=5).splitlines()[0].startswith("study new in ")
    found = standing.standing(new, top=5)
    assert (found["leaderboard"], found["report"], found["spent"]["epochs"]) == ([], None, 0)


def test_json_has_no_nan(folder: StudyFolder) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    write_json(folder.summary, {"confirm": []})
    text = as_json(standing.standing(folder, 5, True) | {"x": [float("nan"), (float("inf"), 1.5)]})
    found = json.loads(text, parse_constant=refuse)
    assert found["x"] == [None, [None, 1.5]]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (4710000, "4.71 MB"), (999700, "1 MB"), (5e12, "5 TB")],
)
def test_sizes(count: float, text: str) -> None:
    assert standing._size(count) == text
