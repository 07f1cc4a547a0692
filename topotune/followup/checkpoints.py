"""Any checkpoints, pruned or tried under perturbations in this process: one table, which goes on where it was left."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from topotune.errors import InputError
from topotune.files import Row, read_csv, write_csv
from topotune.folder import PRUNING_COLUMNS, ROBUSTNESS_COLUMNS
from topotune.followup.perturbations import check_asked, chosen
from topotune.followup.pruning import Cut, PruneJob, pruned_rows
from topotune.followup.robustness import measure, open_subject
from topotune.load import Checkpoints, weights_hash

ABOUT = ("checkpoint", "weights")  # where it was, and the checksum that tells it from every other

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Own:
    """One checkpoint's part of the table."""

    folder: Path
    rows: list[Row]
    keep: Callable[[list[Row]], None]


def measure_checkpoints(given: Checkpoints, names: Sequence[str], say: Say) -> None:
    """Measure checkpoints under perturbations; a row a level and draw, written after each perturbation.

    Args:
        given: the checkpoints, and where the rows go.
        names: of PERTURBATIONS, or ``all``; none: the usual ones for the kind of data.
        say: told of each perturbation that is done.

    Raises:
        InputError: a checkpoint or its data are missing, a perturbation is unknown or does not suit the data, or
            ``out`` is another table.
    """
    check_asked(names)
    for location, own in _each(given, ROBUSTNESS_COLUMNS):
        done = {row["perturbation"] for row in own.rows}
        if names and set(names) <= done:
            say(f"{location}: nothing to do, it is measured under {', '.join(names)}")
            continue
        subject = open_subject(own.folder, given.data)
        wanted = chosen(names, subject.tested.kind, subject.config.dataset)
        for name in (one for one in wanted if one not in done):
            found = list(measure(subject, name))
            own.keep(found)
            mean = sum(row["accuracy"] for row in found) / len(found)
            say(f"{location} {name}: mean accuracy {mean:.4f}, clean {subject.clean:.4f}")


def prune_checkpoints(given: Checkpoints, cuts: Sequence[Cut], say: Say) -> None:
    """Prune checkpoints in several ways, and test them; a row each, written at once.

    Args:
        given: the checkpoints, and where the rows go.
        cuts: the ways.
        say: told of each row.

    Raises:
        InputError: a checkpoint or its data are missing, a way of pruning is none, or ``out`` is another table.
    """
    for location, own in _each(given, PRUNING_COLUMNS):
        done = {Cut.of(row) for row in own.rows}
        left = tuple(cut for cut in cuts if cut not in done)
        if not left:
            say(f"{location}: nothing to do, it is pruned in {len(cuts)} ways")
            continue
        for number, row in enumerate(pruned_rows(PruneJob(own.folder, given.data, left)), start=1):
            own.keep([row])
            say(f"{location} {row['criterion']} {row['proportion']:g}: accuracy {row['accuracy']:.4f} ({number} of "
                f"{len(left)})")  # fmt: skip


def _each(given: Checkpoints, columns: Sequence[str]) -> Iterator[tuple[str, _Own]]:
    """One checkpoint after the other, with its rows; what it keeps is written whole."""
    columns = (*ABOUT, *columns)
    rows = _rows(given.out, columns)

    def keep(about: Row, found: list[Row]) -> None:
        rows.extend(about | row for row in found)
        write_csv(given.out, columns, rows)

    for location in given.locations:
        with given.folder(location) as folder:
            weights = weights_hash(folder)
            about = dict(zip(ABOUT, (location, weights), strict=True))
            own = [row for row in rows if row["weights"] == weights]
            yield location, _Own(folder, own, partial(keep, about))


def _rows(out: Path, columns: Sequence[str]) -> list[Row]:
    rows = read_csv(out)
    if rows and tuple(rows[0]) != tuple(columns):
        raise InputError(f"--out {out}: is another table, with the columns {', '.join(rows[0])}; give another file")
    return rows
