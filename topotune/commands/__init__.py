"""What each command of the command line does."""

from topotune.commands.jobs import submit
from topotune.commands.look import check_data, fetch_data, figures, plan, positions, show, studies, sync, ui
from topotune.commands.models import analyze, compact, prune, robustness
from topotune.commands.work import confirm, report, run, search, train

__all__ = [
    "analyze", "check_data", "compact", "confirm", "fetch_data", "figures", "plan", "positions", "prune", "report",
    "robustness", "run", "search", "show", "studies", "submit", "sync", "train", "ui",
]  # fmt: skip
