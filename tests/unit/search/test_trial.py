"""What a trial finds before it begins."""

from pathlib import Path

import pytest

from topotune.errors import InputError
from topotune.folder import StudyFolder
from topotune.search import trial


def test_a_node_that_does_not_see_the_studies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SETTLED", 0.1)
    with pytest.raises(
        InputError, match=r"a-study of the driver is not there on node [\d.]+: --studies must be a folder"
    ):
        trial.check_shared(tmp_path / "a-study")
    StudyFolder(tmp_path / "a-study").path.mkdir()
    StudyFolder(tmp_path / "a-study").study_file.write_text("")
    trial.check_shared(tmp_path / "a-study")
