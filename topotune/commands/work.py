"""The commands that train and measure. Every import that costs time is inside the command that needs it."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topotune.commands.sites import data_folder, new_session, old_session
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
    with old_session(options) as session:
        from topotune import stages

        stages.prune(session)
    print(f"curves:  {session.folder.pruning_table}\nnext:    topotune report {session.folder.path}")


def robustness(options: argparse.Namespace) -> None:
    """Of a study's confirmed models, or of checkpoints, which need no study, no cluster and nothing but torch."""
    from topotune.followup.perturbations import named

    names = named(options.perturbations) if options.perturbations else []
    if _are_checkpoints(options.targets):
        _try_checkpoints(options, names)
        return
    if len(options.targets) > 1 or options.out:
        raise InputError(
            f"{', '.join(options.targets)}: --out and several targets are for checkpoints, folders that hold "
            "config.json or MLflow URIs; of a study, give its name alone"
        )
    options.target = Path(options.targets[0])
    with old_session(options) as session:
        from topotune import stages

        stages.robustness(session, names or session.file.option("robustness", "perturbations"))
    print(f"curves:  {session.folder.robustness_table}\nnext:    topotune report {session.folder.path}")


def _are_checkpoints(targets: Sequence[str]) -> bool:
    from topotune.load import MLFLOW_URIS
    from topotune.training import CONFIG

    return any(one.startswith(MLFLOW_URIS) or (Path(one) / CONFIG).is_file() for one in targets)


def _try_checkpoints(options: argparse.Namespace, names: list[str]) -> None:
    if options.out is None:
        raise InputError(f"{options.targets[0]} is a checkpoint: give the file for its rows with --out FILE.csv")
    if options.set or options.download or options.address:
        raise InputError(f"{options.targets[0]} is a checkpoint: --set, --download and --address are for a study")
    from topotune.followup.checkpoints import measure_checkpoints

    store = options.mlflow or os.environ.get("MLFLOW_TRACKING_URI")
    measure_checkpoints(options.targets, names, data_folder(options), options.out, store, _say)
    print(f"curves:  {options.out}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compact(options: argparse.Namespace) -> None:
    from topotune.followup.compact import CompactJob, check_export, compact_checkpoint, export_checkpoint
    from topotune.followup.pruning import Cut
    from topotune.show import compact_text

    if options.export:
        check_export(options.export)
    cut = Cut(options.proportion, options.criterion, options.scope)
    job = CompactJob(options.checkpoint, cut, options.out, data_folder(options), options.coupled)
    record = compact_checkpoint(job)
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
