"""One study's part of a report: its words, tables and plots."""

import shlex
from typing import Any

from topotune.config import NONE
from topotune.report import (
    analysis,
    asked,
    comparison,
    cost,
    measures,
    methods,
    references,
    result_plots,
    robustness,
    search_plots,
    settings_plots,
    tables,
    unit_plots,
    wording,
)
from topotune.report.plot import Plot
from topotune.report.study import ReportStudy

# of the search, in the page's order
_SEARCH = {
    "pareto": search_plots.pareto_plot, "parallel": settings_plots.parallel_plot,
    "importances": settings_plots.importance_plot, "settings": settings_plots.settings_plot,
    "learning": search_plots.learning_plot, "history": search_plots.history_plot,
}  # fmt: skip


def section(study: ReportStudy, prefix: str = "") -> tuple[dict[str, Any], dict[str, Plot]]:
    """What the template fills one study's part with, and its plots by name. ``prefix`` begins every id and name."""
    plots = {f"{prefix}{name}": one for name, one in _plots(study).items()}
    confirmed = study.summary.get("confirm") or []
    told = {
        "name": study.name, "prefix": prefix, "argument": shlex.quote(study.folder.name),
        "description": str(study.asked.get("study", {}).get("description") or ""),
        "subject": comparison.subject(study),
        "search": [f"{prefix}{name}" for name in _SEARCH if f"{prefix}{name}" in plots],
        "units": [name for name in plots if name.startswith((f"{prefix}correlation", f"{prefix}map-"))],
        "maps": any(name.startswith(f"{prefix}map-") for name in plots),
        "pruned": [
            (way, f"{prefix}pruning-{number}", tables.pruning_table(own))
            for number, (way, own) in enumerate(study.curves().items(), start=1)
        ],
        "confirmed": tables.confirmed_table(confirmed), "paper": comparison.beside_paper(study),
        **_words(study), **_tables(study),
    }  # fmt: skip
    return told, plots


def _words(study: ReportStudy) -> dict[str, Any]:
    summary = study.summary
    counts = summary.get("trials") or tables.count_states(study.trials)
    confirmed = summary.get("confirm") or []
    ran = methods.Ran(
        confirmed=bool(confirmed), pruned=bool(study.pruned),
        tried=tuple(dict.fromkeys(str(row["perturbation"]) for row in study.tried)),
        analysed=tuple(dict.fromkeys(str(row["analysis"]) for row in study.looked_at)),
        settings=str(study.looked_at[0]["settings"]) if study.looked_at else "",
    )  # fmt: skip
    return {
        "headline": [wording.headline(confirmed), wording.pruning_headline(summary.get("pruning") or [])],
        "sentences": [
            wording.trials_sentence(counts), wording.best_sentence(summary.get("best_trial")),
            wording.checkpoint_sentence(summary.get("best_checkpoint")),
        ],
        "findings": _findings(summary),
        "where": wording.studied_sentence(study.looked_at, study.layers),
        "cost": [
            wording.trials_sentence(counts), cost.cost_sentence(cost.spent(study.folder, study.trials)),
            cost.followup_sentence(study.confirmed),
        ],
        "methods": methods.paragraphs(study.asked, _versions(summary), ran),
        "bibtex": references.bibtex(study.asked, ran),
    }  # fmt: skip


def _tables(study: ReportStudy) -> dict[str, Any]:
    board = tables.leaderboard(study.trials)
    return {
        "settings": asked.settings_table(study.asked),
        "method": asked.method_table(study.asked),
        "leaderboard": board,
        "board": wording.board_caption(study.asked.get("objective", {}), len(board.rows)),
        "areas": tables.pruning_summary(study.summary.get("pruning") or []),
        "robustness": robustness.table(study.summary.get("robustness") or []),
        "analysis": measures.table(study.looked_at, study.effects),
        "measures": measures.measures_told(study.looked_at),
        "similarity": measures.similarity_table(study.looked_at),
        "provenance": _provenance(study.summary),
        "models": tables.confirmed_models(study.confirmed),
    }


def _plots(study: ReportStudy) -> dict[str, Plot]:
    drawn: dict[str, Plot | None] = {"weight": search_plots.weight_plot(study)}
    drawn |= {name: draw(study) for name, draw in _SEARCH.items()}
    drawn["confirmed"] = result_plots.confirmed_plot(study)
    drawn["differences"] = result_plots.difference_plot([(study.name, study.summary.get("confirm") or [])])
    for number, (way, curves) in enumerate(study.curves().items(), start=1):
        drawn[f"pruning-{number}"] = result_plots.pruning_plot(study, way, curves)
    drawn["robustness"] = result_plots.robustness_plot(study)
    drawn["correlation"] = unit_plots.correlation_plot(study)
    maps = analysis.panels(study.folder, study.looked_at).values()
    for number, (key, panels) in enumerate((one for own in maps for one in own.items()), start=1):
        drawn[f"map-{number}"] = unit_plots.map_plot(key, panels)
    return {name: one for name, one in drawn.items() if one}


def _findings(summary: dict[str, Any]) -> list[str]:
    """A sentence for each confirmed topography, the one that the search preferred first."""
    preferred = (summary.get("best_trial") or {}).get("topography")
    confirmed = [one for one in summary.get("confirm") or [] if one["topography"] != NONE]
    rank = {name: place for place, name in enumerate(tables.in_order(one["topography"] for one in confirmed))}
    confirmed.sort(key=lambda one: (one["topography"] != preferred, rank[one["topography"]]))
    return [wording.finding(one) for one in confirmed]


def _versions(summary: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = (summary.get("provenance") or {}).get("versions") or {}
    return found


def _provenance(summary: dict[str, Any]) -> tables.Table:
    """Where the numbers come from: enough to make them again."""
    known = summary.get("provenance") or {}
    seeds = ", ".join(str(seed) for seed in known.get("confirm_seeds") or [])
    told = (
        ("Study hash", summary.get("study_hash")),
        ("Git commit", known.get("git_commit")),
        ("Data checksum", known.get("data_checksum")),
        ("Seed of the search", known.get("seed")),
        ("Seeds of the confirmation", seeds),
        ("Created", known.get("created")),
        *((f"Version of {name}", version) for name, version in sorted(_versions(summary).items())),
    )
    rows = tuple((name, "not recorded" if value in (None, "") else str(value)) for name, value in told)
    return tables.Table(("What", "Value"), rows, words=2)
