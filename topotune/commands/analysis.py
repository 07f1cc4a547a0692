"""The command that looks into trained models. Every import that costs time is inside it."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from topotune.commands.sites import data_folder, old_session
from topotune.errors import InputError, unknown
from topotune.files import as_json


def analyze(options: argparse.Namespace) -> None:
    """Of a study's confirmed models, or of checkpoints, which need no study, no cluster and nothing but torch."""
    from topotune.analysis.analyses import Settings, named

    names = named(options.analyses)
    settings = Settings(options.images, options.permutations, options.seed, options.expert)
    organisations = _organisations(options.topography)
    of_checkpoints = _are_checkpoints(options)
    from topotune.analysis.models import Asked  # torch: seconds that wrong input need not wait for
    from topotune.show import analysis_text

    asked = Asked(names, options.layers or "", organisations, settings)
    rows, where = (_of_checkpoints if of_checkpoints else _of_study)(options, asked)
    print(as_json(rows) if options.json else f"{analysis_text(rows)}\n{where}")


def _are_checkpoints(options: argparse.Namespace) -> bool:
    """Whether the targets are checkpoints; if not, there is one target, a study.

    Raises:
        InputError: an option or a number of targets that is for the other kind.
    """
    from topotune.load import MLFLOW_URIS
    from topotune.training import CONFIG

    first = options.targets[0]
    if any(one.startswith(MLFLOW_URIS) or (Path(one) / CONFIG).is_file() for one in options.targets):
        if options.out is None:
            raise InputError(f"{first} is a checkpoint: give the file for its rows with --out FILE.csv")
        if options.set or options.download or options.address:
            raise InputError(f"{first} is a checkpoint: --set, --download and --address are for a study")
        return True
    if len(options.targets) > 1 or options.out:
        raise InputError(
            f"{', '.join(options.targets)}: --out and several targets are for checkpoints, folders that hold "
            "config.json or MLflow URIs; of a study, give its name alone"
        )
    return False


def _organisations(text: str | None) -> tuple[str, ...]:
    from topotune.topography import POSITIONS

    names = () if text is None else tuple(one.strip() for one in text.split(","))
    for name in names:
        if name not in POSITIONS:
            raise unknown("organisation", name, POSITIONS, "--topography")
        if names.count(name) > 1:
            raise InputError(f"--topography: {name!r} stands there twice")
    return names


def _of_checkpoints(options: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    from topotune.analysis.checkpoints import analyse_checkpoints

    store = options.mlflow or os.environ.get("MLFLOW_TRACKING_URI")
    rows = analyse_checkpoints(options.targets, asked, data_folder(options), options.out, store, _say)
    return rows, f"table:   {options.out}\nmaps:    {options.out.with_suffix('')}/"


def _of_study(options: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    options.target = Path(options.targets[0])
    with old_session(options) as session:
        from topotune import stages

        rows = stages.analyse(session, asked)
    return rows, f"table:   {session.folder.analysis_table}\nnext:    topotune report {session.folder.path}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
