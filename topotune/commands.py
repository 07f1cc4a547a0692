"""What each command of the command line does. Every import that costs time is inside the command that needs it."""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from topotune.config import check_setting
from topotune.errors import InputError, unknown
from topotune.files import as_json

MOST = 65536  # channels that are drawn or printed


def train(options: argparse.Namespace) -> None:
    from topotune.config import TrialConfig
    from topotune.search.study_file import parse_override

    config, data = TrialConfig.from_dict(dict(map(parse_override, options.set)), where="--set"), _data(options)
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


def compact(options: argparse.Namespace) -> None:
    from topotune.followup.compact import CompactJob, check_export, compact_checkpoint, export_checkpoint
    from topotune.followup.pruning import Cut
    from topotune.show import compact_text

    if options.export:
        check_export(options.export)
    cut = Cut(options.proportion, options.criterion, options.scope)
    job = CompactJob(options.checkpoint, cut, options.out, _data(options), options.coupled)
    record = compact_checkpoint(job)
    if options.export:
        export_checkpoint(options.out, options.export)
    print(as_json(record) if options.json else compact_text(record))
    if not options.json:
        print(f"checkpoint: {options.out}" + (f"\nexported:   {options.export}" if options.export else ""))


def run(options: argparse.Namespace) -> None:
    with _new_session(options) as session:
        from topotune import stages

        stages.search(session)
        stages.confirm_best(session)
        stages.prune(session)
        if asked := session.file.option("robustness", "perturbations"):
            stages.robustness(session, asked)
        path = stages.report(session)
    print(f"report:  {path}\nbest:    {session.folder.best}\nMLflow:  {session.where_runs_are}")


def search(options: argparse.Namespace) -> None:
    with _new_session(options) as session:
        from topotune import stages

        stages.search(session)
    print(f"trials:  {session.folder.trials_table}\nnext:    topotune confirm {session.folder.path}")


def confirm(options: argparse.Namespace) -> None:
    with _old_session(options) as session:
        from topotune import stages

        stages.confirm_best(session)
    print(f"models:  {session.folder.confirm_table}\nnext:    topotune prune {session.folder.path}")


def prune(options: argparse.Namespace) -> None:
    with _old_session(options) as session:
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
    with _old_session(options) as session:
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
    measure_checkpoints(options.targets, names, _data(options), options.out, store, _say)
    print(f"curves:  {options.out}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report(options: argparse.Namespace) -> None:
    with _old_session(options) as session:
        from topotune import stages

        path = stages.report(session)
    print(f"report:  {path}")


def positions(options: argparse.Namespace) -> None:
    """Where an organisation puts so many channels, as a table or a picture."""
    from topotune.search.study_file import parse_override
    from topotune.topography import POSITIONS

    every = options.organisation == "all"
    if not every and options.organisation not in POSITIONS:
        raise unknown("organisation", options.organisation, (*POSITIONS, "all"))
    if not 1 <= options.channels <= MOST:
        raise InputError(f"{options.channels} channels: must be from 1 to {MOST}")
    if options.png and (options.png.suffix.lower() != ".png" or not options.png.parent.is_dir()):
        raise InputError(f"--png {options.png}: must be a file called .png in a folder that there is")
    given = dict(map(parse_override, options.set))
    known = sorted({option for one in POSITIONS.values() for option in one.options})
    for name, value in given.items():
        if name not in known:
            raise unknown("option", name, known, "--set")
        check_setting(name, value, "--set")
    from topotune.topography.positions import positions as positions_of  # torch

    names = list(POSITIONS) if every else [options.organisation]
    places = {}
    for name in names:
        own = {key: value for key, value in given.items() if not every or key in POSITIONS[name].options}
        places[name] = positions_of(name, options.channels, **own)
    if options.png:
        from topotune.report import figures

        figures.save(figures.organisations({name: one.tolist() for name, one in places.items()}), options.png)
        print(f"picture: {options.png}")
        return
    if options.json:
        found = [{"organisation": name, "positions": one.tolist()} for name, one in places.items()]
        print(as_json(found if every else found[0]))
        return
    for name, one in places.items():
        print(f"# {name}: channel, then its coordinates ({one.shape[1]})")
        for channel, place in enumerate(one.tolist()):
            print(channel, *(f"{coordinate:.6f}" for coordinate in place))


def plan(options: argparse.Namespace) -> None:
    from topotune.followup.perturbations import check_asked
    from topotune.search.checks import check_own_data
    from topotune.search.study_file import load_study, parse_override
    from topotune.show import plan as plan_of
    from topotune.show import plan_text

    file, data = load_study(options.target, dict(map(parse_override, options.set))), _data(options)
    check_own_data(file, data)
    check_asked(file.option("robustness", "perturbations"))
    found = plan_of(file, data)
    print(as_json(found) if options.json else plan_text(found))


def check_data(options: argparse.Namespace) -> None:
    """What is there of data sets; without names, of all that are known."""
    from topotune.data import DATASETS

    _tell_of_data(options, options.names or list(DATASETS))


def fetch_data(options: argparse.Namespace) -> None:
    from topotune.data.check import fetch

    for name in options.names:
        fetch(name, _data(options))
    _tell_of_data(options, options.names)


def _tell_of_data(options: argparse.Namespace, names: list[str]) -> None:
    """Print what is there.

    Raises:
        InputError: something is damaged, or named and absent.
    """
    from topotune.data.check import ABSENT, DAMAGED, check
    from topotune.show import data_text

    data = _data(options)
    if data and not data.is_dir():
        raise InputError(f"data folder {data} does not exist; give the folder that holds data sets with --data")
    found = [check(name, data) for name in names]
    print(as_json(found) if options.json else data_text(found), flush=True)
    bad = (DAMAGED, ABSENT) if options.names else (DAMAGED,)
    if wrong := [f"{one['dataset']} is {one['state']}: {one['problem']}" for one in found if one["state"] in bad]:
        raise InputError("; ".join(wrong))


def studies(options: argparse.Namespace) -> None:
    from topotune.show import studies as studies_in
    from topotune.show import studies_text

    root = _studies_folder(options)
    print(as_json(studies_in(root)) if options.json else studies_text(root))


def show(options: argparse.Namespace) -> None:
    from topotune.folder import open_study
    from topotune.standing import standing, standing_text

    if options.top < 1:
        raise InputError(f"--top {options.top}: must be at least 1")
    asked = (open_study(options.target, _studies_folder(options)), options.top, options.curves)
    print(as_json(standing(*asked)) if options.json else standing_text(*asked))


def ui(options: argparse.Namespace) -> None:
    from topotune.tracking import default_store, ui_command

    studies = _studies_folder(options)
    store = _store(options, studies)
    if store == default_store(studies) and not (studies / "mlflow.db").exists():
        raise InputError(f"no MLflow data in {studies} yet: run a study, or give its folder with --studies")
    _check_free(options.host, options.port)
    command = ui_command(options.host, options.port)
    print(f"starting MLflow's pages on http://{options.host}:{options.port} (Ctrl-C ends them)", flush=True)
    os.execve(command[0], command, os.environ | {"MLFLOW_BACKEND_STORE_URI": store})


def sync(options: argparse.Namespace) -> None:
    """Send what waits; a study named here must be free, one of a whole folder may be at work."""
    from dataclasses import asdict

    from topotune.folder import list_studies, open_study
    from topotune.sync import check_sent, text
    from topotune.sync import sync as sync_all

    studies = _studies_folder(options)
    store = _store(options, studies)
    folders = [open_study(one, studies) for one in options.targets] or list_studies(studies)
    if not folders:
        raise InputError(f"no study in {studies}; give the studies' folder with --studies")
    found = sync_all(folders, store, lambda line: print(line, file=sys.stderr))
    print(as_json([asdict(one) for one in found]) if options.json else text(found), flush=True)
    check_sent(found, store)
    if options.targets and (busy := [one.study for one in found if one.busy]):
        raise InputError(f"{', '.join(busy)}: another process is working on it, and sends its records itself")


def _check_free(host: str, port: int) -> None:
    """Whether MLflow's pages can listen there.

    Raises:
        InputError: the port is in use, or is none.
    """
    if not 0 < port < 2**16:
        raise InputError(f"--port {port}: must be from 1 to 65535")
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: cannot listen there ({error}); give another port") from None


def _new_session(options: argparse.Namespace) -> Any:
    """A session on a study file."""
    from topotune.folder import StudyFolder
    from topotune.search.study_file import load_study

    studies = _studies_folder(options)
    file = load_study(options.target, _overrides(options))
    name = file.name
    if options.fresh:
        number = 2
        while (studies / name).exists():
            name, number = f"{file.name}-{number}", number + 1
        options.fresh_name = name
        file = load_study(options.target, _overrides(options) | {"study.name": name})
    return _session(options, file, StudyFolder(studies / name))


def _old_session(options: argparse.Namespace) -> Any:
    """A session on a study that was begun before."""
    from topotune.folder import open_study
    from topotune.search.study_file import load_study

    folder = open_study(options.target, _studies_folder(options))
    return _session(options, load_study(folder.study_file, _overrides(options)), folder)


def _session(options: argparse.Namespace, file: Any, folder: Any) -> Any:
    from topotune.followup.perturbations import check_asked

    check_asked(file.option("robustness", "perturbations"))
    data, store = _data(options), _store(options, folder.path.parent)
    from topotune.stages import Session, Site  # torch: seconds that wrong input need not wait for

    return Session(file, folder, Site(data, options.address, store, options.download))


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    from topotune.search.study_file import parse_override

    values = dict(map(parse_override, options.set))
    workers = getattr(options, "workers", None)
    return values if workers is None else values | {"workers": workers}


def _data(options: argparse.Namespace) -> Path | None:
    folder = options.data or os.environ.get("TOPOTUNE_DATA")
    return Path(folder).resolve() if folder else None


def _store(options: argparse.Namespace, studies: Path) -> str:
    from topotune.tracking import check_store, default_store

    if options.mlflow:
        return check_store(options.mlflow)
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return check_store(given, "MLFLOW_TRACKING_URI") if given else default_store(studies)


def _studies_folder(options: argparse.Namespace) -> Path:
    """Where studies live. A submitted job's working folder is a copy that Ray deletes, so a job's are at home."""
    folder = options.studies or os.environ.get("TOPOTUNE_STUDIES")
    if folder:
        return Path(folder).resolve()
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return Path.home() / "topotune" / "studies"
    return Path("studies").resolve()
