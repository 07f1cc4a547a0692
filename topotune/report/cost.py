"""What a search has cost, and what early stopping saved."""

from collections.abc import Sequence
from typing import Any

from topotune.files import Row, read_table
from topotune.folder import StudyFolder
from topotune.training import CONFIG


def spent(folder: StudyFolder, trials: Sequence[Row]) -> dict[str, Any]:
    """What the search has taken: epochs, the seconds in them, and the epochs that pruned trials did not take. What
    earlier studies measured cost nothing here."""
    own, saved = [row for row in trials if not row.get("source")], 0
    for row in own:
        config = folder.trial(row["id"]) / CONFIG
        if row["state"] == "pruned" and config.exists():
            saved += read_table(config)["epochs"] - _epochs(row)
    seconds = sum(row.get("seconds") or 0.0 for row in own)
    return {"epochs": sum(map(_epochs, own)), "seconds": seconds, "epochs_saved": saved}


def cost_sentence(spent: dict[str, Any]) -> str:
    """In words; empty where nothing was trained."""
    if not spent["epochs"]:
        return ""
    share = spent["epochs_saved"] / (spent["epochs"] + spent["epochs_saved"])
    return (
        f"Trained {spent['epochs']:,} epochs in {duration(spent['seconds'])}; early stopping saved "
        f"{spent['epochs_saved']:,} ({share:.0%})."
    )


def followup_sentence(confirmed: Sequence[Row]) -> str:
    """What the confirmation has taken; empty before it."""
    if not confirmed:
        return ""
    seconds = sum(row.get("seconds") or 0.0 for row in confirmed)
    return f"The {len(confirmed)} confirmed models took {sum(map(_epochs, confirmed)):,} epochs in {duration(seconds)}."


def duration(seconds: float) -> str:
    """``4:05 min``, ``2:04:05 h``."""
    hours, left = divmod(round(seconds), 3600)
    return f"{hours}:{left // 60:02}:{left % 60:02} h" if hours else f"{left // 60}:{left % 60:02} min"


def _epochs(row: Row) -> int:
    return int(row.get("epochs") or 0)
