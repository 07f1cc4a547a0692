"""The Dockerfile, the compose file and the shell scripts, by their linters, and by what these leave out."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from tests.cluster.support import CLUSTER, FILES, ROOT, SCRIPTS

BIN = Path(sys.executable).parent
DOCKERFILE = CLUSTER / "Dockerfile"
COMPOSE = CLUSTER / "mlflow" / "compose.yaml"
SCHEMA = jsonschema.Draft202012Validator(get_builtin_schema("vendor.compose-spec"))


def lint(*words: object) -> subprocess.CompletedProcess[str]:
    tool, *rest = map(str, words)
    return subprocess.run([BIN / tool, *rest], capture_output=True, text=True, timeout=120)


def test_the_dockerfile_holds() -> None:
    done = lint("hadolint", DOCKERFILE)
    assert done.returncode == 0, done.stdout


def test_a_broken_dockerfile_is_found(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(re.sub("FROM .*", "FROM python", DOCKERFILE.read_text(encoding="utf-8")), encoding="utf-8")
    assert "DL3006" in lint("hadolint", path).stdout


def test_the_image_is_of_this_project_and_not_roots() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE) == ["1000"]
    assert "useradd --uid 1000" in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(re.findall(r"\.\[(\w+)\]", text)) <= set(project["optional-dependencies"])
    for path in FILES:
        for version in re.findall(r"REGISTRY/topotune:([\w.-]+)", path.read_text(encoding="utf-8")):
            assert version == project["version"], path


def test_the_image_holds_what_it_copies_and_runs() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    kept = (CLUSTER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sources = [word for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert len(sources) >= 7
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in kept
    for path in FILES:
        for inside in re.findall(r"/opt/topotune/([\w./-]+)", path.read_text(encoding="utf-8")):
            assert (ROOT / inside).exists(), path
            assert any(inside.startswith(source) for source in sources), path


def check_compose(path: Path) -> None:
    compose: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    SCHEMA.validate(compose)
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert re.fullmatch(r".+:\d[\w.-]*", service["image"]), name
        assert "ports" not in service or name == "caddy"
        for key, value in service["environment"].items():
            secret = re.search("PASSWORD|SECRET|TOKEN", key)
            assert not secret or re.fullmatch(r"\$\{\w+:\?.+\}", value), f"{name}: {key} stands in the file"
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (path.parent / source).is_file(), f"{name}: {source}"


def test_the_compose_file_holds() -> None:
    check_compose(COMPOSE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("read_only: true", "read-only: true"),
        ("read_only: true", "read_only: false"),
        ("depends_on: [mlflow]", "depend_on: [mlflow]"),
        ("postgres:17.6-bookworm", "postgres"),
        ("${POSTGRES_PASSWORD:?in cluster/mlflow/.env}", "secret"),
        ("./Caddyfile:", "./Candyfile:"),
        ("networks: [inside]", 'ports: ["5000:5000"]'),
    ],
)
def test_a_broken_compose_file_is_found(old: str, new: str, tmp_path: Path) -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "compose.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    shutil.copy(COMPOSE.parent / "Caddyfile", tmp_path)
    with pytest.raises((AssertionError, KeyError, jsonschema.ValidationError)):
        check_compose(path)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_hold(path: Path) -> None:
    done = lint("shellcheck", "--enable", "all", "--exclude", "SC2250,SC2310,SC2312,SC2329", path)
    assert done.returncode == 0, done.stdout
    assert path.stat().st_mode & 0o111


def test_a_broken_script_is_found(tmp_path: Path) -> None:
    path = tmp_path / "head.sh"
    path.write_text((CLUSTER / "local" / "head.sh").read_text(encoding="utf-8").replace('"$PORT"', "$PROT"))
    assert "SC2086" in lint("shellcheck", path).stdout
