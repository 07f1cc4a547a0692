"""The command line: parse, call one function. Every import that costs time is inside the command that needs it."""

import argparse
import json
import os
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topotune import __version__
from topotune.errors import InputError, StageError

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it worked, 2 when the input was wrong, 1 when the machine failed, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    try:
        options.run(options)
    except InputError as error:
        return _fail(str(error), 2)
    except StageError as error:
        return _fail(str(error), 1)
    except OSError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Ctrl-C left a library in the middle of something
            return _stopped(words, options)
        # a full disk, a folder that may not be written
        return _fail(f"{error}; nothing that was finished is lost, and the same command goes on", 1)
    except KeyboardInterrupt:
        return _stopped(words, options)
    return 0


def _stopped(words: Sequence[str], options: argparse.Namespace) -> int:
    again = _resume(words, options)
    print(f"\nstopped; nothing that was finished is lost. Go on with:\n  {again}", file=sys.stderr)
    return 130


def _fail(text: str, code: int) -> int:
    print(f"topotune: error: {' '.join(text.split())}", file=sys.stderr)
    return code


def _resume(words: Sequence[str], options: argparse.Namespace) -> str:
    """The command that goes on: the same one, but a study begun with --fresh keeps the name it got."""
    again = [word for word in words if word != "--fresh"]
    if getattr(options, "fresh_name", None):
        again += ["--set", f"study.name={options.fresh_name}"]
    return shlex.join(["topotune", *again])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="topotune",
        description="Distributed hyperparameter search for topographic neural networks.",
        epilog="Begin with:  topotune run search_spaces/digits.toml",
    )
    parser.add_argument("--version", action="version", version=f"topotune {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_stages(commands)
    _add_reading(commands)
    train = _command(
        commands, "train", _train, "train one network; torch is all it needs",
        "topotune train --set dataset=digits --set topography=grid2d --set weight=0.1 --set epochs=5 --out runs/a",
    )  # fmt: skip
    train.add_argument("--out", type=Path, required=True, help="the run's folder; the same command again goes on")
    _data_options(train)
    _set_option(train, "a setting of the trial, as topotune.TrialConfig has them (may be repeated)")
    return parser


def _add_stages(commands: Any) -> None:
    file = {"metavar": "SPACE", "type": Path, "help": "a study file (TOML)"}
    study = {"metavar": "STUDY", "type": Path, "help": "a study's name or folder"}
    for name, run, target, words in (
        ("run", _run, file, "the whole study: search, confirm, prune, report"),
        ("search", _search, file, "search λ, topography and the rest"),
        ("confirm", _confirm, study, "train the best settings of each topography on several seeds, and test them"),
        ("prune", _prune, study, "prune the confirmed models, and test them"),
        ("report", _report, study, "write report.html from what there is"),
    ):
        example = "search_spaces/digits.toml" if target is file else "digits"
        command = _command(commands, name, run, words, f"topotune {name} {example} --studies ./studies")
        command.add_argument("target", **target)  # type: ignore[arg-type]
        _studies_option(command)
        _data_options(command)
        _set_option(command, "a value in place of the file's: section.key, or a trial's setting (may be repeated)")
        command.add_argument("--address", help="a running Ray cluster (default: RAY_ADDRESS, else one started here)")
        command.add_argument("--mlflow", help="MLflow's store (default: MLFLOW_TRACKING_URI, else STUDIES/mlflow.db)")
        if target is file:
            command.add_argument("--workers", type=int, help="ranks a trial, in place of the file's")
            command.add_argument("--fresh", action="store_true", help="begin anew under another name: NAME-2, NAME-3 …")


def _add_reading(commands: Any) -> None:
    plan = _command(
        commands, "plan", _plan, "what a study would do; trains nothing", "topotune plan search_spaces/mnist.toml"
    )
    plan.add_argument("target", metavar="SPACE", type=Path, help="a study file (TOML)")
    _set_option(plan, "as of run")
    plan.add_argument("--json", action="store_true", help="for programs")
    studies = _command(commands, "studies", _studies, "list the studies", "topotune studies --studies ./studies")
    _studies_option(studies)
    studies.add_argument("--json", action="store_true", help="for programs")
    show = _command(commands, "show", _show, "a study's leaderboard and results", "topotune show digits --top 5")
    show.add_argument("target", metavar="STUDY", type=Path, help="a study's name or folder")
    show.add_argument("--top", type=int, default=10, help="how many trials (default 10)")
    _studies_option(show)
    show.add_argument("--json", action="store_true", help="for programs")
    ui = _command(commands, "ui", _ui, "MLflow's pages on the studies' store", "topotune ui --port 5001")
    _studies_option(ui)
    ui.add_argument("--mlflow", help="the store (default: MLFLOW_TRACKING_URI, else STUDIES/mlflow.db)")
    ui.add_argument("--host", default="127.0.0.1", help="where it listens (default: loopback)")
    ui.add_argument("--port", type=int, default=5000, help="default 5000")


def _command(commands: Any, name: str, run: Command, words: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=words, description=words[0].upper() + words[1:] + ".", epilog=f"Example:  {example}"
    )
    parser.set_defaults(run=run)
    return parser


def _studies_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--studies", type=Path, help="the studies' folder (default: TOPOTUNE_STUDIES, else ./studies)")


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: TOPOTUNE_DATA)")
    parser.add_argument("--download", action="store_true", help="fetch a data set that is not there")


def _set_option(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=words)


def _train(options: argparse.Namespace) -> None:
    from topotune.config import TrialConfig
    from topotune.search.study_file import parse_override

    config = TrialConfig.from_dict(dict(map(parse_override, options.set)), where="--set")
    from topotune.training.fit import train  # torch: seconds that a wrong setting need not wait for

    data = _data(options)
    if options.download:
        from topotune.data.splits import load_split

        load_split(config.dataset, "train", data, download=True)
    result = train(config, options.out, data, report=_print_epoch)
    print(f"best validation accuracy {result.validation_accuracy:.4f} in epoch {result.best_epoch}; {options.out}")


def _print_epoch(metrics: Any) -> None:
    print(
        f"epoch {metrics.epoch}: task loss {metrics.task_loss:.4f}, topographic loss {metrics.topographic_loss:.4f}, "
        f"validation accuracy {metrics.validation_accuracy:.4f} ({metrics.seconds:.1f} s)",
        flush=True,
    )


def _run(options: argparse.Namespace) -> None:
    with _new_session(options) as session:
        from topotune import stages

        stages.search(session)
        stages.confirm_best(session)
        stages.prune(session)
        path = stages.report(session)
    print(f"report:  {path}\nbest:    {session.folder.best}\nMLflow:  {session.where_runs_are}")


def _search(options: argparse.Namespace) -> None:
    with _new_session(options) as session:
        from topotune import stages

        stages.search(session)
    print(f"trials:  {session.folder.trials_table}\nnext:    topotune confirm {session.folder.path}")


def _confirm(options: argparse.Namespace) -> None:
    with _old_session(options) as session:
        from topotune import stages

        stages.confirm_best(session)
    print(f"models:  {session.folder.confirm_table}\nnext:    topotune prune {session.folder.path}")


def _prune(options: argparse.Namespace) -> None:
    with _old_session(options) as session:
        from topotune import stages

        stages.prune(session)
    print(f"curves:  {session.folder.pruning_table}\nnext:    topotune report {session.folder.path}")


def _report(options: argparse.Namespace) -> None:
    with _old_session(options) as session:
        from topotune import stages

        path = stages.report(session)
    print(f"report:  {path}")


def _plan(options: argparse.Namespace) -> None:
    from topotune.search.study_file import load_study, parse_override
    from topotune.show import plan, plan_text

    found = plan(load_study(options.target, dict(map(parse_override, options.set))))
    print(json.dumps(found, indent=2) if options.json else plan_text(found))


def _studies(options: argparse.Namespace) -> None:
    from topotune.show import studies, studies_text

    root = _studies_folder(options)
    print(json.dumps(studies(root), indent=2) if options.json else studies_text(root))


def _show(options: argparse.Namespace) -> None:
    from topotune.folder import open_study
    from topotune.show import standing, standing_text

    if options.top < 1:
        raise InputError(f"--top {options.top}: must be at least 1")
    folder = open_study(options.target, _studies_folder(options))
    print(json.dumps(standing(folder, options.top), indent=2) if options.json else standing_text(folder, options.top))


def _ui(options: argparse.Namespace) -> None:
    from topotune.tracking import default_store, ui_command

    studies = _studies_folder(options)
    store = _store(options, studies)
    if store == default_store(studies) and not (studies / "mlflow.db").exists():
        raise InputError(f"no MLflow data in {studies} yet: run a study, or give its folder with --studies")
    _check_free(options.host, options.port)
    command = ui_command(store, options.host, options.port)
    print(f"starting MLflow's pages on http://{options.host}:{options.port} (Ctrl-C ends them)", flush=True)
    os.execv(command[0], command)


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

    given = options.mlflow or os.environ.get("MLFLOW_TRACKING_URI")
    return check_store(given) if given else default_store(studies)


def _studies_folder(options: argparse.Namespace) -> Path:
    """Where studies live. A submitted job's working folder is a copy that Ray deletes, so a job's are at home."""
    folder = options.studies or os.environ.get("TOPOTUNE_STUDIES")
    if folder:
        return Path(folder).resolve()
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return Path.home() / "topotune" / "studies"
    return Path("studies").resolve()
