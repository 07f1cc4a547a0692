"""The files of Ray's autoscaler: by Ray's own checks, and of what these let pass, by the clouds' own descriptions."""

import copy
import functools
import json
import re
import shlex
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from tests.cluster.support import CLUSTER, ray

CONFIGS = sorted(CLUSTER.glob("*/cluster.yaml"))
MACHINES = {"g6.2xlarge": {"CPU": 8, "GPU": 1}, "g2-standard-8": {"CPU": 8, "GPU": 1}}  # of workers


def load(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return config


def check(config: dict[str, Any]) -> None:
    """Raises where something is wrong with it, or refused."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    complete = prepare_config(copy.deepcopy(config))
    validate_config(complete)
    _docker(complete["docker"])
    for command in complete["head_start_ray_commands"] + complete["worker_start_ray_commands"]:
        for one in command.split("||"):
            tool, *words = shlex.split(one)
            assert tool == "ray", f"{command}: not a command of Ray"
            assert words[0] != "stop", "ray stop ends every Ray on a host"
            ray(words)
    # Ray's own defaults install what its image lacks, from the network
    assert complete["setup_commands"] + complete["head_setup_commands"] == []
    kind = config["provider"]["type"]
    for name, node in config.get("available_node_types", {}).items():
        unknown = set(node) - {"node_config", "resources", "min_workers", "max_workers"}
        assert not unknown, f"{name}: {unknown}"
        machine = node["node_config"]["InstanceType" if kind == "aws" else "machineType"]
        resources = {"CPU": 0} if name == config["head_node_type"] else MACHINES[machine]
        assert node["resources"] == resources, f"{name}: not {resources}, of a {machine}"
        (_aws if kind == "aws" else _gcp)(node["node_config"])


def _docker(docker: dict[str, Any]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    for name in ("--user", "--ulimit", "--cap-drop", "--security-opt"):
        parser.add_argument(name)
    for name in ("--volume", "--env", "--env-file"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--read-only", action="store_true")
    options = parser.parse_args(shlex.split(" ".join(docker["run_options"])))
    assert options.read_only, "docker: the root file system can be written to"
    assert {"/tmp", "/home/topotune", "/shared:/shared"} <= set(options.volume)
    assert (options.cap_drop, options.security_opt) == ("ALL", "no-new-privileges")
    assert re.fullmatch(r".+:\d[\w.-]*", docker["image"]), f"{docker['image']}: without a version"


def _aws(node: dict[str, Any]) -> None:
    """By EC2's own description; Ray fills in the subnets, and the number."""
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(node | {"MinCount": 1, "MaxCount": 1}, _run_instances())
    assert not report.has_errors(), report.generate_report()
    _enumerations(node, _run_instances())
    assert node.get("SecurityGroupIds"), "Ray's own security group lets everybody knock at port 22"


@functools.cache
def _run_instances() -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def _enumerations(value: Any, shape: Any) -> None:
    """Names that botocore itself leaves to the service: a market type, a volume type."""
    if shape.type_name == "structure":
        for name, part in value.items():
            _enumerations(part, shape.members[name])
    elif shape.type_name == "list":
        for part in value:
            _enumerations(part, shape.member)
    elif getattr(shape, "enum", None):
        assert value in shape.enum, f"{value} is no {shape.name}"


def _gcp(node: dict[str, Any]) -> None:
    """By Compute Engine's own description of an Instance."""
    _resource(node, "Instance", _compute())


@functools.cache
def _compute() -> Any:
    import googleapiclient

    path = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "compute.v1.json"
    return json.loads(path.read_text(encoding="utf-8"))["schemas"]


def _resource(value: Any, name: str, schemas: dict[str, Any]) -> None:
    assert isinstance(value, dict), f"{name}: not a mapping, but {value!r}"
    for key, part in value.items():
        known = schemas[name]["properties"]
        assert key in known, f"{name} has no {key}"
        _value(part, f"{name}.{key}", known[key], schemas)


def _value(value: Any, where: str, shape: dict[str, Any], schemas: dict[str, Any]) -> None:
    if "$ref" in shape:
        _resource(value, shape["$ref"], schemas)
    elif shape["type"] == "array":
        assert isinstance(value, list), where
        for part in value:
            _value(part, where, shape["items"], schemas)
    elif shape["type"] == "object":
        for key, part in value.items():
            _value(part, f"{where}.{key}", shape["properties"][key], schemas)
    else:
        number = shape.get("format") in ("int32", "int64")
        kind = int if number else {"boolean": bool, "string": str}[shape["type"]]
        assert isinstance(value, kind), f"{where}: {value!r} is no {kind.__name__}"
        assert value in shape.get("enum", [value]), f"{where}: no {value!r}"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_files_hold(path: Path) -> None:
    assert len(CONFIGS) == 3
    check(load(path))


def _spot(config: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = config["available_node_types"]["spot"]
    return node


BROKEN: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("aws", lambda c: c.update(idle_timeout=5)),
    ("aws", lambda c: c.update(max_workers=3)),
    ("aws", lambda c: c.update(head_node_type="haed")),
    ("aws", lambda c: c.pop("head_start_ray_commands")),  # Ray's default begins with ray stop
    ("aws", lambda c: c.pop("setup_commands")),
    ("aws", lambda c: c["head_start_ray_commands"].append("ray start --hed")),
    ("aws", lambda c: c["docker"]["run_options"].pop(0)),
    ("aws", lambda c: c["docker"].update(image="REGISTRY/topotune")),
    ("aws", lambda c: _spot(c).update(min_worker=1)),
    ("aws", lambda c: _spot(c)["resources"].update(GPU=2)),
    ("aws", lambda c: _spot(c)["resources"].update(GPU=0.5)),
    ("aws", lambda c: _spot(c)["node_config"].pop("SecurityGroupIds")),
    ("aws", lambda c: _spot(c)["node_config"].update(InstanceTyp="g6.2xlarge")),
    ("aws", lambda c: _spot(c)["node_config"]["InstanceMarketOptions"].update(MarketType="spott")),
    ("aws", lambda c: _spot(c)["node_config"]["BlockDeviceMappings"][0]["Ebs"].update(VolumeSize="150")),
    ("gcp", lambda c: _spot(c)["node_config"].update(scheduling=[{"preemptible": True}])),  # as Ray's default has it
    ("gcp", lambda c: _spot(c)["node_config"]["scheduling"].update(provisioningModel="CHEAP")),
    ("gcp", lambda c: _spot(c)["node_config"]["disks"][0]["initializeParams"].update(diskSize=150)),
    ("onprem", lambda c: c["provider"].update(worker_ips="10.0.0.2")),
    ("onprem", lambda c: c["auth"].update(user="ada")),
]  # fmt: skip


@pytest.mark.parametrize(("place", "change"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_found(place: str, change: Callable[[dict[str, Any]], Any]) -> None:
    config = load(CLUSTER / place / "cluster.yaml")
    change(config)
    with pytest.raises((AssertionError, ValueError, jsonschema.ValidationError, click.UsageError)):
        check(config)


def test_both_clouds_start_ray_alike() -> None:
    """And machines with ssh too; what differs between the places stands in their node types."""
    configs = [load(path) for path in CONFIGS]
    for key in ("head_start_ray_commands", "worker_start_ray_commands", "file_mounts"):
        assert configs[0][key] == configs[1][key] == configs[2][key]
