"""Robustness of any checkpoints, in this process: one table, which goes on where it was left."""

from collections.abc import Callable, Sequence
from pathlib import Path

from topotune.errors import InputError
from topotune.files import Row, read_csv, write_csv
from topotune.folder import ROBUSTNESS_COLUMNS
from topotune.followup.perturbations import check_asked, chosen
from topotune.followup.robustness import measure, open_subject
from topotune.load import checkpoint_folder
from topotune.training.checkpoint import load_config


def measure_checkpoints(
    locations: Sequence[str],
    names: Sequence[str],
    data: Path | None,
    out: Path,
    store: str | None,
    say: Callable[[str], None],
) -> None:
    """Measure checkpoints under perturbations; a row of ``out`` a level and draw, written after each perturbation.

    Args:
        locations: folders, or MLflow URIs.
        names: of PERTURBATIONS, or ``all``; none: the usual ones for the kind of data.
        data: the folder of the data sets.
        out: a CSV file; what it holds already is not measured again.
        store: MLflow's tracking URI, for such URIs.
        say: told of each perturbation that is done.

    Raises:
        InputError: a checkpoint or its data are missing, a perturbation is unknown or does not suit the data, or
            ``out`` is another table.
    """
    check_asked(names)
    rows = _rows(out)
    for location in locations:
        with checkpoint_folder(location, store) as folder:
            config = load_config(folder)
            done = {row["perturbation"] for row in rows if row["config_hash"] == config.hash}
            if names and set(names) <= done:
                say(f"{location}: nothing to do, it is measured under {', '.join(names)}")
                continue
            subject = open_subject(folder, data)
            wanted = chosen(names, subject.kind, config.dataset)
            for name in wanted:
                if name in done:
                    continue
                found = measure(subject, name)
                rows += found
                write_csv(out, ROBUSTNESS_COLUMNS, rows)
                mean = sum(row["accuracy"] for row in found) / len(found)
                say(f"{location} {name}: mean accuracy {mean:.4f}, clean {subject.clean:.4f}")


def _rows(out: Path) -> list[Row]:
    if out.suffix != ".csv" or not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: must be a file called .csv in a folder that there is")
    rows = read_csv(out)
    if rows and tuple(rows[0]) != ROBUSTNESS_COLUMNS:
        raise InputError(f"--out {out}: is another table, with the columns {', '.join(rows[0])}; give another file")
    return rows
