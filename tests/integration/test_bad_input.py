"""What is wrong with the input is said in one line that names it, with exit code 2; nothing half-done is left."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.integration.support import SPACE, by_key, free_port, one_error, rows, snapshot, tracked, write_space

# what is given with --set, and what the error must name: the value, the place, a way out
WRONG_VALUES = {
    "topography": ("topography=grid4d", "small.toml: [scientific]", "unknown topography 'grid4d'", "choose from none"),
    "one of several topographies": ('topography={choices=["none", "disc"]}', "unknown topography 'disc'", "grid2d"),
    "model": ("model=alexnet", "[fixed]", "unknown model 'alexnet'", "small_cnn, mnist_cnn, cifar_cnn, resnet18"),
    "dataset": ("dataset=imagenet", "[fixed]", "unknown dataset 'imagenet'", "digits, mnist, cifar10"),
    "loss": ("loss=hinge", "[fixed]", "unknown loss 'hinge'", "choose from channel"),
    "sampler": ("study.sampler=grids", "[study] sampler = 'grids'", "one of tpe, gp, cmaes"),
    "pruner": ("study.pruner=asha", "[study] pruner = 'asha'", "successive_halving, hyperband"),
    "section": ("budgets.trials=3", "unknown section 'budgets'", "--set budgets.trials", "budget"),
    "key": ("budget.trails=3", "[budget]", "unknown key 'trails'", "trials"),
    "setting": ("lambda=3", "--set", "unknown setting 'lambda'", "weight"),
    "setting in a section": ("fixed.lambda=3", "[fixed]", "unknown setting 'lambda'", "weight"),
    "negative": ("weight=-0.5", "[scientific]", "weight = -0.5", ">= 0"),
    "not a number": ("weight=nan", "[scientific]", "weight = nan", "must be finite"),
    "infinite": ("learning_rate=inf", "[nuisance]", "learning_rate = inf", "must be finite"),
    "bounds that are no numbers": ("weight={low=nan, high=1}", "[scientific]", "weight = nan", "must be finite"),
    "reversed bounds": ("weight={low=2, high=1}", "[scientific] weight", "low = 2.0", "less than high = 1.0"),
    "logarithm of nothing": ("weight={low=0, high=1, log=true}", "[scientific] weight", "low = 0.0", "more than 0"),
    "half a range": ("weight={low=1}", "[scientific] weight", "{low = …, high = …, log = true, step = …}"),
    "no choice": ("topography={choices=[]}", "[scientific] topography", "choices = []", "at least one value"),
    "the same choice twice": ('topography={choices=["line","line"]}', "[scientific] topography", "twice"),
    "words for a number": ("epochs=many", "[fixed]", "epochs = 'many'", "an integer"),
    "a fraction of an epoch": ("epochs=1.5", "[fixed]", "epochs = 1.5", "an integer"),
    "true for an integer": ("epochs=true", "[fixed]", "epochs = True", "an integer"),
    "true for a count": ("budget.trials=true", "[budget] trials = True", "an integer >= 1"),
    "no trials": ("budget.trials=0", "[budget] trials = 0", "an integer >= 1"),
    "a folder within the name": ('study.name="a/b"', "[study] name = 'a/b'", "letters, digits"),
    "a folder above": ('study.name=".."', "[study] name = '..'", "letters, digits"),
    "no name": ('study.name=""', "[study] name = ''", "letters, digits"),
    "no equals sign": ("epochs", "--set epochs", "key=value"),
    "no key": ("=3", "--set =3", "key=value"),
    "a proportion above all": ("prune.proportions=[0, 2]", "[prune] proportions = [0, 2]", "from 0 to 1"),
    "batches greater than the data": ("batch_size=5000", "batch_size = 5000", "1077 training images of 'digits'"),
    "batches smaller than the gang": ("workers=40", "batch_size 64", "40 workers"),
    "a gang to be searched": ("workers={low=1, high=2}", "workers cannot be searched", "the same resources"),
    "a layer that there is not": ("layers=foo", "layers = 'foo'", "no layer matches 'foo'", "conv1, conv2"),
    "a threshold for nothing": ("sampler.n_startup_trials=-1", "[sampler] n_startup_trials = -1", ">= 0"),
    "rungs above the last epoch": ("budget.min_epochs=7", "[budget] min_epochs = 7", "6 epochs"),
}


@pytest.mark.parametrize("given", WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_a_wrong_value_is_named(cli: Cli, given: tuple[str, ...]) -> None:
    space = write_space(cli.cwd)
    before = snapshot(cli.cwd)
    one_error(cli("plan", space, "--set", given[0]), *given[1:])
    assert snapshot(cli.cwd) == before


@pytest.mark.parametrize("command", ["run", "search"])
def test_what_plan_refuses_is_refused_by_the_commands_that_train(cli: Cli, command: str) -> None:
    space = write_space(cli.cwd)
    one_error(cli(command, space, "--set", "topography=grid4d"), "[scientific]", "unknown topography 'grid4d'")
    assert list(cli.cwd.iterdir()) == [space]


BROKEN = {
    "missing": (None, "no such study file"),
    "a folder": ("folder", "cannot be read", "Is a directory"),
    "not UTF-8": (b"[study]\nname = \"\xff\"\n", "cannot be read", "utf-8"),
    "no TOML": (b"[study]\nname = \"x\"\ntrials 3\n", "not valid TOML", "line 3"),
    "no section": (b"trials = 3\n", "unknown section 'trials'", "choose from study"),
    "a value for a section": (b"budget = 3\n", "budget = 3", "must be a table: [budget]"),
    "twice the same key": (b"[budget]\ntrials = 1\ntrials = 2\n", "not valid TOML", "line 3"),
    "one setting in two sections": (b"[fixed]\nepochs = 1\n[nuisance]\nepochs = 2\n", "[fixed]", "[nuisance]", "keep"),
}  # fmt: skip


@pytest.mark.parametrize("given", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_study_file_is_named(cli: Cli, given: tuple[bytes | str | None, ...]) -> None:
    content, *needles = given
    path = cli.cwd / "broken.toml"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    before = snapshot(cli.cwd)
    one_error(cli("plan", path), str(path), *map(str, needles))
    assert snapshot(cli.cwd) == before


@pytest.mark.parametrize("command", ["show", "confirm", "prune", "report"])
def test_a_study_that_is_not_there_is_named(cli: Cli, command: str) -> None:
    begun(cli, "other")
    before = snapshot(cli.cwd)
    one_error(cli(command, "small"), "no study 'small'", str(cli.cwd / "studies"), "(there: other)")
    assert snapshot(cli.cwd) == before


def begun(cli: Cli, name: str = "small") -> Path:
    """A study of which there is only its file yet."""
    folder = cli.cwd / "studies" / name
    folder.mkdir(parents=True)
    (folder / "study.toml").write_text(SPACE.replace('"small"', f'"{name}"'), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_confirm_before_search_and_prune_before_confirm_say_what_comes_first(cli: Cli) -> None:
    folder = begun(cli)
    again = f"topotune search {folder / 'study.toml'}"
    one_error(cli("confirm", "small"), "'small' has no trial that can be confirmed", again)
    one_error(cli("prune", folder), "'small' has no confirmed models", "run: topotune confirm")
    assert not (folder / "confirm.csv").exists()
    assert not (folder / "pruning.csv").exists()


@pytest.mark.slow
def test_a_report_can_be_written_before_anything_has_run(cli: Cli) -> None:
    folder = begun(cli)
    done = cli("report", "small")
    assert done.returncode == 0, done.stderr
    assert "No trial has been run yet." in (folder / "report.html").read_text(encoding="utf-8")


MLFLOW = {"ftp": "ftp://host/runs", "a folder": "./mlruns", "a file": "file:///tmp/mlruns"}


@pytest.mark.parametrize("uri", MLFLOW.values(), ids=MLFLOW.keys())
def test_an_mlflow_store_that_cannot_be_is_named(cli: Cli, uri: str) -> None:
    space = write_space(cli.cwd)
    one_error(cli("search", space, "--mlflow", uri), f"--mlflow {uri}", "sqlite, http")
    assert list(cli.cwd.iterdir()) == [space]


@pytest.mark.parametrize("data", [None, pytest.param("nowhere", marks=pytest.mark.slow)])
def test_a_study_whose_data_is_not_there_does_not_begin(cli: Cli, data: str | None) -> None:
    space = write_space(cli.cwd)
    words = ["--set", "dataset=mnist", *(["--data", data] if data else [])]
    needles = [str(cli.cwd / data), "does not exist"] if data else ["--data FOLDER", "TOPOTUNE_DATA"]
    one_error(cli("search", space, *words), "'mnist'", *needles)
    assert not snapshot(cli.cwd / "studies")


@pytest.mark.parametrize("how", ["missing", "altered", pytest.param("truncated", marks=pytest.mark.slow)])
def test_a_damaged_data_file_is_named(cli: Cli, real_data: Path, how: str) -> None:
    there, here = real_data / "MNIST" / "raw", cli.cwd / "data" / "MNIST" / "raw"
    here.mkdir(parents=True)
    (here / "train-images-idx3-ubyte").symlink_to(there / "train-images-idx3-ubyte")
    damaged, content = here / "train-labels-idx1-ubyte", (there / "train-labels-idx1-ubyte").read_bytes()
    if how == "truncated":
        damaged.write_bytes(content[:-1])
    elif how == "altered":
        damaged.write_bytes(content[:999] + bytes([content[999] ^ 1]) + content[1000:])
    space = write_space(cli.cwd)
    words = ("--set", "dataset=mnist", "--set", "model=mnist_cnn", "--data", "data")
    needles = ("is missing", "--download") if how == "missing" else ("truncated or altered", "MD5")
    one_error(cli("search", space, *words), str(damaged), *needles)
    assert not snapshot(cli.cwd / "studies")


def test_a_file_in_place_of_the_studies_is_named(cli: Cli) -> None:
    space = write_space(cli.cwd)
    (cli.cwd / "studies").write_text("mine", encoding="utf-8")
    one_error(cli("search", space), f"--studies {cli.cwd / 'studies'}: no folder can be made there (File exists)")
    assert (cli.cwd / "studies").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_a_studies_folder_that_cannot_be_made_is_named(cli: Cli) -> None:
    # /proc refuses root too
    wanted = "--studies /proc/topotune: no folder can be made there"
    one_error(cli("search", write_space(cli.cwd), "--studies", "/proc/topotune"), wanted)


@pytest.mark.parametrize("scheme", ["", pytest.param("ray://", marks=pytest.mark.slow)])
def test_where_no_cluster_answers_is_named_soon(cli: Cli, scheme: str) -> None:
    space, address, started = write_space(cli.cwd), f"{scheme}127.0.0.1:{free_port()}", time.monotonic()
    one_error(cli("search", space, "--address", address), f"no Ray cluster at '{address}'", "refused", "head's address")
    assert time.monotonic() - started < 30
    assert not snapshot(cli.cwd / "studies")


TRAIN = {
    "words for a number": (["epochs=many"], "--set: epochs = 'many'", "an integer"),
    "setting": (["lambda=3"], "--set", "unknown setting 'lambda'", "weight"),
    "gang": (["workers=40", "batch_size=64"], "batch_size 64", "40 workers"),
    "no data": (["dataset=mnist"], "'mnist'", "--data FOLDER"),
}


@pytest.mark.parametrize("given", TRAIN.values(), ids=TRAIN.keys())
def test_train_names_a_wrong_value(cli: Cli, given: tuple[list[str] | str, ...]) -> None:
    settings, *needles = given
    words = [word for one in settings for word in ("--set", one)]
    one_error(cli("train", "--out", "run", *words), *map(str, needles))
    assert not {name for name in snapshot(cli.cwd) if name != "run/config.json"}


@pytest.fixture(scope="module")
def trained(ray_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint."""
    cli = Cli(ray_folder, tmp_path_factory.mktemp("train"))
    done = cli("train", "--out", "run", "--set", "epochs=1", "--set", "threads=1")
    assert done.returncode == 0, done.stderr
    return cli.cwd / "run"


def test_a_folder_that_holds_another_trial_is_left_alone(cli: Cli, trained: Path) -> None:
    before = snapshot(trained)
    refused = cli("train", "--out", trained, "--set", "epochs=1", "--set", "seed=1")
    one_error(refused, str(trained), "holds another trial", "differ in seed")
    assert snapshot(trained) == before


LOADING = """
import json, sys, topotune
found = []
for path in sys.argv[1:]:
    try:
        topotune.load_checkpoint(path)
        found.append(None)
    except topotune.InputError as error:
        found.append(str(error))
print(json.dumps(found))
"""


def test_a_checkpoint_that_does_not_load_is_named(cli: Cli, trained: Path) -> None:
    """In a process of its own, as a user would."""
    folders = {name: cli.cwd / name for name in ("missing", "empty", "untrained", "truncated", "swapped", "fine")}
    for name, folder in list(folders.items())[1:]:
        folder.mkdir()
        if name != "empty":
            (folder / "config.json").write_text((trained / "config.json").read_text())
            (folder / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    (folders["untrained"] / "model.safetensors").unlink()
    whole = (trained / "model.safetensors").read_bytes()
    (folders["truncated"] / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    config = json.loads((trained / "config.json").read_text()) | {"model": "resnet18"}
    (folders["swapped"] / "config.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", LOADING, *map(str, folders.values())], env=cli.env, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    said = dict(zip(folders, json.loads(done.stdout), strict=True))
    assert said.pop("fine") is None
    assert all(str(folders[name]) in text for name, text in said.items())
    assert "no such folder" in said["missing"]
    assert "config.json: no such file" in said["empty"]
    assert "holds no trained model" in said["untrained"]
    assert "truncated" in said["truncated"]
    assert "'small_cnn'" in said["swapped"]
    assert "'resnet18'" in said["swapped"]
    assert "do not belong together" in said["swapped"]


@pytest.mark.slow
def test_more_workers_than_the_cluster_has_can_be_mended(cli: Cli) -> None:
    """The way out that the message names works: the name is not bound to what could not begin."""
    space = write_space(cli.cwd)
    words = ("search", space, "--set", "batch_size=512", "--set", "epochs=1", "--set", "budget.trials=1")
    count = (os.cpu_count() or 1) + 1
    one_error(cli(*words, "--workers", count), f"workers = {count} with 1 CPU each", "lower workers")
    assert not snapshot(cli.cwd / "studies")
    done = cli(*words, "--workers", 1)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(cli: Cli, port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A list for an MLflow server's process; whatever it holds is ended."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for one in processes:
        os.killpg(one.pid, 15)
        one.wait(30)


@pytest.mark.slow
def test_an_mlflow_server_that_is_away_holds_nothing_up(
    cli: Cli, port: int, server: list[subprocess.Popen[bytes]]
) -> None:
    space, uri = write_space(cli.cwd), f"http://127.0.0.1:{port}"
    words = ("search", space, "--mlflow", uri, "--set", "budget.trials=4", "--set", "epochs=3")
    away = cli(*words)
    assert away.returncode == 0, away.stderr
    assert away.stderr.count(f"MLflow at {uri} does not take records") == 1
    assert "sent later" in away.stderr
    assert "Traceback" not in away.stderr
    table = rows(cli.cwd / "studies" / "small" / "trials.csv")
    assert len(table) == 4

    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{cli.cwd / 'server.db'}", "--artifacts-destination", "served"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server.append(subprocess.Popen(command, cwd=cli.cwd, env=cli.env, start_new_session=True, **silent))
    wait_until_it_answers(port)
    back = cli(*words)
    assert back.returncode == 0, back.stderr
    (line,) = back.stderr.splitlines()
    assert line.startswith("search: nothing to do, 4 of 4 trials have begun; ")
    runs = by_key(tracked(uri, "small")[1])
    assert runs.keys() == {"study", *(f"trial/{number}" for number in range(4))}
    for row in table:
        run = runs[f"trial/{row['id']}"]
        assert run.data.metrics["best_validation_accuracy"] == float(row["validation_accuracy"])
        assert run.info.status == {"complete": "FINISHED", "pruned": "KILLED"}[row["state"]]


def wait_until_it_answers(port: int) -> None:
    import http.client

    for _ in range(240):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.25)
        finally:
            connection.close()
    pytest.fail("the MLflow server did not start within a minute")
