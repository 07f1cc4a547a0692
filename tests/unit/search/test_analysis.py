"""What is read of a study from outside, on real Optuna studies; warnings are errors here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from topotune.errors import InputError
from topotune.folder import StudyFolder
from topotune.search import analysis
from topotune.search.space import StudyFile
from topotune.search.study_file import load_study

ACCURACY = ["validation_accuracy"]
TWO = ["validation_accuracy", "parameters"]


def _suggest(trial: optuna.Trial) -> float:
    """As a study does: λ is no setting of the control, and all that matters is the learning rate."""
    topography = trial.suggest_categorical("topography", ["none", "grid2d", "circle"])
    trial.set_user_attr("config", {"topography": topography})
    if topography != "none":
        trial.suggest_float("weight", 0.001, 10, log=True)
    trial.suggest_categorical("batch_size", [64])
    return trial.suggest_float("learning_rate", 0.01, 0.3)


def _accuracy(trial: optuna.Trial) -> float:
    value = 1 - _suggest(trial)
    for epoch in (1, 2, 3):
        trial.report(value * epoch / 3, epoch)
        if trial.number % 3 == 2 and epoch == 2:
            raise optuna.TrialPruned
    return value


def _two(trial: optuna.Trial) -> tuple[float, float]:
    rate = _suggest(trial)
    return 1 - rate, 0.1 + rate if trial.number % 2 else 0.4 - rate


def _same(trial: optuna.Trial) -> float:
    return 0.0 * _suggest(trial) + 0.5


def _begin(path: Path, directions: list[str], objective: Callable[..., Any], trials: int) -> StudyFolder:
    folder = StudyFolder(path / "a-study")
    folder.path.mkdir()
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    sampler = optuna.samplers.RandomSampler(seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.logging.get_logger("optuna"), "disabled", True)
        study = optuna.create_study(study_name="s", storage=storage, directions=directions, sampler=sampler)
        study.optimize(objective, trials)
    return folder


def _file(folder: StudyFolder, objectives: list[str], **options: Any) -> StudyFile:
    path = folder.path.parent / "asked.toml"
    path.write_text("[fixed]\nepochs = 3\n")
    changed = {name.replace("__", "."): value for name, value in options.items()}
    return load_study(path, {"objective.metric": objectives} | changed)


def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    names = TWO
    folder = _begin(tmp_path, ["maximize", "minimize"], _two, 20)
    study = analysis.open_read_only(folder)
    assert study is not None
    front = analysis.pareto_front(study, names)
    every = [tuple(trial.values) for trial in study.trials]
    assert 1 < len(front) < 20
    for row in front:
        assert (row["validation_accuracy"], row["parameters"]) == every[row["id"]]
        assert not any(
            high >= row["validation_accuracy"] and low <= row["parameters"] and (high, low) != every[row["id"]]
            for high, low in every
        )
    assert [row["validation_accuracy"] for row in front] == sorted(row["validation_accuracy"] for row in front)[::-1]
    assert set(analysis.importances(study)) == {"learning_rate", "topography", "weight"}


def _told_early(trial: optuna.Trial) -> tuple[float, float]:
    """Trials that ended before the control did: none is told to break a constraint on it. The last is the control."""
    accuracy, size = ((0.99, 5.0), (0.95, 1.0), (0.97, 3.0), (0.985, 4.0))[trial.number]
    trial.suggest_float("learning_rate", 0.01, 0.3)
    trial.set_user_attr("config", {"topography": "none" if trial.number == 3 else "grid2d"})
    trial.set_user_attr("record", {"values": {"validation_accuracy": accuracy, "parameters": size}})
    trial.set_constraint("validation_accuracy >= control - 1.0", 0.0)
    return accuracy, size


def test_constraints_are_judged_by_the_control_as_it_is(tmp_path: Path) -> None:
    folder = _begin(tmp_path, ["maximize", "minimize"], _told_early, 4)
    study = analysis.open_read_only(folder)
    assert study is not None
    assert {row["id"] for row in analysis.pareto_front(study, TWO)} == {0, 1, 2, 3}
    options = {"objective__constraints": ["validation_accuracy >= control - 1.0"]}
    judged = analysis.judged(study, _file(folder, TWO, **options))
    assert [row["id"] for row in analysis.pareto_front(judged, TWO)] == [0, 3]  # 97 and 95 are less than 97.5
    assert [trial.params for trial in judged.trials] == [trial.params for trial in study.trials]
    assert analysis.judged(study, _file(folder, TWO)) is study


@pytest.mark.parametrize(("objective", "trials"), [(_accuracy, 0), (_accuracy, 1), (_same, 12)])
def test_what_there_is_too_little_for(objective: Callable[..., Any], trials: int, tmp_path: Path) -> None:
    folder = _begin(tmp_path, ["maximize"], objective, trials)
    study = analysis.open_read_only(folder)
    assert study is not None
    assert analysis.importances(study) == {}
    assert analysis.pareto_front(study, ACCURACY) == []


def test_importances_want_ten_complete_trials(tmp_path: Path) -> None:
    """λ has one, though the control has no λ; they sum to 1, the largest first."""
    few = analysis.open_read_only(_begin(tmp_path, ["maximize"], _accuracy, 13))
    assert few is not None
    assert len(analysis.complete_trials(few)) == 9
    assert analysis.importances(few) == {}
    more = tmp_path / "more"
    more.mkdir()
    study = analysis.open_read_only(_begin(more, ["maximize"], _accuracy, 14))
    assert study is not None
    found = analysis.importances(study)
    assert set(found) == {"learning_rate", "topography", "weight"}
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert analysis.importances(study) == found


def test_reading_changes_nothing_and_waits_for_nobody(tmp_path: Path) -> None:
    folder = _begin(tmp_path, ["maximize"], _accuracy, 4)
    # another process is in the middle of a line, and holds Optuna's lock
    with folder.journal.open("ab") as journal:
        journal.write(b'{"op_code":5,"work')
    lock = Path(f"{folder.journal}.lock")
    lock.symlink_to(folder.journal)
    before = folder.journal.read_bytes(), sorted(folder.path.iterdir())
    study = analysis.open_read_only(folder)
    assert study is not None
    assert len(study.trials) == 4
    assert (folder.journal.read_bytes(), sorted(folder.path.iterdir())) == before


def test_no_search_and_a_broken_one(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    assert analysis.open_read_only(folder) is None
    assert list(tmp_path.iterdir()) == []
    folder.journal.write_text("no journal\n{}\n")
    with pytest.raises(InputError, match=r"journal\.log is damaged"):
        analysis.open_read_only(folder)
