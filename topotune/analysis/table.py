"""The table of what was found, which goes on where it was left, and the maps beside it."""

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from topotune.analysis.analyses import ANALYSES, Settings
from topotune.analysis.measure import AnalysisJob, Outcome
from topotune.analysis.units import Array
from topotune.errors import InputError
from topotune.files import Row, read_csv, write_atomically, write_csv
from topotune.folder import ANALYSIS_COLUMNS
from topotune.topography import TOPOGRAPHIES

_PLACE = {name: place for place, name in enumerate((None, *TOPOGRAPHIES))}


class AnalysisTable:
    """Rows of ANALYSIS_COLUMNS in a CSV file, and ``HASH.npz`` files of maps in a folder of the same name.

    Args:
        path: the file; it need not be there.
        settings: rows of others are not taken for done.
        models: hashes, in the order in which they shall stand; others keep theirs, after them.

    Raises:
        InputError: the file is another table.
    """

    def __init__(self, path: Path, settings: Settings, models: Sequence[str]) -> None:
        self.path, self.settings = path, settings
        self.rows = read_csv(path)
        if self.rows and tuple(self.rows[0]) != ANALYSIS_COLUMNS:
            columns = ", ".join(self.rows[0])
            raise InputError(f"{path}: is another table, with the columns {columns}; give another file with --out")
        hashes = dict.fromkeys((*models, *(row["config_hash"] for row in self.rows)))
        self._order = {config_hash: place for place, config_hash in enumerate(hashes)}

    def maps(self, config_hash: str) -> Path:
        """The file of one model's maps."""
        return self.path.with_suffix("") / f"{config_hash}.npz"

    def missing(
        self, config_hash: str, names: Iterable[str], layers: Sequence[str], views: Sequence[str]
    ) -> tuple[str, ...]:
        """Those of the analyses that some layer lacks, on some of the positions."""
        if not self.maps(config_hash).exists():
            return tuple(names)
        there = {
            (row["layer"], row["analysis"], row["positions"])
            for row in self.rows
            if row["config_hash"] == config_hash and row["settings"] == self.settings.words
        }
        wanted = {
            name: {(layer, name, view) for layer in layers for view in (views if ANALYSES[name].spatial else (None,))}
            for name in names
        }
        return tuple(name for name, own in wanted.items() if not own <= there)

    def keep(self, job: AnalysisJob, outcome: Outcome) -> None:
        """Take up what was found, in place of what was there of the same, and write maps and table."""
        own = outcome.config.hash

        def stale(row: Row) -> bool:
            same = row["config_hash"] == own and row["layer"] in job.layers and row["analysis"] in job.names
            again = row["positions"] is None or row["positions"] in job.views
            return same and (again or row["settings"] != self.settings.words)

        write_maps(self.maps(own), outcome.maps)
        self.rows = [row for row in self.rows if not stale(row)]
        self.add(outcome.rows)

    def keep_pairs(self, rows: Sequence[Row]) -> None:
        """Take up how similar models are, in place of what was there of the same two and layer."""
        again = {pair_of(row) for row in rows}
        self.rows = [row for row in self.rows if row["other"] is None or pair_of(row) not in again]
        self.add(rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows, and write the table."""
        self.rows += rows
        ranks, layers = {name: rank for rank, name in enumerate(ANALYSES)}, dict[str, int]()
        for row in self.rows:
            self._order.setdefault(row["config_hash"], len(self._order))
            layers.setdefault(row["layer"], len(layers))

        def key(row: Row) -> tuple[int, ...]:
            own = self._order[row["config_hash"]], layers[row["layer"]], ranks[row["analysis"]]
            return *own, _PLACE[row["positions"]]

        self.rows.sort(key=key)  # measures stay in order
        write_csv(self.path, ANALYSIS_COLUMNS, self.rows)

    def forget(self, wanted: Container[str]) -> None:
        """Let go of models that are not among these."""
        self.rows = [row for row in self.rows if row["config_hash"] in wanted]


def pair_of(row: Row) -> tuple[frozenset[str], str]:
    """The two models that a row compares, in either order, and the layer."""
    return frozenset((row["config_hash"], row["other"])), row["layer"]


def write_maps(path: Path, maps: dict[str, Array]) -> None:
    """Write arrays by name, beside those of other names that the file holds already."""
    whole = read_maps(path) | maps

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **whole)

    write_atomically(path, write)


def read_maps(path: Path) -> dict[str, Array]:
    """The arrays of a file of maps, by ``layer/name``; none where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, and its model is analysed anew") from None
