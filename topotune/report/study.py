"""All that a report and its figures are made of: the files that the stages left in a study's folder."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from topotune.errors import InputError
from topotune.files import Row, read_csv, read_json
from topotune.folder import StudyFolder
from topotune.report import analysis, tables


@dataclass(frozen=True)
class ReportStudy:
    """What was asked (study.toml), what came of it (summary.json) and the rows of each stage's table, if any.

    looked_at: of analysis.csv, the last layer's. importances: setting -> its share in what the objective varies by,
    which only the search's own journal can say. apart: what tells it from another study of the same name.
    """

    folder: StudyFolder
    asked: dict[str, Any]
    summary: dict[str, Any]
    trials: list[Row]
    confirmed: list[Row]
    pruned: list[Row]
    tried: list[Row]
    looked_at: list[Row]
    importances: dict[str, float] = field(default_factory=dict)
    apart: str = ""

    @classmethod
    def read(cls, folder: StudyFolder, importances: dict[str, float] | None = None) -> Self:
        """Read a study's folder.

        Raises:
            InputError: the study's own file is missing or broken, or its summary or a table is damaged.
        """
        return cls(
            folder=folder,
            asked=_read_toml(folder.study_file),
            summary=read_json(folder.summary) if folder.summary.exists() else {},
            trials=read_csv(folder.trials_table),
            confirmed=folder.by_variant(read_csv(folder.confirm_table)),
            pruned=folder.by_variant(folder.pruned()),
            tried=folder.by_variant(read_csv(folder.robustness_table)),
            looked_at=folder.by_variant(analysis.last_layer(read_csv(folder.analysis_table))),
            importances=importances or {},
        )

    @property
    def name(self) -> str:
        """As its own file has it, and what sets it apart, if it must be."""
        return str(self.asked.get("study", {}).get("name") or self.folder.name) + self.apart

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that all trials share."""
        own: dict[str, Any] = self.asked.get("fixed", {})
        return own

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that the search was for, the first one first."""
        metric = self.asked.get("objective", {}).get("metric", "validation_accuracy")
        return (metric,) if isinstance(metric, str) else tuple(metric)

    @property
    def topographies(self) -> list[str]:
        """Those that any row is of, the control first."""
        rows = (*self.trials, *self.confirmed, *self.pruned, *self.tried, *self.looked_at)
        return tables.in_order({str(row["topography"]) for row in rows if row["topography"]})

    def curves(self) -> dict[str, dict[str, tables.Curve]]:
        """For each way of pruning, in words: topography -> its curve."""
        ways = {way: tables.pruning_curves(rows) for way, rows in tables.pruning_ways(self.pruned).items()}
        return {way: curves for way, curves in ways.items() if curves}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid TOML ({error})") from None
