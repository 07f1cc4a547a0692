"""The commands on trained models: a study's confirmed ones, or any checkpoints. Every import that costs time is inside
a command."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topotune.commands.sites import data_folder, old_session, overrides, store_of, studies_folder
from topotune.errors import InputError, unknown
from topotune.files import as_json


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


def analyze(options: argparse.Namespace) -> None:
    """Likewise: what their units represent."""
    from topotune.analysis.analyses import Settings, named

    names = named(options.analyses)
    settings = Settings(options.images, options.permutations, options.seed, options.expert)
    organisations = _organisations(options.topography)
    of_checkpoints = _are_checkpoints(options)
    from topotune.analysis.models import Asked  # torch: seconds that wrong input need not wait for
    from topotune.show import analysis_text

    asked = Asked(names, options.layers or "", organisations, settings)
    rows, where = (_analyse_checkpoints if of_checkpoints else _analyse_study)(options, asked)
    print(as_json(rows) if options.json else f"{analysis_text(rows)}\n{where}")


def compact(options: argparse.Namespace) -> None:
    from topotune.followup.compact import CompactJob, check_export, compact_checkpoint, export_checkpoint, log_compact
    from topotune.followup.lineage import Child, Source
    from topotune.followup.pruning import Cut
    from topotune.load import checkpoint_folder
    from topotune.show import compact_text

    if options.export:
        check_export(options.export)
    location, data, store = options.checkpoint, data_folder(options), _store(options, [options.checkpoint])
    settings = {"proportion": options.proportion, "criterion": options.criterion, "scope": options.scope}
    with checkpoint_folder(location, store, overrides(options), data) as folder:
        job = CompactJob(folder, Cut(**settings), options.out, data, options.coupled, location)
        record = compact_checkpoint(job)
        if options.export:
            export_checkpoint(options.out, options.export)
        with Child(Source(folder, location, store), "compact", settings, options.out / "mlflow", _say) as run:
            log_compact(job, record, options.export, run)
    print(as_json(record) if options.json else compact_text(record))
    if not options.json:
        print(f"checkpoint: {options.out}" + (f"\nexported:   {options.export}" if options.export else ""))


def _organisations(text: str | None) -> tuple[str, ...]:
    from topotune.topography import POSITIONS

    names = () if text is None else tuple(one.strip() for one in text.split(","))
    for name in names:
        if name not in POSITIONS:
            raise unknown("organisation", name, POSITIONS, "--topography")
        if names.count(name) > 1:
            raise InputError(f"--topography: {name!r} stands there twice")
    return names


def _analyse_checkpoints(options: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    given = _without_ways(options)
    from topotune.analysis.checkpoints import analyse_checkpoints

    rows = analyse_checkpoints(given, asked, _say)
    return rows, f"table:   {options.out}\nmaps:    {options.out.with_suffix('')}/"


def _analyse_study(options: argparse.Namespace, asked: Any) -> tuple[Any, str]:
    with old_session(options) as session:
        from topotune import stages

        rows = stages.analyse(session, asked)
    return rows, f"table:   {session.folder.analysis_table}\nnext:    topotune report {session.folder.path}"


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
    given = _without_ways(options)
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
    from topotune.load import Checkpoints

    store = _store(options, options.targets)
    given = Checkpoints(options.targets, options.out, data_folder(options), store, settings, bool(options.mlflow))
    return given, ways


def _without_ways(options: argparse.Namespace) -> Any:
    given, ways = _checkpoints(options)
    if ways:
        raise InputError(f"--set prune.{next(iter(ways))}=…: is for topotune prune")
    return given


def _store(options: argparse.Namespace, targets: Sequence[str]) -> str | None:
    """MLflow's store, where a checkpoint lies in it or --mlflow asks for it."""
    from topotune.load import MLFLOW_URIS

    if options.mlflow or any(one.startswith(MLFLOW_URIS) for one in targets):
        return store_of(options, studies_folder(options))
    return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
