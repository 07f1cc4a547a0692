"""Studies beside each other and beside the first paper's tables."""

from collections.abc import Sequence

from topotune.report import cost, published, tables
from topotune.report.methods import choices
from topotune.report.study import ReportStudy
from topotune.report.tables import Table, mean_and_std
from topotune.report.wording import MISSING, best_words, number, percent

Column = tuple[str, dict[str, str]]  # its head, and a cell a topography


def subject(study: ReportStudy) -> str:
    """Data set and network, in words."""
    dataset, model = (" or ".join(choices(study.asked, name)) for name in ("dataset", "model"))
    return f"{dataset} with {model}"


def overview(studies: Sequence[ReportStudy]) -> Table:
    """A row a study: what it is about, how large it was, and its best."""
    header = (
        "Study",
        "Data set and network",
        "Best of the search",
        "Trials",
        "Epochs",
        "Hours of training",
        "Control (%)",
    )
    rows = []
    for study in studies:
        spent = cost.spent(study.folder, study.trials)
        confirmed = {one["topography"]: one for one in study.summary.get("confirm") or []}
        control = confirmed.get("none")
        rows.append((
            study.name, subject(study), best_words(study.summary.get("best_trial")), str(len(study.trials)),
            f"{spent['epochs']:,}", number(spent["seconds"] / 3600),
            mean_and_std(control["mean"], control.get("std")) if control else MISSING,
        ))  # fmt: skip
    return Table(header, tuple(rows), words=3)


def beside_paper(study: ReportStudy) -> Table:
    """One study in the layout of the first paper's tables, beside its figures; empty where it has none of these."""
    return in_layout([study]) if _published([study]) else Table(("Topography",), ())


def in_layout(studies: Sequence[ReportStudy]) -> Table:
    """A row a topography in the paper's order, a column a study, and one for each of the paper's that belong to them;
    empty where nothing is confirmed."""
    columns = [column for column in map(_confirmed, studies) if column[1]]
    if not columns:
        return Table(("Topography",), ())
    columns += _published(studies)
    names = {name for _head, cells in columns for name in cells}
    order = [name for name in published.ROWS if name in names]
    order = [*order[:-1], *tables.in_order(names - set(order)), *order[-1:]] if order else tables.in_order(names)
    rows = tuple((name, *(cells.get(name, MISSING) for _head, cells in columns)) for name in order)
    return Table(("Topography", *(head for head, _cells in columns)), rows)


def _confirmed(study: ReportStudy) -> Column:
    confirmed = study.summary.get("confirm") or []
    cells = {one["topography"]: mean_and_std(one["mean"], one.get("std")) for one in confirmed}
    return f"{study.name}: {subject(study)}", cells


def _published(studies: Sequence[ReportStudy]) -> list[Column]:
    """The paper's own columns for the data sets and networks of these studies, each once."""
    found: dict[str, dict[str, str]] = {}
    for study in studies:
        if known := published.accuracies(study.fixed.get("dataset"), study.fixed.get("model")):
            head = f"{published.SOURCE}: {subject(study)}"
            found[head] = {name: f"{percent(mean / 100)} ± {percent(std / 100)}" for name, (mean, std) in known.items()}
    return list(found.items())
