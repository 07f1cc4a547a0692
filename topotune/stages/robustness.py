"""The stage that tries the confirmed models under perturbations."""

from collections.abc import Sequence

from topotune.data.splits import load_split
from topotune.errors import InputError
from topotune.files import Row, write_csv
from topotune.folder import ROBUSTNESS_COLUMNS
from topotune.followup.lineage import robustness_metrics
from topotune.followup.perturbations import PERTURBATIONS, chosen
from topotune.followup.robustness import RobustnessJob, measure_one, settings_of
from topotune.followup.tested import kind_of
from topotune.stages.followup import spread, wanted_rows
from topotune.stages.session import Session, say


def robustness(session: Session, names: Sequence[str] = ()) -> None:
    """Measure every confirmed checkpoint under every perturbation asked for; rows that are there stay.

    names: of PERTURBATIONS, or ``all`` that suit the data; none: the usual ones for the kind of data.

    Raises:
        InputError: no model is confirmed, or a perturbation is unknown or does not suit the data.
    """
    folder = session.folder
    models = folder.rows(folder.confirm_table)
    if not models:
        raise InputError(f"study {folder.name!r} has no confirmed models to try; run: topotune confirm {folder.name}")
    (dataset, *_others) = session.file.choices("dataset")
    kind = kind_of(load_split(dataset, "test", session.site.data, session.site.download))
    names = chosen(names, kind, dataset)
    order = {model["config_hash"]: place for place, model in enumerate(models)}
    rows = wanted_rows(folder, folder.robustness_table, ROBUSTNESS_COLUMNS, lambda row: row["config_hash"] in order)
    measured = _measured(rows)
    jobs = [
        RobustnessJob(folder.path / model["checkpoint"], session.site.data, name)
        for model in models
        for name in names
        if (model["config_hash"], name) not in measured
    ]
    if not jobs:
        say(f"robustness: nothing to do, {len(models)} models are measured under {', '.join(names)}")
        return
    ranks = {name: rank for rank, name in enumerate(PERTURBATIONS)}

    def keep(job: RobustnessJob, found: list[Row]) -> str:
        rows.extend(found)
        rows.sort(key=lambda one: (order[one["config_hash"]], ranks[one["perturbation"]]))  # levels stay in order
        _log(session, found)
        write_csv(folder.robustness_table, ROBUSTNESS_COLUMNS, rows)
        mean = sum(row["accuracy"] for row in found) / len(found)
        first = found[0]
        return f"{first['topography']} seed={first['seed']} {job.perturbation}: mean accuracy {mean:.4f}"

    total = len(models) * len(names)
    spread(session, "robustness", "measurements", measure_one, jobs, total - len(jobs), keep)


def _measured(rows: list[Row]) -> set[tuple[str, str]]:
    """Which models are measured under which perturbation; what is of other levels than today's leaves the rows."""
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for row in rows:
        found.setdefault((row["config_hash"], row["perturbation"]), []).append((row["level"], row["draw"]))
    whole = {one for one, levels in found.items() if one[1] in PERTURBATIONS and levels == settings_of(one[1])}
    rows[:] = [row for row in rows if (row["config_hash"], row["perturbation"]) in whole]
    return whole


def _log(session: Session, found: Sequence[Row]) -> None:
    first = found[0]
    key, parent = f"robustness/{first['config_hash']}", f"confirm/{first['config_hash']}"
    name = f"robustness {first['topography']} seed={first['seed']}"
    params = {one: first[one] for one in ("topography", "weight", "seed")}
    tags = {"stage": "robustness", "config_hash": first["config_hash"]}
    session.tracker.run(key, name, parent, params, tags)
    for level in dict.fromkeys(row["level"] for row in found):
        session.tracker.metrics(key, *robustness_metrics([row for row in found if row["level"] == level]))
    session.tracker.end(key)
