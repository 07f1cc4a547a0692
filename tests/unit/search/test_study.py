"""A study in its storage, without a cluster: what is asked, what survives a killed driver, what is refused."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from topotune.errors import InputError
from topotune.files import read_csv, write_csv
from topotune.folder import StudyFolder
from topotune.search.study import Asked, Ending, Study
from topotune.search.study_file import load_study

SPACE = """
[study]
name = "a-study"
[fixed]
epochs = 9
[scientific]
topography = {choices = ["none", "grid2d", "circle"]}
weight = {low = 0.001, high = 10.0, log = true}
[nuisance]
learning_rate = {low = 0.01, high = 0.3, log = true}
batch_size = {low = 16, high = 64}
optimizer = {choices = ["sgd", "adam"]}
[budget]
trials = 8
"""

Open = Callable[..., Study]


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "studies" / "a-study")


@pytest.fixture
def begin(folder: StudyFolder, tmp_path: Path) -> Iterator[Open]:
    """Opens the study as a new driver would: the one before was killed, and its lock went with it."""
    opened: list[Study] = []

    def open_study(text: str = SPACE, at: StudyFolder = folder, **overrides: Any) -> Study:
        path = tmp_path / "space.toml"
        path.write_text(text, encoding="utf-8")
        file = load_study(path, {name.replace("__", "."): value for name, value in overrides.items()})
        while opened:
            opened.pop().close()
        opened.append(Study(file, at))
        return opened[-1]

    yield open_study
    while opened:
        opened.pop().close()


def _ask(study: Study) -> Asked:
    asked = study.ask()
    assert asked is not None
    return asked


def _train(study: Study, asked: Asked, values: list[float]) -> None:
    """What a trial leaves in its folder, and what its driver is told, epoch by epoch."""
    folder = study.folder.trial(asked.number)
    rows = [
        {"epoch": epoch, "validation_accuracy": value, "seconds": 0.5} for epoch, value in enumerate(values, start=1)
    ]  # fmt: skip
    write_csv(folder / "metrics.csv", ["epoch", "validation_accuracy", "seconds"], rows)
    for row in rows:
        study.report(asked.number, int(row["epoch"]), row["validation_accuracy"])


def _complete(study: Study, accuracy: float = 0.5) -> dict[str, Any]:
    asked = _ask(study)
    _train(study, asked, [accuracy])
    return study.end(asked.number, "complete")


def test_the_first_trials_are_one_of_each_topography(begin: Open) -> None:
    study = begin()
    asked = [_ask(study) for _ in range(8)]
    assert [one.number for one in asked] == list(range(8))
    assert [one.config.topography for one in asked[:3]] == ["none", "grid2d", "circle"]
    assert not any(one.resumed for one in asked)
    assert study.ask() is None
    assert study.asked == 8
    for one in asked:
        assert (one.config.weight == 0) == (one.config.topography == "none")
        assert 0.01 <= one.config.learning_rate <= 0.3
        assert 16 <= one.config.batch_size <= 64
        assert one.config.epochs == 9
    assert len({one.config.learning_rate for one in asked}) == 8


def test_every_variant_that_is_confirmed_is_tried(begin: Open) -> None:
    """[confirm] per: chance alone would leave some combinations out."""
    text = SPACE.replace("[nuisance]", 'loss = {choices = ["channel", "as_global"]}\n[nuisance]')
    study = begin(text + "[confirm]\nper = ['loss']\n")
    tried = [study.ask() for _ in range(5)]
    assert [(one.config.topography, one.config.loss) for one in tried if one and one.config.weight] == [
        ("grid2d", "channel"), ("grid2d", "as_global"), ("circle", "channel"), ("circle", "as_global")
    ]  # fmt: skip
    assert tried[0]
    assert tried[0].config.topography == "none"


def test_a_raised_budget_goes_on_and_a_spent_one_does_not(begin: Open) -> None:
    study = begin(budget__trials=3)
    for _ in range(3):
        _complete(study)
    assert study.ask() is None
    assert begin(budget__trials=3).ask() is None
    study = begin(budget__trials=4, confirm__seeds=2)
    assert _ask(study).number == 3
    assert study.ask() is None


def test_what_a_killed_driver_left_running_comes_first_with_the_same_settings(begin: Open) -> None:
    study = begin()
    asked = [_ask(study) for _ in range(5)]
    _train(study, asked[1], [0.4])
    study.end(asked[1].number, "complete")
    _train(study, asked[3], [0.3, 0.5])
    study = begin()
    again = [_ask(study) for _ in range(5)]
    assert [(one.number, one.resumed) for one in again] == [(0, True), (2, True), (3, True), (4, True), (5, False)]
    for one in again[:4]:
        assert one.config == asked[one.number].config
    assert again[4].config not in [one.config for one in asked]
    # what was known before is no news, and is not overwritten
    assert not study.report(3, 1, 0.9)
    assert not study.report(3, 2, 0.9)
    assert study.report(3, 3, 0.6)
    assert not study.report(3, 3, 0.7)
    assert (study.rows()[3]["validation_accuracy"], study.rows()[3]["epochs"]) == (0.6, 3)
    # and a third driver, too
    assert [_ask(begin()).number for _ in range(2)] == [0, 0]


def test_a_driver_may_be_killed_after_any_record(begin: Open, folder: StudyFolder, tmp_path: Path) -> None:
    """Cut after every line of the journal and in the middle of each: all first trials are there once, none twice."""
    study = begin()
    whole: dict[int, Any] = {}
    for _ in range(4):
        asked = _ask(study)
        whole[asked.number] = asked.config
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    assert len(lines) > 20
    for count in range(len(lines) + 1):
        torn = lines[count][: len(lines[count]) // 2] if count < len(lines) else b'{"op'
        cut = StudyFolder(tmp_path / str(count) / "a-study")
        cut.path.mkdir(parents=True)
        cut.journal.write_bytes(b"".join(lines[:count]) + torn)
        study = begin(at=cut)
        asked_again = [_ask(study) for _ in range(8)]
        assert study.ask() is None
        assert [one.number for one in asked_again] == list(range(8))
        assert [one.config.topography for one in asked_again[:3]] == ["none", "grid2d", "circle"]
        first = [trial.user_attrs.get("first") for trial in study._study.get_trials()]
        assert Counter(first) == {"none": 1, "grid2d": 1, "circle": 1, None: 5}
        for line in cut.journal.read_bytes().splitlines():
            json.loads(line)
        shutil.rmtree(cut.path.parent)
    assert {one.number: one.config for one in asked_again if one.number in whole} == whole  # the uncut one


def test_each_step_is_on_the_disk_before_it_returns(begin: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """One flush a step, behind all of its lines: a suggestion has ten, and a cluster's disk may take long."""
    study, flushed, flush = begin(), [0], os.fsync

    def count(handle: int) -> None:
        flushed[0] = os.fstat(handle).st_size
        flush(handle)

    monkeypatch.setattr(os, "fsync", count)
    asked = study.ask()
    assert asked
    for step in (
        lambda: study.report(asked.number, 1, 0.5),
        lambda: study.end(asked.number, "pruned"),
        study.ask,
    ):
        before, flushed[0] = study.folder.journal.stat().st_size, 0
        step()
        assert flushed[0] == study.folder.journal.stat().st_size > before


def test_a_lock_of_optunas_own_that_was_left_behind_stops_nobody(begin: Open, folder: StudyFolder) -> None:
    _complete(begin())
    Path(f"{folder.journal}.lock").symlink_to(folder.journal)
    assert _ask(begin()).number == 1


def test_a_study_has_one_driver(begin: Open, folder: StudyFolder) -> None:
    study = begin()
    with pytest.raises(InputError, match=r"study 'a-study' is being worked on by another process.*--fresh"):
        Study(study.file, folder)
    assert _ask(study).number == 0  # the first one has lost nothing
    assert _ask(begin()).number == 0


def test_a_study_goes_by_its_folders_name(begin: Open, tmp_path: Path) -> None:
    elsewhere = StudyFolder(tmp_path / "studies" / "other")
    with pytest.raises(InputError, match=r"study\.name = 'a-study': the study in .*/other is called 'other'"):
        begin(at=elsewhere)
    assert not elsewhere.path.exists()


def test_a_renamed_study_goes_on(begin: Open, folder: StudyFolder) -> None:
    _complete(begin())
    moved = StudyFolder(folder.path.rename(folder.path.with_name("moved")))
    study = begin(at=moved, study__name="moved")
    assert _ask(study).number == 1
    assert load_study(moved.study_file).name == "moved"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 10}, "fixed.epochs"),
        ({"weight": {"low": 0.001, "high": 9.0, "log": True}}, "scientific.weight"),
        ({"study__seed": 1}, "study.seed"),
        ({"study__sampler": "random"}, "study.sampler"),
        ({"momentum": 0.5}, "fixed.momentum"),
    ],
)
def test_another_space_is_refused_and_changes_nothing(
    changes: dict[str, Any], named: str, begin: Open, folder: StudyFolder
) -> None:
    _complete(begin())
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as error:
        begin(**changes)
    assert f"study 'a-study' exists in {folder.path} with another space: {named} differ; " in str(error.value)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    assert _ask(begin()).number == 1  # who was refused does not keep the lock


def test_more_effort_is_the_same_study_and_is_written_down(begin: Open, folder: StudyFolder) -> None:
    _complete(begin())
    study = begin(budget__trials=20, study__description="more", prune__proportions=[0.5], threads=2, device="cpu")
    assert load_study(folder.study_file) == study.file
    assert _ask(study).config.threads == 2
    # spelled otherwise, it is the same
    begin(SPACE.replace("high = 10.0", "high = 10").replace("high = 64", "high = 64, log = false"))


def test_an_edited_study_file_is_refused_and_its_own_is_put_back(begin: Open, folder: StudyFolder) -> None:
    _complete(begin())
    text = folder.study_file.read_text(encoding="utf-8")
    edited = text.replace("epochs = 9", "epochs = 10")
    assert edited != text
    folder.study_file.write_text(edited, encoding="utf-8")
    reason = r"study\.toml was changed by hand since the study began; put it back as it was"
    with pytest.raises(InputError, match=reason):
        begin(epochs=10)
    folder.study_file.unlink()
    with pytest.raises(InputError, match=reason):
        begin(epochs=10)
    folder.study_file.write_text(edited, encoding="utf-8")
    begin()  # the file that it began with
    assert folder.study_file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("damage", ["missing", "empty", "torn"])
def test_a_lost_journal_beside_a_table_is_refused(damage: str, begin: Open, folder: StudyFolder) -> None:
    study = begin()
    _complete(study)
    study.write_table()
    journal, table = folder.journal.read_bytes(), folder.trials_table.read_bytes()
    if damage == "missing":
        folder.journal.unlink()
    else:
        folder.journal.write_bytes(b"" if damage == "empty" else journal[:10])
    with pytest.raises(InputError, match=r"journal\.log is missing or empty, though .*trials\.csv lists trials"):
        begin()
    assert folder.trials_table.read_bytes() == table
    folder.journal.write_bytes(journal)  # put back from a copy
    assert _ask(begin()).number == 1


@pytest.mark.parametrize("line", [b"garbage\n", b"{}\n", b"\xff\xfe\n", b"3\n"])
def test_a_damaged_journal_is_named(line: bytes, begin: Open, folder: StudyFolder) -> None:
    _complete(begin())
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    folder.journal.write_bytes(b"".join([*lines[:3], line, *lines[4:]]))
    with pytest.raises(InputError, match=r"journal\.log is damaged \(.*\): put it back from a copy, or use --fresh"):
        begin()


def test_a_row_says_how_a_trial_ended(begin: Open, folder: StudyFolder) -> None:
    study = begin()
    complete, pruned, failed, running = (_ask(study) for _ in range(4))
    _train(study, complete, [0.5, 0.75, 0.625])
    row = study.end(complete.number, "complete", Ending(start_seconds=1.5))
    assert row | {"rank": 1} == study.rows()[0]
    assert row == {
        "id": 0, "state": "complete", "rank": None, "config_hash": complete.config.hash,
        "topography": "none", "weight": 0.0, "learning_rate": complete.config.learning_rate,
        "batch_size": complete.config.batch_size, "optimizer": complete.config.optimizer,
        "validation_accuracy": 0.75, "epochs": 3, "seconds": 1.5,
        "start_seconds": 1.5, "reason": None,
    }  # fmt: skip
    _train(study, pruned, [0.5])
    study.end(pruned.number, "pruned")
    study.end(failed.number, "failed", Ending('no more, "memory"\nhere'))
    rows = study.write_table()
    assert [row["state"] for row in rows] == ["complete", "pruned", "failed", "running"]
    assert rows == study.rows() == read_csv(folder.trials_table)
    assert (rows[1]["validation_accuracy"], rows[1]["epochs"], rows[1]["weight"]) == (0.5, 1, pruned.config.weight)
    assert (rows[2]["validation_accuracy"], rows[2]["epochs"], rows[2]["seconds"]) == (None, 0, 0)
    assert rows[2]["reason"] == 'no more, "memory"\nhere'
    assert (rows[3]["id"], rows[3]["config_hash"], rows[3]["seconds"]) == (3, running.config.hash, None)
    assert list(rows[0]) == folder.trials_table.read_text().splitlines()[0].split(",")
    assert begin().rows() == rows


@pytest.mark.parametrize("state", ["complete", "pruned", "failed"])
def test_an_ended_trial_keeps_what_is_still_of_use(state: str, begin: Open, folder: StudyFolder) -> None:
    study = begin()
    asked = _ask(study)
    _train(study, asked, [0.5])
    there = folder.trial(asked.number)
    (there / "last").mkdir()
    (there / "last" / "state.pt").touch()
    (there / "model.safetensors").touch()
    study.end(asked.number, state)
    kept = {path.name for path in there.iterdir()}
    assert kept == {"metrics.csv"} | ({"model.safetensors"} if state == "complete" else set())
    assert [one.resumed for one in [_ask(begin())]] == [False]  # an ended trial is over


def test_hopeless_trials_are_stopped_but_the_first_of_each_topography_is_not(begin: Open) -> None:
    study = begin(study__pruner="median", budget__trials=12, budget__min_epochs=2)
    first = [_ask(study) for _ in range(3)]
    for rank, one in enumerate(first):
        _train(study, one, [0.9 - 0.4 * rank] * 3)
        assert not study.should_prune(one.number)
        study.end(one.number, "complete")
    for _ in range(3):  # the median needs five trials
        asked = _ask(study)
        _train(study, asked, [0.8] * 3)
        assert not study.should_prune(asked.number)
        study.end(asked.number, "complete")
    poor, good, early = (_ask(study) for _ in range(3))
    _train(study, poor, [0.1, 0.1])
    _train(study, good, [0.1, 0.9])
    _train(study, early, [0.1])
    assert study.should_prune(poor.number)
    assert not study.should_prune(good.number)
    assert not study.should_prune(early.number)  # within the warm-up
    study.end(poor.number, "pruned")
    assert study.rows()[poor.number]["state"] == "pruned"


def test_the_first_of_a_topography_runs_to_its_end_also_after_a_restart(begin: Open) -> None:
    study = begin(study__pruner="successive_halving", budget__reduction_factor=2, budget__trials=12)
    first = _ask(study)  # the control
    others = [_ask(study) for _ in range(6)]
    for one in others:
        _train(study, one, [0.9])
        study.should_prune(one.number)
    study = begin(study__pruner="successive_halving", budget__reduction_factor=2, budget__trials=12)
    again = _ask(study)
    assert (again.number, again.resumed, again.config) == (first.number, True, first.config)
    study.report(again.number, 1, 0.1)
    assert not study.should_prune(again.number)
    for _ in range(6):
        _ask(study)
    late = _ask(study)
    assert not late.resumed
    study.report(late.number, 1, 0.1)
    assert study.should_prune(late.number)  # just as poor


def test_a_study_without_a_choice_of_topographies(begin: Open) -> None:
    study = begin("[study]\nname = 'a-study'\n[nuisance]\nlearning_rate = {low = 0.1, high = 0.2}")
    assert {_ask(study).config.topography for _ in range(4)} == {"none"}
    assert "first" not in {name for trial in study._study.get_trials() for name in trial.user_attrs}
