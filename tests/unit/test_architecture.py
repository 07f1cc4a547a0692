"""Who imports whom, who owns which library, and how long things may get: read from the source, and seen at work."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import topotune

PACKAGE = Path(topotune.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# from the top down: each may import what stands below it; those of one line do not import one another
LAYERS = (
    {"__main__"},
    {"cli"},
    {"arguments"},
    {"commands"},
    {"standing"},
    {"show", "stages", "sync", "plan"},
    {"search", "followup", "analysis", "report"},
    {"load", "folder"},
    {"tracking", "progress", "provenance", "training"},
    {"config"},
    {"losses", "models", "data", "recipes"},
    {"topography"},
    {"files"},
    {"errors"},
)
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}
UNDER_TRAINING = {"training", "config", "recipes", "data", "losses", "models", "topography", "files", "errors"}
HEAVY = ("ray", "optuna", "mlflow", "matplotlib", "plotly", "jinja2", "rich", "psutil")

OWNERS = {
    "ray": {"search/adapter.py", "search/job.py", "search/trial.py", "search/runner.py"},
    "optuna": {
        f"search/{name}.py"
        for name in (
            "analysis",
            "parameters",
            "retention",
            "scheduler",
            "storage",
            "study",
            "table",
            "verdict",
            "warm_start",
        )
    },
    "mlflow": {"tracking/experiment.py", "tracking/registry.py", "tracking/sqlite.py"},
    "psutil": {"search/system.py"},
    "matplotlib": {"report/figures.py", "report/position_figures.py", "report/unit_figures.py"},
    "plotly": {"report/page.py"},
    "jinja2": {"report/page.py"},
    "rich": {"progress.py"},
    "statsmodels": {"followup/statistics.py"},
    "torch_pruning": {"followup/coupled.py"},
}


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _unit(path: Path) -> str:
    """The first-level module or package that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _nodes(tree: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """All nodes, nested ones too; without those that only a type checker reads, unless ``types``."""
    for node in ast.iter_child_nodes(tree):
        if types or not _for_types_only(node):
            yield node
            yield from _nodes(node, types=types)


def _imports(path: Path, *, types: bool = True) -> Iterator[str]:
    """Full names of what a file imports, on top or within a function."""
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), types=types):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}: a relative import"
            yield from (f"{node.module}.{one.name}" for one in node.names)


def _libraries(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in _imports(path)}


def test_every_file_has_a_place_in_the_layers() -> None:
    assert {_unit(path) for path in FILES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", [path for path in FILES if _name(path) != "__init__.py"], ids=_name)
def test_imports_go_down(path: Path) -> None:
    own = _unit(path)
    for name in _imports(path, types=False):
        parts = name.split(".")
        # topotune's own __init__ holds lazy names and the version
        if parts[0] == "topotune" and parts[1] != "__version__" and parts[1] != own:
            assert parts[1] in LEVEL, f"{_name(path)} imports {name}"
            assert LEVEL[parts[1]] > LEVEL[own], f"{_name(path)} imports {name}, which stands no lower"


def test_the_package_itself_imports_nothing_of_its_own_at_first() -> None:
    assert [name for name in _imports(PACKAGE / "__init__.py", types=False) if name.startswith("topotune")] == []


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_has_its_owners(library: str) -> None:
    assert {_name(path) for path in FILES if library in _libraries(path)} == OWNERS[library]


def test_torchvision_is_for_models() -> None:
    assert {_unit(path) for path in FILES if "torchvision" in _libraries(path)} == {"models"}


def test_training_and_what_is_under_it_need_torch_only() -> None:
    for path in FILES:
        if _unit(path) in UNDER_TRAINING:
            assert not _libraries(path) & set(HEAVY), _name(path)


def test_nothing_is_imported_by_a_string_behind_these_tests_back() -> None:
    """``import_module`` is for the package's lazy names only; tables name functions of the package."""
    users = {_name(path) for path in FILES if "importlib.import_module" in set(_imports(path))}
    assert users == {"__init__.py"}
    for path in FILES:
        assert "__import__" not in path.read_text(encoding="utf-8"), _name(path)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= 60, f"{_name(path)}: {node.name}"


BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is not to be imported")

sys.meta_path.insert(0, Blocker())
for name in {HEAVY!r}:  # the blocker works
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{{name}} could be imported")
"""


def _python(program: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TOPOTUNE_", "MLFLOW_"))}
    env |= {"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )


def test_train_runs_where_only_torch_is_installed(tmp_path: Path) -> None:
    program = BLOCKER + "from topotune.cli import main; sys.exit(main())"
    words = ("train", "--set", "epochs=1", "--set", "threads=1", "--set", "topography=circle", "--set", "weight=0.1")
    done = _python(program, *words, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("epoch 1: task loss ")
    names = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert names == {"config.json", "model.safetensors", "last/state.pt", "metrics.csv", "result.json"}


LOADED = "print(*sorted({name.partition('.')[0] for name in sys.modules}))"


@pytest.mark.parametrize(
    "program",
    [
        "import sys, topotune; topotune.InputError; topotune.TrialConfig; topotune.load_study;",
        "import sys\nfrom topotune.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    print()\n",
    ],
    ids=["import", "help"],
)
def test_a_quick_start_loads_nothing_heavy(program: str, tmp_path: Path) -> None:
    done = _python(program + LOADED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "topotune" in loaded
    assert not loaded & {"torch", "torchvision", "numpy", "scipy", "sklearn", *HEAVY}


def test_every_public_name_is_there() -> None:
    for name in topotune.__all__:
        assert getattr(topotune, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        topotune.nonsense  # noqa: B018
