"""What each command of the command line does."""

from topotune.commands.analysis import analyze
from topotune.commands.look import check_data, fetch_data, plan, positions, show, studies, sync, ui
from topotune.commands.work import compact, confirm, prune, report, robustness, run, search, train

__all__ = [
    "analyze", "check_data", "compact", "confirm", "fetch_data", "plan", "positions", "prune", "report", "robustness",
    "run", "search", "show", "studies", "sync", "train", "ui",
]  # fmt: skip
