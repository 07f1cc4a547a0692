"""All that a report and its figures are made of: the files that the stages left in a study's folder."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from topotune.errors import InputError
from topotune.files import Row, read_json
from topotune.folder import StudyFolder, variant
from topotune.report import analysis, tables


@dataclass(frozen=True)
class ReportStudy:
    """What was asked (study.toml), what came of it (summary.json) and the rows of each stage's table, if any.

    looked_at: of analysis.csv, the last layer's; layers: all that are there. importances: setting -> its share in what
    the objective varies by, which only the search's own journal can say. apart: what tells it from another study of
    the same name.
    """

    folder: StudyFolder
    asked: dict[str, Any]
    summary: dict[str, Any]
    trials: list[Row]
    confirmed: list[Row]
    pruned: list[Row]
    tried: list[Row]
    looked_at: list[Row]
    layers: tuple[str, ...] = ()
    importances: dict[str, float] = field(default_factory=dict)
    apart: str = ""

    @classmethod
    def read(cls, folder: StudyFolder, importances: dict[str, float] | None = None) -> Self:
        """Read a study's folder.

        Raises:
            InputError: the study's own file is missing or broken, or its summary or a table is damaged.
        """
        asked, analysed = _read_toml(folder.study_file), folder.rows(folder.analysis_table)
        # what is compared, at any λ: along it, a plot shows each of them
        per = [name for name in asked.get("confirm", {}).get("per", []) if name != "weight"]
        return cls(
            folder=folder,
            asked=asked,
            summary=read_json(folder.summary) if folder.summary.exists() else {},
            trials=[row | {"topography": variant(row, per)} for row in folder.rows(folder.trials_table)],
            confirmed=folder.by_variant(folder.rows(folder.confirm_table)),
            pruned=folder.by_variant(folder.rows(folder.pruning_table)),
            tried=folder.by_variant(folder.rows(folder.robustness_table)),
            looked_at=folder.by_variant(analysis.studied(analysed)),
            layers=tuple(dict.fromkeys(row["layer"] for row in analysed)),
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
    def effects(self) -> list[Row]:
        """How the measures of what was looked at differ from the control's."""
        where = {(row["layer"], row["settings"]) for row in self.looked_at}
        return [one for one in self.summary.get("analysis") or [] if (one["layer"], one["settings"]) in where]

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
