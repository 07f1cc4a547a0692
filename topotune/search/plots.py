"""Optuna's own plots of a study, for its report. Whoever calls sets pyplot's style, and saves and closes."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.visualization import matplotlib as plots

from topotune.search import analysis
from topotune.search.analysis import complete_trials, importances, varied
from topotune.search.space import StudyFile

SLICES, SLICES_SIZE = 4, (8.0, 3.6)  # of the most important settings: more side by side cannot be read; inches
COLOURS = "viridis"  # they stay apart for readers with a colour vision deficiency, and in grey


class Plot(NamedTuple):
    """A figure, the words under it, and those that stand for it where it cannot be seen."""

    name: str
    figure: Any  # a matplotlib Figure
    caption: str
    description: str


class _View(NamedTuple):
    """What is drawn: a study, the file that asked for it, and the colour of each topography."""

    study: optuna.Study
    file: StudyFile
    colour_of: Callable[[str], str]

    @property
    def objectives(self) -> Sequence[str]:
        return self.file.objectives

    @property
    def target(self) -> dict[str, Any]:
        """The first objective, for the plots that have one only. With a target Optuna does not know what is best."""
        own = {"target": _first} if len(self.objectives) > 1 else {}
        return own | {"target_name": _words(self.objectives[0])}

    @property
    def colours(self) -> str:
        """Dark is good."""
        return COLOURS + "_r" * (self.study.directions[0] == StudyDirection.MAXIMIZE)


def draw(study: optuna.Study, file: StudyFile, colour_of: Callable[[str], str]) -> list[Plot]:
    """Every plot that there are enough trials for; constraints are judged as tables do."""
    view = _View(analysis.judged(study, file), file, colour_of)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        drawn = [plot(view) for plot in PLOTS]
    return [one for one in drawn if one]


def _first(trial: FrozenTrial) -> float:
    return float(trial.values[0])


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _history(view: _View) -> Plot | None:
    trials = complete_trials(view.study)
    if len(trials) < 2:
        return None
    axes: Any = plots.plot_optimization_history(view.study, **view.target)
    axes.xaxis.get_major_locator().set_params(integer=True)
    values, what = [_first(trial) for trial in trials], _words(view.objectives[0])
    return Plot(
        "search_history",
        _bare(axes),
        f"{what} of the complete trials, in the order in which they began, and the best so far.",
        f"Scatter plot of {what.lower()} by the number of the trial: {len(trials)} complete trials, "
        f"from {min(values):.4g} to {max(values):.4g}.",
    )


def _curves(view: _View) -> Plot | None:
    """Optuna has a colour a trial, and a legend of them all: here a colour a topography, as in the other figures."""
    trials = {f"Trial{trial.number}": trial for trial in view.study.get_trials(deepcopy=False)}
    if not any(len(trial.intermediate_values) > 1 for trial in trials.values()):
        return None
    axes: Any = plots.plot_intermediate_values(view.study)
    shown: dict[str, Any] = {}
    for line in axes.lines:
        topography = str(trials[line.get_label()].user_attrs.get("config", {}).get("topography", "unknown"))
        # what stands behind the last epoch are the accuracies of further seeds
        steps = [step for step in line.get_xdata() if step <= view.file.epochs]
        line.set_data(steps, line.get_ydata()[: len(steps)])
        line.set(color=view.colour_of(topography), linewidth=1, markersize=3, alpha=0.6)
        shown.setdefault(topography, line)
    axes.legend(shown.values(), shown, bbox_to_anchor=(1.02, 1), loc="upper left")
    axes.relim()
    axes.autoscale()
    axes.set(xlabel="Epoch", ylabel="Validation accuracy")
    count, first = len(axes.lines), " on their first seed" * (view.file.replicates > 1)
    return Plot(
        "search_curves",
        _bare(axes),
        f"Learning curves of all trials{first}: one that was pruned ends early.",
        f"Learning curves: validation accuracy by epoch, a line for each of {count} trials, coloured by topography.",
    )


def _importances(view: _View) -> Plot | None:
    shares = importances(view.study)
    if not shares or len(view.objectives) > 1:  # of one of several, Optuna draws what it takes to make it low
        return None
    axes: Any = plots.plot_param_importances(view.study, params=list(shares), target_name=_words(view.objectives[0]))
    axes.set(xlabel="Importance", ylabel="")
    axes.grid(visible=False, axis="y")
    for label in axes.texts:
        label.set_text(f" {label.get_text()}")  # off the bar's end
    axes.get_legend().remove()
    return Plot(
        "search_importances",
        _bare(axes),
        "How much of what the objective varies by is due to each setting (PED-ANOVA, over the complete trials); "
        "of few trials, a rough guess.",
        "Bars of importance: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items()) + ".",
    )


def _parallel(view: _View) -> Plot | None:
    names = varied(view.study)
    if not names:
        return None
    axes: Any = plots.plot_parallel_coordinate(view.study, params=names, **view.target)
    figure = _bare(axes)
    for lines in axes.collections:
        lines.set(cmap=view.colours, alpha=0.8)
    for label in axes.get_xticklabels():
        label.set(rotation=20, horizontalalignment="right")
    for own in figure.axes:
        own.grid(visible=False)
        own.tick_params(axis="y", which="minor", labelsize=7)
    return Plot(
        "search_parallel",
        figure,
        "A line a complete trial, through the values of its settings; the best are dark.",
        f"Parallel coordinates of {', '.join(view.objectives[:1])} and {', '.join(names)}.",
    )


def _slices(view: _View) -> Plot | None:
    names = list(importances(view.study) or varied(view.study))[:SLICES]
    if not names:
        return None
    found: Any = plots.plot_slice(view.study, params=names, **view.target)
    every = [found] if len(names) == 1 else list(found)
    for axes in every:
        for points in axes.collections:
            points.set(cmap=f"{COLOURS}_r")
        axes.tick_params(axis="x", which="both", labelrotation=45, labelsize=8)
    figure = _bare(*every)
    figure.set_size_inches(*SLICES_SIZE)
    return Plot(
        "search_slices",
        figure,
        "The complete trials by one setting each; later trials are dark.",
        f"Scatter plots of {view.objectives[0]} against {', '.join(names)}.",
    )


def _pareto(view: _View) -> Plot | None:
    if len(view.objectives) not in (2, 3) or len(complete_trials(view.study)) < 2:
        return None
    names = [_words(name) for name in view.objectives]
    axes: Any = plots.plot_pareto_front(view.study, target_names=names)
    return Plot(
        "search_pareto",
        _bare(axes),
        "The complete trials by their objectives; no trial is better than one of the Pareto front in all of them.",
        f"Scatter plot of {', '.join(view.objectives)}: {len(view.study.best_trials)} of the trials are the front.",
    )


PLOTS = (_history, _pareto, _curves, _importances, _slices, _parallel)


def _bare(*every: Any) -> Any:
    """The figure of some axes, without Optuna's titles: the page has its own words."""
    figure = every[0].figure
    figure.set_layout_engine("constrained")
    figure.suptitle("")
    for axes in every:
        for place in ("left", "center"):
            axes.set_title("", loc=place)
    return figure
