"""summary.json: whether it tells of the trials as they are now."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from topotune.errors import InputError
from topotune.files import read_json, write_csv
from topotune.folder import StudyFolder
from topotune.search.study import Study
from topotune.search.study_file import load_study
from topotune.stages.summary import concluded, summarise


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Any]:
    """What a summary needs of a session: no cluster and no MLflow."""
    path = tmp_path / "space.toml"
    path.write_text('[study]\nname = "a-study"\n[nuisance]\nlearning_rate = {low = 0.1, high = 0.2}')
    file, folder = load_study(path), StudyFolder(tmp_path / "a-study")
    study = Study(file, folder)
    yield SimpleNamespace(file=file, folder=folder, study=study, commit="abc")
    study.close()


def _end(study: Study, state: str) -> None:
    asked = study.ask()
    assert asked is not None
    row = {"epoch": 1, "validation_accuracy": 0.5, "seconds": 0.25}
    write_csv(study.folder.trial(asked.number) / "metrics.csv", list(row), [row])
    study.report(asked.number, 1, 0.5)
    study.end(asked.number, state)


def test_a_search_is_concluded_when_the_summary_counts_its_trials(session: Any) -> None:
    assert not concluded(session)
    for state in ("complete", "pruned", "failed"):
        _end(session.study, state)
        assert not concluded(session)  # the tables may be there, the summary is of before
        session.study.write_table()
        assert not concluded(session)
        summarise(session, "1234")
        assert concluded(session)
    summary = read_json(session.folder.summary)
    assert summary["trials"] == {"complete": 1, "pruned": 1, "failed": 1, "running": 0, "repeated": 0}
    assert (summary["study"], summary["study_hash"], summary["epochs"]) == ("a-study", session.file.hash, 3)
    assert summary["best_trial"]["id"] == 0


def test_a_summary_without_news_is_left_alone(session: Any) -> None:
    _end(session.study, "complete")
    summarise(session, "1234")
    before = session.folder.summary.read_bytes(), session.folder.summary.stat().st_mtime_ns
    summarise(session)
    assert (session.folder.summary.read_bytes(), session.folder.summary.stat().st_mtime_ns) == before
    _end(session.study, "complete")
    summarise(session)
    provenance = read_json(session.folder.summary)["provenance"]
    assert (provenance["data_checksum"], provenance["git_commit"]) == ("1234", "abc")


@pytest.mark.parametrize("content", ["[]", '{"trials": {"comp'])
def test_a_damaged_summary_is_named(content: str, session: Any) -> None:
    session.folder.summary.write_text(content)
    with pytest.raises(InputError, match=r"summary\.json: not "):
        concluded(session)
