"""The stages of a study in their order, each from the files that the one before it left."""

from topotune.stages.analysis import analyse
from topotune.stages.followup import confirm_best, prune
from topotune.stages.robustness import robustness
from topotune.stages.search import search
from topotune.stages.session import Session, Site
from topotune.stages.summary import report, report_several

__all__ = ["Session", "Site", "analyse", "confirm_best", "prune", "report", "report_several", "robustness", "search"]
