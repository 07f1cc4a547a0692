"""The commands that train and measure. Every import that costs time is inside the command that needs it."""

import argparse
from pathlib import Path
from typing import Any

from topotune.commands.sites import data_folder, new_session, old_session, studies_folder


def train(options: argparse.Namespace) -> None:
    from topotune.config import TrialConfig
    from topotune.search.study_file import parse_override
    from topotune.training import RESULT

    config, data = TrialConfig.from_dict(dict(map(parse_override, options.set)), where="--set"), data_folder(options)
    from topotune.training.launch import train as train_one  # torch: seconds that a wrong setting need not wait for

    if options.download:
        from topotune.data.splits import load_split

        load_split(config.dataset, "train", data, download=True)
    before = (options.out / RESULT).exists()
    result = train_one(config, options.out, data, report=_print_epoch)
    known = "; there was nothing to do" if before else ""
    best = f"best validation accuracy {result.validation_accuracy:.4f} in epoch {result.best_epoch}"
    print(f"{best}; {options.out}{known}")


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


def report(options: argparse.Namespace) -> None:
    """The page of one study, or of several beside each other."""
    if len(options.targets) > 1:
        path = _report_several(options)
    else:
        options.target = options.targets[0]
        with old_session(options) as session:
            from topotune import stages

            path = stages.report(session, options.out)
    print(f"report:  {path}")


def _report_several(options: argparse.Namespace) -> Path:
    from topotune.errors import InputError
    from topotune.folder import open_study

    if options.set:
        raise InputError(f"--set {options.set[0]}: is for the report of one study; here are {len(options.targets)}")
    studies = studies_folder(options)
    folders = [open_study(one, studies) for one in options.targets]
    paths = [folder.path for folder in folders]
    if twice := next((one for one in paths if paths.count(one) > 1), None):
        raise InputError(f"study {twice.name!r} is named twice; each of the studies that are compared must be another")
    from topotune.stages import report_several

    return report_several(folders, options.out or studies / "report.html")
