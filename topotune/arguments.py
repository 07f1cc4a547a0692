"""What the command line takes: its commands and their options."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topotune import __version__, commands

Command = Callable[[argparse.Namespace], int | None]

_LOGGED = "; what comes of a checkpoint there is logged under its run, of others with this option"

_EPILOG = """\
Begin with:  topotune run search_spaces/digits.toml

Results go to standard output, progress and errors to standard error. Exit codes:
  0    it worked; for a stage with nothing left to do, too
  1    the machine failed: a full disk, a trial that diverged, a cluster that gave up
  2    the input was wrong: one line says which value, and what would be right
  130  stopped by Ctrl-C; 143: by SIGTERM. The same command goes on
  141  whoever read the output had enough, as head has
"""


def parser() -> argparse.ArgumentParser:
    """Of all of it; ``run`` in what it returns is the command's function."""
    top = argparse.ArgumentParser(
        prog="topotune",
        description="Distributed hyperparameter search for topographic neural networks.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    top.add_argument("--version", action="version", version=f"topotune {__version__}")
    parsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_stages(parsers)
    _add_submit(parsers)
    _add_followup(parsers)
    _add_analyze(parsers)
    _add_reading(parsers)
    _add_data(parsers)
    train = _command(
        parsers, "train", commands.train, "train one network; torch is all it needs",
        "topotune train --set dataset=digits --set topography=grid2d --set weight=0.1 --set epochs=5 --out runs/a",
    )  # fmt: skip
    train.add_argument("--out", type=Path, required=True, help="the run's folder; the same command again goes on")
    _data_options(train)
    _set_option(train, "a setting of the trial, as topotune.TrialConfig has them (may be repeated)")
    _add_compact(parsers)
    return top


def _add_compact(parsers: Any) -> None:
    compact = _command(
        parsers, "compact", commands.compact, "a pruned network made physically smaller, with the same outputs",
        "topotune compact studies/digits/best --proportion 0.62 --out runs/small",
    )  # fmt: skip
    compact.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, an MLflow URI, a state_dict's file")
    compact.add_argument("--proportion", type=float, required=True, help="of each layer's channels, from 0 to 1")
    compact.add_argument("--criterion", default="l2", help="which channels go: l2 (default), l1, random, neighbour")
    compact.add_argument("--scope", default="topographic", help="layers: topographic (default), or all convolutions")
    compact.add_argument("--out", type=Path, required=True, help="folder for the compact checkpoint")
    compact.add_argument("--export", type=Path, help="write it for other programs, too: FILE.pt2, or FILE.onnx")
    compact.add_argument("--coupled", action="store_true", help="compare with torch-pruning's structural pruning")
    compact.add_argument("--data", type=Path, help="folder of the data sets (default: TOPOTUNE_DATA)")
    _set_option(compact, "a setting of a plain state_dict, as dataset=cifar10 (may be repeated)")
    _studies_option(compact)
    _mlflow_option(compact, _LOGGED)
    compact.add_argument("--json", action="store_true", help="for programs")


def _add_stages(parsers: Any) -> None:
    file = {"metavar": "SPACE", "type": Path, "help": "a study file (TOML)"}
    study = {"metavar": "STUDY", "type": Path, "help": "a study's name or folder"}
    for name, run, target, words in (
        ("run", commands.run, file, "the whole study: search, confirm, prune, report"),
        ("search", commands.search, file, "search λ, topography and the rest"),
        ("confirm", commands.confirm, study, "train the best settings of each topography on several seeds; test"),
        ("report", commands.report, study, "write report.html from what there is; several studies share one page"),
    ):
        example = "search_spaces/digits.toml" if target is file else "digits"
        command = _command(parsers, name, run, words, f"topotune {name} {example} --studies ./studies")
        if name == "report":
            command.add_argument("targets", nargs="+", **target)  # type: ignore[arg-type]
            command.add_argument("--out", type=Path, help="the page (default: the study's report.html, or STUDIES')")
        else:
            command.add_argument("target", **target)  # type: ignore[arg-type]
        _studies_option(command)
        _data_options(command)
        _set_option(command, "a value in place of the file's: section.key, or a trial's setting (may be repeated)")
        _cluster_options(command)
        if target is file:
            command.add_argument("--workers", type=int, help="ranks a trial, in place of the file's")
            command.add_argument("--fresh", action="store_true", help="begin anew under another name: NAME-2, NAME-3 …")


def _add_submit(parsers: Any) -> None:
    submit = _command(
        parsers, "submit", commands.submit, "run a whole study as a job of a Ray cluster, and follow it",
        "topotune submit search_spaces/digits.toml --address http://HOST:8265 --studies /shared/studies",
    )  # fmt: skip
    submit.add_argument("target", metavar="SPACE", type=Path, nargs="?", help="a study file (TOML)")
    submit.add_argument("--address", help="the head's dashboard, http://HOST:8265 (default: RAY_API_SERVER_ADDRESS)")
    submit.add_argument(
        "--studies", type=Path, help="the studies' folder, the same on all nodes (default: ~/topotune/studies there)"
    )
    submit.add_argument("--data", type=Path, help="folder of the data sets there (default: TOPOTUNE_DATA there)")
    submit.add_argument("--download", action="store_true", help="fetch a data set that is not there")
    submit.add_argument("--mlflow", help="MLflow's store, as the cluster sees it (default: MLFLOW_TRACKING_URI there)")
    submit.add_argument("--workers", type=int, help="ranks a trial, in place of the file's")
    submit.add_argument("--fresh", action="store_true", help="begin anew under another name: NAME-2, NAME-3 …")
    submit.add_argument("--pip", action="store_true", help="let pip bring the nodes to the versions installed here")
    submit.add_argument("--detach", action="store_true", help="do not follow it")
    submit.add_argument("--follow", metavar="JOB", help="follow this job, which was submitted before")
    _set_option(submit, "as of run")


def _add_followup(parsers: Any) -> None:
    """The studies of trained models, which need not be a study's."""
    prune = _command(
        parsers, "prune", commands.prune, "prune the confirmed models, or any checkpoints, and test them",
        "topotune prune digits --set 'prune.criterion=[\"l2\", \"random\"]'",
    )  # fmt: skip
    tried = _command(
        parsers, "robustness", commands.robustness, "try trained models under noise, corruptions, attacks …",
        "topotune robustness digits --perturbations white,weight",
    )  # fmt: skip
    tried.add_argument(
        "--perturbations", metavar="NAMES", help="with commas between, or all (default: the study's, else a usual few)"
    )
    _models_options(prune, _LOGGED)
    _models_options(tried, _LOGGED)


def _models_options(parser: argparse.ArgumentParser, logged: str = "") -> None:
    """What every command has that takes a study's confirmed models or any checkpoints; ``logged``: what of these."""
    parser.add_argument(
        "targets", metavar="TARGET", nargs="+",
        help="a study's name or folder, for its confirmed models, which are spread over Ray; or checkpoints: folders, "
        "MLflow URIs, files of a state_dict, which this process takes one after the other",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="where the rows of checkpoints go")
    _studies_option(parser)
    _data_options(parser)
    _set_option(parser, "a value in place of the study file's; of a state_dict, its dataset=… (may be repeated)")
    _cluster_options(parser, logged)


def _add_analyze(parsers: Any) -> None:
    looked = _command(
        parsers, "analyze", commands.analyze, "look into trained models: maps, smoothness, tuning, expert units …",
        "topotune analyze digits --analyses correlation,moran",
    )  # fmt: skip
    looked.add_argument("--analyses", metavar="NAMES", default="all", help="with commas between (default: all)")
    looked.add_argument("--layers", metavar="NAMES", help="with commas between, or convolutions (default: the trial's)")
    looked.add_argument(
        "--topography", metavar="NAMES", help="where the units of controls would sit (default: as those they are "
        "compared with)"
    )  # fmt: skip
    looked.add_argument("--images", type=int, default=2000, help="of the test part, at most (default 2000; 0: all)")
    looked.add_argument(
        "--permutations", type=int, default=1000, help="of the positions, for the level of chance (default 1000)"
    )
    looked.add_argument("--seed", type=int, default=0, help="of the permutations (default 0)")
    looked.add_argument("--expert", type=float, default=0.9, help="AUROC from which on a unit is an expert (0.9)")
    _json_option(looked)
    _models_options(looked)


def _cluster_options(parser: argparse.ArgumentParser, logged: str = "") -> None:
    parser.add_argument("--address", help="a running Ray cluster (default: RAY_ADDRESS, else one started here)")
    _mlflow_option(parser, logged)


def _add_reading(parsers: Any) -> None:
    plan = _command(
        parsers, "plan", commands.plan, "what a study would do; trains nothing",
        "topotune plan search_spaces/mnist.toml",
    )  # fmt: skip
    plan.add_argument("target", metavar="SPACE", type=Path, help="a study file (TOML)")
    plan.add_argument("--data", type=Path, help="folder of your own data (default: TOPOTUNE_DATA)")
    _set_option(plan, "as of run")
    plan.add_argument("--calibrate", action="store_true", help="time a few steps of each model here, and tell hours")
    _json_option(plan)
    studies = _command(parsers, "studies", commands.studies, "list the studies", "topotune studies --studies ./studies")
    _studies_option(studies)
    _json_option(studies)
    show = _command(parsers, "show", commands.show, "a study's leaderboard and results", "topotune show digits --top 5")
    show.add_argument("target", metavar="STUDY", type=Path, help="a study's name or folder")
    show.add_argument("--top", type=int, default=10, help="how many trials (default 10)")
    _studies_option(show)
    show.add_argument("--curves", action="store_true", help="their validation accuracy by epoch too")
    _json_option(show)
    drawn = _command(
        parsers, "figures", commands.figures, "a study's figures as PDF and PNG",
        "topotune figures digits --style paper --out paper/figures",
    )  # fmt: skip
    drawn.add_argument("target", metavar="STUDY", type=Path, help="a study's name or folder")
    drawn.add_argument("--style", default="screen", help="screen (default), or paper: smaller, 300 dpi")
    drawn.add_argument(
        "--size",
        type=float,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="of one panel, in inches (default: the style's)",
    )
    drawn.add_argument("--out", type=Path, help="their folder (default: the study's figures/)")
    _studies_option(drawn)
    _add_positions(parsers)
    ui = _command(parsers, "ui", commands.ui, "MLflow's pages on the studies' store", "topotune ui --port 5001")
    _studies_option(ui)
    _mlflow_option(ui)
    ui.add_argument("--host", default="127.0.0.1", help="where it listens (default: loopback)")
    ui.add_argument("--port", type=int, default=5000, help="default 5000")
    sync = _command(
        parsers, "sync", commands.sync, "send MLflow what waits since its server was away; trains nothing",
        "topotune sync digits --mlflow http://HOST:5000",
    )  # fmt: skip
    sync.add_argument("targets", metavar="STUDY", type=Path, nargs="*", help="studies' names or folders (default: all)")
    _studies_option(sync)
    _mlflow_option(sync)
    sync.add_argument("--json", action="store_true", help="for programs")


def _add_data(parsers: Any) -> None:
    group = _command(
        parsers, "data", commands.check_data, "look at data sets, or fetch them",
        "topotune data check mnist --data DATA",
    )  # fmt: skip
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, run, number, words in (
        ("check", commands.check_data, "*", "what is there, whether it is whole, how many samples each part has"),
        ("fetch", commands.fetch_data, "+", "download what is missing, then check"),
    ):
        action = _command(actions, name, run, words, f"topotune data {name} mnist cifar10 --data DATA")
        action.add_argument("names", metavar="NAME", nargs=number, help="digits, mnist, … or your own: NAME.npz, NAME/")
        action.add_argument("--data", type=Path, help="folder of the data sets (default: TOPOTUNE_DATA)")
        _json_option(action)


def _add_positions(parsers: Any) -> None:
    places = _command(
        parsers, "positions", commands.positions, "where an organisation puts channels, as a table or a picture",
        "topotune positions grid2d 256 --png grid2d.png",
    )  # fmt: skip
    places.add_argument("organisation", metavar="ORGANISATION", help="grid2d, circle, … or all")
    places.add_argument("channels", metavar="CHANNELS", type=int, help="how many")
    form = places.add_mutually_exclusive_group()
    form.add_argument("--png", type=Path, help="draw them into this file")
    _json_option(form)
    _set_option(places, "an option of the organisation: grid_divisor, radius, nested_factor")


def _command(parsers: Any, name: str, run: Command, words: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = parsers.add_parser(
        name, help=words, description=words[0].upper() + words[1:] + ".", epilog=f"Example:  {example}"
    )
    parser.set_defaults(run=run)
    return parser


def _studies_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--studies", type=Path, help="the studies' folder (default: TOPOTUNE_STUDIES, else ./studies)")


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: TOPOTUNE_DATA)")
    parser.add_argument("--download", action="store_true", help="fetch a data set that is not there")


def _mlflow_option(parser: argparse.ArgumentParser, words: str = "") -> None:
    parser.add_argument(
        "--mlflow", help=f"MLflow's store (default: MLFLOW_TRACKING_URI, else STUDIES/mlflow.db){words}"
    )


def _json_option(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document, for programs")


def _set_option(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=words)
