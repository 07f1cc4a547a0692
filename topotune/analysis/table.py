"""The table of what was found, which goes on where it was left, and the maps beside it."""

from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from topotune.analysis.analyses import ANALYSES, Settings
from topotune.analysis.measure import AnalysisJob, Outcome
from topotune.errors import InputError
from topotune.files import Row, check_rows, read_arrays, read_csv, write_arrays, write_csv
from topotune.folder import ANALYSIS_COLUMNS, ANALYSIS_NUMBERS
from topotune.topography import TOPOGRAPHIES

_PLACE = {name: place for place, name in enumerate((None, *TOPOGRAPHIES))}


class AnalysisTable:
    """Rows of ANALYSIS_COLUMNS in a CSV file, and ``WEIGHTS.npz`` files of maps in a folder of the same name.

    Args:
        path: the file; it need not be there.
        settings: rows of others are not taken for done.
        models: checksums of their weights, in the order in which they shall stand; others keep theirs, after them.
        layers: likewise, of the network.

    Raises:
        InputError: the file is another table, or damaged.
    """

    def __init__(self, path: Path, settings: Settings, models: Sequence[str], layers: Sequence[str]) -> None:
        self.path, self.settings = path, settings
        self.rows = read_csv(path)
        if self.rows and tuple(self.rows[0]) != ANALYSIS_COLUMNS:
            columns = ", ".join(self.rows[0])
            raise InputError(f"{path}: is another table, with the columns {columns}; give another file with --out")
        check_rows(path, self.rows, ANALYSIS_COLUMNS, ANALYSIS_NUMBERS)
        hashes = dict.fromkeys((*models, *(row["weights"] for row in self.rows)))
        self._order = {weights: place for place, weights in enumerate(hashes)}
        self._layers = {layer: place for place, layer in enumerate(layers)}

    def maps(self, weights: str) -> Path:
        """The file of one model's maps."""
        return self.path.with_suffix("") / f"{weights}.npz"

    def missing(
        self, weights: str, names: Iterable[str], layers: Sequence[str], views: Sequence[str]
    ) -> tuple[str, ...]:
        """Those of the analyses that some layer lacks, on some of the positions; all where there are no maps."""
        if not self._has_maps(weights):
            return tuple(names)
        there = {
            (row["layer"], row["analysis"], row["positions"])
            for row in self.rows
            if row["weights"] == weights and row["settings"] == self.settings.words
        }
        wanted = {
            name: {(layer, name, view) for layer in layers for view in (views if ANALYSES[name].spatial else (None,))}
            for name in names
        }
        return tuple(name for name, own in wanted.items() if not own <= there)

    def _has_maps(self, weights: str) -> bool:
        """Whether there is a file of maps; a damaged one is taken away."""
        try:
            return bool(read_arrays(self.maps(weights)))
        except InputError:
            self.maps(weights).unlink()
            return False

    def keep(self, job: AnalysisJob, outcome: Outcome) -> None:
        """Take up what was found, in place of what was there of the same, and write maps and table."""
        own = job.weights

        def stale(row: Row) -> bool:
            same = row["weights"] == own and row["layer"] in job.layers and row["analysis"] in job.names
            again = row["positions"] is None or row["positions"] in job.views
            return same and (again or row["settings"] != self.settings.words)

        path = self.maps(own)
        write_arrays(path, read_arrays(path) | outcome.maps)
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
        ranks = {name: rank for rank, name in enumerate(ANALYSES)}
        for row in self.rows:
            self._order.setdefault(row["weights"], len(self._order))
            self._layers.setdefault(row["layer"], len(self._layers))

        def key(row: Row) -> tuple[int, ...]:
            own = self._order[row["weights"]], self._layers[row["layer"]], ranks[row["analysis"]]
            return *own, _PLACE[row["positions"]]

        self.rows.sort(key=key)  # measures stay in order
        write_csv(self.path, ANALYSIS_COLUMNS, self.rows)

    def forget(self, wanted: Container[str]) -> None:
        """Let go of models that are not among these."""
        self.rows = [row for row in self.rows if row["weights"] in wanted]


def pair_of(row: Row) -> tuple[frozenset[str], str]:
    """The two models that a row compares, in either order, and the layer."""
    return frozenset((row["weights"], row["other"])), row["layer"]
