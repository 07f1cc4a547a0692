"""Analyses of any checkpoints, in this process: one table, which goes on where it was left."""

from collections.abc import Callable
from contextlib import ExitStack

from topotune.analysis.measure import analyse_one
from topotune.analysis.models import Asked, compare_models, jobs_of, models_of
from topotune.analysis.positions import every_layer
from topotune.analysis.table import AnalysisTable
from topotune.errors import InputError
from topotune.files import Row
from topotune.load import Checkpoints


def analyse_checkpoints(given: Checkpoints, asked: Asked, say: Callable[[str], None]) -> list[Row]:
    """Analyse checkpoints; the table and the maps are written after each of them.

    Args:
        given: the checkpoints, and where the rows go; what is there with the same settings is not computed again.
        asked: of all of them.
        say: told of each checkpoint that is done.

    Returns:
        the rows of these checkpoints.

    Raises:
        InputError: a checkpoint or its data are missing, an analysis does not suit the data, or ``out`` is another
            table.
    """
    locations, data = given.locations, given.data
    with ExitStack() as stack:
        folders = [stack.enter_context(given.folder(one)) for one in locations]
        models = models_of(folders, asked, data)
        weights = [one.weights for one in models]
        for place, own in enumerate(weights):
            if own in weights[:place]:
                raise InputError(f"{locations[place]} holds the same weights as {locations[weights.index(own)]}")
        table = AnalysisTable(given.out, asked.settings, weights, every_layer(one.config for one in models))
        jobs = jobs_of(models, table, asked.settings, data)
        for number, job in enumerate(jobs, start=1):
            table.keep(job, analyse_one(job))
            say(f"{locations[folders.index(job.checkpoint)]}: {number} of {len(jobs)}, {', '.join(job.names)}")
        pairs = list(compare_models(models, table, asked.settings, data))
        if pairs:
            table.keep_pairs(pairs)
        elif not jobs:
            say(f"nothing to do, {len(models)} models are analysed with {asked.settings.words}")
    return [row for row in table.rows if row["weights"] in weights]
