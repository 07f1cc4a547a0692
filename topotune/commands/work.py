"""The commands that train and measure. Every import that costs time is inside the command that needs it."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from topotune.commands.sites import data_folder, new_session, old_session, overrides
from topotune.errors import InputError
from topotune.files import as_json


def train(options: argparse.Namespace) -> None:
    from topotune.config import TrialConfig
    from topotune.search.study_file import parse_override

    config, data = TrialConfig.from_dict(dict(map(parse_override, options.set)), where="--set"), data_folder(options)
    from topotune.training.launch import train as train_one  # torch: seconds that a wrong setting need not wait for

    if options.download:
        from topotune.data.splits import load_split

        load_split(config.dataset, "train", data, download=True)
    result = train_one(config, options.out, data, report=_print_epoch)
    print(f"best validation accuracy {result.validation_accuracy:.4f} in epoch {result.best_epoch}; {options.out}")


def _print_epoch(metrics: Any) -> None:
    auc = "" if metrics.validation_roc_auc is None else f", ROC-AUC {metrics.validation_roc_auc:.4f}"
    print(
        f"epoch {metrics.epoch}: task loss {metrics.task_loss:.4f}, topographic loss {metrics.topographic_loss:.4f}, "
        f"validation accuracy {metrics.validation_accuracy:.4f}{auc} ({metrics.seconds:.1f} s)",
        flush=True,
    )


def run(options: argparse.Namespace) -> None:
    with new_session(options) as session:
        from topotune import stages

        stages.search(session)
        stages.confirm_best(session)
        stages.prune(session)
        if asked := session.file.option("robustness", "perturbations"):
            stages.robustness(session, asked)
        path = stages.report(session)
    print(f"report:  {path}\nbest:    {session.folder.best}\nMLflow:  {session.where_runs_are}")


def search(options: argparse.Namespace) -> None:
    with new_session(options) as session:
        from topotune import stages

        stages.search(session)
    print(f"trials:  {session.folder.trials_table}\nnext:    topotune confirm {session.folder.path}")


def confirm(options: argparse.Namespace) -> None:
    with old_session(options) as session:
        from topotune import stages

        stages.confirm_best(session)
    print(f"models:  {session.folder.confirm_table}\nnext:    topotune prune {session.folder.path}")


def prune(options: argparse.Namespace) -> None:
    """A study's confirmed models, or checkpoints, which need no study and no cluster."""
    if _are_checkpoints(options):
        _prune_checkpoints(options)
        return
    with old_session(options) as session:
        from topotune import stages

        stages.prune(session)
    print(f"curves:  {session.folder.pruning_table}\nnext:    topotune report {session.folder.path}")


def robustness(options: argparse.Namespace) -> None:
    """Likewise, under perturbations."""
    from topotune.followup.perturbations import named

    names = [] if options.perturbations is None else named(options.perturbations)
    if _are_checkpoints(options):
        _try_checkpoints(options, names)
        return
    with old_session(options) as session:
        from topotune import stages

        stages.robustness(session, names or session.file.option("robustness", "perturbations"))
    print(f"curves:  {session.folder.robustness_table}\nnext:    topotune report {session.folder.path}")


def _are_checkpoints(options: argparse.Namespace) -> bool:
    """Whether the targets are checkpoints; if not, there is one target, a study.

    Raises:
        InputError: there are several, or a file for the rows.
    """
    from topotune.load import MLFLOW_URIS, is_plain
    from topotune.training import CONFIG

    if any(is_plain(one) or one.startswith(MLFLOW_URIS) or (Path(one) / CONFIG).is_file() for one in options.targets):
        return True
    if len(options.targets) > 1 or options.out:
        raise InputError(
            f"{', '.join(options.targets)}: --out and several targets are for checkpoints: folders that hold "
            "config.json, files of a state_dict, MLflow URIs; of a study, give its name alone"
        )
    options.target = Path(options.targets[0])
    return False


def _prune_checkpoints(options: argparse.Namespace) -> None:
    from topotune.search.study_file import section_options

    given, ways = _checkpoints(options)
    asked = section_options("prune", ways, "--set")
    from topotune.followup.checkpoints import prune_checkpoints
    from topotune.followup.pruning import cuts_of

    prune_checkpoints(given, cuts_of(asked), _say)
    print(f"curves:  {options.out}")


def _try_checkpoints(options: argparse.Namespace, names: list[str]) -> None:
    given, ways = _checkpoints(options)
    if ways:
        raise InputError(f"--set prune.{next(iter(ways))}=…: is for topotune prune")
    from topotune.followup.checkpoints import measure_checkpoints

    measure_checkpoints(given, names, _say)
    print(f"curves:  {options.out}")


def _checkpoints(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The checkpoints, and what ``--set prune.…`` says; other settings are of a plain state_dict."""
    first = options.targets[0]
    if options.out is None:
        raise InputError(f"{first} is a checkpoint: give the file for its rows with --out FILE.csv")
    if options.download or options.address:
        raise InputError(f"{first} is a checkpoint: --download and --address are for a study")
    values = overrides(options)
    ways = {key.removeprefix("prune."): value for key, value in values.items() if key.startswith("prune.")}
    settings = {key: value for key, value in values.items() if not key.startswith("prune.")}
    from topotune.followup.checkpoints import Checkpoints

    return Checkpoints(options.targets, options.out, data_folder(options), _store(options), settings), ways


def _store(options: argparse.Namespace) -> str | None:
    """MLflow's store, if one is named."""
    return options.mlflow or os.environ.get("MLFLOW_TRACKING_URI")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compact(options: argparse.Namespace) -> None:
    from topotune.followup.compact import CompactJob, check_export, compact_checkpoint, export_checkpoint
    from topotune.followup.pruning import Cut
    from topotune.load import checkpoint_folder
    from topotune.show import compact_text

    if options.export:
        check_export(options.export)
    cut, data = Cut(options.proportion, options.criterion, options.scope), data_folder(options)
    with checkpoint_folder(options.checkpoint, _store(options), overrides(options), data) as folder:
        record = compact_checkpoint(CompactJob(folder, cut, options.out, data, options.coupled, options.checkpoint))
    if options.export:
        export_checkpoint(options.out, options.export)
    print(as_json(record) if options.json else compact_text(record))
    if not options.json:
        print(f"checkpoint: {options.out}" + (f"\nexported:   {options.export}" if options.export else ""))


def report(options: argparse.Namespace) -> None:
    with old_session(options) as session:
        from topotune import stages

        path = stages.report(session)
    print(f"report:  {path}")
