"""The journal, where its disk has no room for a line."""

import resource

import pytest

from tests.unit.search.conftest import Open, ask

SPACE = """
[study]
name = "a"
[nuisance]
momentum = {low = 0.0, high = 0.9}
"""


def test_a_line_without_room_leaves_no_part_of_itself(open_study: Open) -> None:
    study = open_study(SPACE)
    ask(study)
    before, limits = study.folder.journal.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            study.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert study.folder.journal.read_bytes() == before
    ask(study)  # as soon as there is room
    assert len(open_study(SPACE).rows()) == 2
