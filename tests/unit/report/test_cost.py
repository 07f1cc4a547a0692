"""What a search has cost, in words."""

import pytest

from topotune.report import cost


@pytest.mark.parametrize(("seconds", "text"), [(9, "0:09 min"), (3599.7, "1:00:00 h"), (90061, "25:01:01 h")])
def test_times(seconds: float, text: str) -> None:
    assert cost.duration(seconds) == text


def test_sentences() -> None:
    spent = {"epochs": 1500, "seconds": 61.0, "epochs_saved": 500}
    assert cost.cost_sentence(spent) == "Trained 1,500 epochs in 1:01 min; early stopping saved 500 (25%)."
    assert cost.cost_sentence(spent | {"epochs": 0}) == ""
    rows = [{"epochs": 4, "seconds": 30.0}, {"epochs": 4, "seconds": None}]
    assert cost.followup_sentence(rows) == "The 2 confirmed models took 8 epochs in 0:30 min."
    assert cost.followup_sentence([]) == ""
