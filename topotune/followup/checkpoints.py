"""Any checkpoints, pruned or tried under perturbations in this process: one table, which goes on where it was left."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from topotune.errors import InputError
from topotune.files import Row, read_csv, write_csv
from topotune.folder import PRUNING_COLUMNS, ROBUSTNESS_COLUMNS
from topotune.followup.lineage import Child, Source, pruning_metrics, robustness_metrics
from topotune.followup.perturbations import ALL, PERTURBATIONS, check_asked, chosen
from topotune.followup.pruning import Cut, PruneJob, pruned_rows
from topotune.followup.robustness import Setting, Subject, measure, open_subject, settings_of
from topotune.load import Checkpoints, weights_hash
from topotune.progress import Progress

ABOUT = ("checkpoint", "weights")  # where it was, and the checksum that tells it from every other

Say = Callable[[str], None]


@dataclass
class _Table:
    """The rows of all checkpoints; written whole with each that comes."""

    out: Path
    columns: Sequence[str]
    rows: list[Row] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = (*ABOUT, *self.columns)
        self.rows = read_csv(self.out)
        if self.rows and tuple(self.rows[0]) != self.columns:
            raise InputError(
                f"--out {self.out}: is another table, with the columns {', '.join(self.rows[0])}; give another file"
            )


@dataclass(frozen=True)
class _Own:
    """One checkpoint, its rows of the table, and its run."""

    location: str
    folder: Path
    weights: str
    table: _Table
    run: Child

    @property
    def rows(self) -> list[Row]:
        return [row for row in self.table.rows if row["weights"] == self.weights]

    def keep(self, row: Row) -> None:
        self.table.rows.append(dict(zip(ABOUT, (self.location, self.weights), strict=True)) | row)
        write_csv(self.table.out, self.table.columns, self.table.rows)


def measure_checkpoints(given: Checkpoints, names: Sequence[str], say: Say) -> None:
    """Measure checkpoints under perturbations; a row a level and draw, written at once.

    Args:
        given: the checkpoints, and where the rows go.
        names: of PERTURBATIONS, or ``all``; none: the usual ones for the kind of data.
        say: told where there is nothing to do, or a store is away.

    Raises:
        InputError: a checkpoint or its data are missing, a perturbation is unknown or does not suit the data, or
            ``out`` is another table.
    """
    check_asked(names)
    table = _Table(given.out, ROBUSTNESS_COLUMNS)
    for location in given.locations:
        with _open(given, location, table, "robustness", say) as own:
            done, wanted, subject = _measured(own.rows), list(names), None
            if not wanted or wanted == [ALL] or any(_left(name, done) for name in wanted):
                subject = open_subject(own.folder, given.data)
                wanted = list(chosen(names, subject.tested.kind, subject.config.dataset))
            if subject and any(_left(name, done) for name in wanted):
                _measure(own, subject, {name: done.get(name, set()) for name in wanted})
            else:
                say(f"{location}: nothing to do, it is measured under {', '.join(wanted)}")


def _measured(rows: Sequence[Row]) -> dict[str, set[Setting]]:
    """At which levels and draws of each perturbation."""
    done: dict[str, set[Setting]] = {}
    for row in rows:
        done.setdefault(row["perturbation"], set()).add((row["level"], row["draw"]))
    return done


def _left(name: str, done: dict[str, set[Setting]]) -> int:
    """How many rows of a perturbation there are to measure."""
    return len(set(settings_of(name)) - done.get(name, set()))


def _measure(own: _Own, subject: Subject, done: dict[str, set[Setting]]) -> None:
    """Under these perturbations, without what is done of each."""
    left = sum(_left(name, done) for name in done)
    total = sum(len(settings_of(name)) for name in done)
    with Progress("robustness", "rows", total, total - left) as progress:
        for name, settings in done.items():
            for row in measure(subject, name, settings):
                level = [one for one in own.rows if (one["perturbation"], one["level"]) == (name, row["level"])]
                if len(level) + 1 == PERTURBATIONS[name].draws:
                    own.run.metrics(*robustness_metrics([*level, row]))  # first: a row that is there is not told again
                own.keep(row)
                progress.ended("done", f"{own.location} {name} {row['level']:g}: accuracy {row['accuracy']:.4f}")
        progress.say(progress.summary())


def prune_checkpoints(given: Checkpoints, cuts: Sequence[Cut], say: Say) -> None:
    """Prune checkpoints in several ways, and test them; a row each, written at once.

    Args:
        given: the checkpoints, and where the rows go.
        cuts: the ways.
        say: told where there is nothing to do, or a store is away.

    Raises:
        InputError: a checkpoint or its data are missing, a way of pruning is none, or ``out`` is another table.
    """
    table = _Table(given.out, PRUNING_COLUMNS)
    for location in given.locations:
        with _open(given, location, table, "prune", say) as own:
            done = {Cut.of(row) for row in own.rows}
            left = tuple(cut for cut in cuts if cut not in done)
            if not left:
                say(f"{location}: nothing to do, it is pruned in {len(cuts)} ways")
                continue
            with Progress("prune", "ways of pruning", len(cuts), len(cuts) - len(left)) as progress:
                for row in pruned_rows(PruneJob(own.folder, given.data, left)):
                    own.run.metrics(*pruning_metrics(row))  # first: a row that is there is not told again
                    own.keep(row)
                    tuned = f", {row['finetune_epochs']} epochs on" if row["finetune_epochs"] else ""
                    way = f"{row['criterion']} {row['proportion']:g}{tuned}"
                    progress.ended("done", f"{location} {way}: accuracy {row['accuracy']:.4f}")
                progress.say(progress.summary())


@contextmanager
def _open(given: Checkpoints, location: str, table: _Table, stage: str, say: Say) -> Iterator[_Own]:
    with given.folder(location) as folder:
        weights = weights_hash(folder)
        outbox = given.out.with_suffix(".mlflow") / weights
        with Child(Source(folder, location, given.told(location)), stage, {}, outbox, say) as run:
            yield _Own(location, folder, weights, table, run)
