"""The commands that look at what is there. Every import that costs time is inside the command that needs it."""

import argparse
import os
import socket
import sys

from topotune.commands.sites import data_folder, store_of, studies_folder
from topotune.config import check_setting
from topotune.errors import InputError, unknown
from topotune.files import as_json

MOST = 65536  # channels that are drawn or printed


def plan(options: argparse.Namespace) -> None:
    from topotune.followup.perturbations import check_asked
    from topotune.models import READINGS
    from topotune.plan import calibrate, plan_text
    from topotune.plan import plan as plan_of
    from topotune.search.checks import check_layers, check_own_data
    from topotune.search.study_file import load_study, parse_override

    file, data = load_study(options.target, dict(map(parse_override, options.set))), data_folder(options)
    check_own_data(file, data)
    check_asked(file.option("robustness", "perturbations"))
    if not {*READINGS, "convolutions"}.issuperset(file.choices("layers")):  # torch: seconds that names alone take
        check_layers(file)
    found = plan_of(file, data)
    timed = calibrate(file, data, found) if options.calibrate else None
    print(as_json(found | (timed or {})) if options.json else plan_text(found, timed))


def studies(options: argparse.Namespace) -> None:
    from topotune.show import studies as studies_in
    from topotune.show import studies_text

    root = studies_folder(options)
    print(as_json(studies_in(root)) if options.json else studies_text(root))


def show(options: argparse.Namespace) -> None:
    from topotune.folder import open_study
    from topotune.standing import standing, standing_text

    if options.top < 1:
        raise InputError(f"--top {options.top}: must be at least 1")
    asked = (open_study(options.target, studies_folder(options)), options.top, options.curves)
    print(as_json(standing(*asked)) if options.json else standing_text(*asked))


def figures(options: argparse.Namespace) -> None:
    """Pictures of a study's results."""
    from topotune.folder import open_study
    from topotune.report.paper import write_figures

    folder = open_study(options.target, studies_folder(options))
    out = options.out or folder.figures
    size = tuple(options.size) if options.size else None
    for path in write_figures(folder, out, options.style, size):
        print(path)


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
        from topotune.report import figures, position_figures

        with figures.looking():
            figures.save(
                position_figures.organisations({name: one.tolist() for name, one in places.items()}), options.png
            )
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


def check_data(options: argparse.Namespace) -> None:
    """What is there of data sets; without names, of all that are known, and of one's own."""
    from topotune.data import DATASETS
    from topotune.data.own import own_names

    _tell_of_data(options, options.names or [*DATASETS, *own_names(data_folder(options))])


def fetch_data(options: argparse.Namespace) -> None:
    from topotune.data.check import fetch

    for name in options.names:
        fetch(name, data_folder(options))
    _tell_of_data(options, options.names)


def _tell_of_data(options: argparse.Namespace, names: list[str]) -> None:
    """Print what is there.

    Raises:
        InputError: something is damaged, or named and absent.
    """
    from topotune.data.check import ABSENT, DAMAGED, check
    from topotune.show import data_text

    data = data_folder(options)
    if data and not data.is_dir():
        raise InputError(f"data folder {data} does not exist; give the folder that holds data sets with --data")
    found = [check(name, data) for name in names]
    print(as_json(found) if options.json else data_text(found), flush=True)
    bad = (DAMAGED, ABSENT) if options.names else (DAMAGED,)
    if wrong := [f"{one['dataset']} is {one['state']}: {one['problem']}" for one in found if one["state"] in bad]:
        raise InputError("; ".join(wrong))


def ui(options: argparse.Namespace) -> None:
    from topotune.tracking import default_store, ui_command

    studies = studies_folder(options)
    store = store_of(options, studies)
    if store == default_store(studies) and not (studies / "mlflow.db").exists():
        raise InputError(f"no MLflow data in {studies} yet: run a study, or give its folder with --studies")
    _check_free(options.host, options.port)
    command = ui_command(options.host, options.port)
    print(f"starting MLflow's pages on http://{options.host}:{options.port} (Ctrl-C ends them)", flush=True)
    os.execve(command[0], command, os.environ | {"MLFLOW_BACKEND_STORE_URI": store})


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


def sync(options: argparse.Namespace) -> None:
    """Send what waits; a study named here must be free, one of a whole folder may be at work."""
    from dataclasses import asdict

    from topotune.folder import list_studies, open_study
    from topotune.sync import check_sent, text
    from topotune.sync import sync as sync_all

    studies = studies_folder(options)
    store = store_of(options, studies)
    folders = [open_study(one, studies) for one in options.targets] or list_studies(studies)
    if not folders:
        raise InputError(f"no study in {studies}; give the studies' folder with --studies")
    found = sync_all(folders, store, lambda line: print(line, file=sys.stderr))
    print(as_json([asdict(one) for one in found]) if options.json else text(found), flush=True)
    check_sent(found, store)
    if options.targets and (busy := [one.study for one in found if one.busy]):
        raise InputError(f"{', '.join(busy)}: another process is working on it, and sends its records itself")
