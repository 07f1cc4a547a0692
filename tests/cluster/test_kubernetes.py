"""The Kubernetes files: by Kubernetes' schemas, by KubeRay's, and by what a careful cluster asks of pods."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.cluster.support import CLUSTER, ROOT

FOLDER = CLUSTER / "kubernetes"
VERSION = "1.34"
KUBERAY = json.loads((Path(__file__).parent / "data" / "kuberay.json").read_text(encoding="utf-8"))
DOCUMENTS: list[dict[str, Any]] = [
    document
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


def find(kind: str, name: str | None = None) -> dict[str, Any]:
    (found,) = (one for one in DOCUMENTS if one["kind"] == kind and name in (None, one["metadata"].get("name")))
    return copy.deepcopy(found)


def templates(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of all pods that come of it."""
    spec = document["spec"].get("rayClusterSpec", document["spec"])
    if "headGroupSpec" in spec:
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            yield group["template"]
    elif "template" in spec:
        yield spec["template"]


def check(document: dict[str, Any]) -> None:
    """Raises where it would be refused, or is less careful than it can be."""
    if document["apiVersion"].startswith("ray.io/"):
        jsonschema.validate(document, KUBERAY)
        for template in templates(document):
            pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template}
            kubernetes_validate.validate(pod, VERSION, strict=True)
    else:
        kubernetes_validate.validate(document, VERSION, strict=True)
    assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "topotune"
    if "spec" in document:
        for template in templates(document):
            _careful(template["spec"])


def _careful(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "MLFLOW_PORT would be the service's address"
    user = pod["securityContext"]
    assert user["runAsNonRoot"] is True
    assert user["runAsUser"] > 0
    assert user["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert re.fullmatch(r".+:\d[\w.-]*", container["image"]), f"{container['image']}: without a version"
        assert {mount["name"] for mount in container["volumeMounts"]} >= {"tmp"}
        for variable in container.get("env", []):
            if re.search("PASSWORD|SECRET|TOKEN", variable["name"]):
                assert set(variable) == {"name", "valueFrom"}, f"{variable['name']} stands in the file"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: f"{one['kind']}-{one['metadata'].get('name', '')}")
def test_documents_hold(document: dict[str, Any]) -> None:
    check(document)


def _head(document: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = document["spec"]["headGroupSpec"]["template"]["spec"]
    return pod


BROKEN: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("RayCluster", lambda d: d.update(apiVersion="ray.io/v1alpha1")),
    ("RayCluster", lambda d: d["spec"].update(authOption={"mode": "token"})),
    ("RayCluster", lambda d: d["spec"]["authOptions"].update(mode="tokens")),
    ("RayCluster", lambda d: d["spec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0})),
    ("RayCluster", lambda d: d["spec"]["workerGroupSpecs"][0].pop("maxReplicas")),
    ("RayCluster", lambda d: d["spec"]["workerGroupSpecs"][0].update(replica=4)),
    ("RayCluster", lambda d: _head(d)["containers"][0].update(imagePullPolicies="Always")),
    ("RayCluster", lambda d: _head(d)["containers"][0].update(image="REGISTRY/topotune:latest")),
    ("RayCluster", lambda d: _head(d)["securityContext"].update(runAsUser=0)),
    ("RayCluster", lambda d: _head(d).pop("enableServiceLinks")),
    ("RayJob", lambda d: d["spec"].update(backoff=3)),
    ("RayJob", lambda d: d["spec"]["rayClusterSpec"].pop("headGroupSpec")),
    ("Deployment", lambda d: d["spec"].update(replicas="1")),
    ("Deployment", lambda d: d["spec"]["template"]["spec"]["containers"][0]["env"].append(
        {"name": "PGPASSWORD", "value": "secret"})),
    ("StatefulSet", lambda d: d["spec"]["template"]["spec"]["containers"][0].pop("securityContext")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_document_is_found(kind: str, change: Callable[[dict[str, Any]], Any]) -> None:
    document = find(kind)
    change(document)
    with pytest.raises((AssertionError, KeyError, jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(document)


def test_what_pods_name_is_there() -> None:
    """Claims and services are in these files; Secrets and ConfigMaps are made by the README's commands."""
    text, readme = json.dumps(DOCUMENTS), (FOLDER / "README.md").read_text(encoding="utf-8")
    claims = set(re.findall(r'"claimName": "([^"]+)"', text))
    assert claims == {"shared", "mlflow-artifacts"}
    for claim in claims:
        find("PersistentVolumeClaim", claim)
    for name, key in re.findall(r'"secretKeyRef": {"name": "([^"]+)", "key": "([^"]+)"}', text):
        assert f"secret generic {name} " in readme
        assert f'echo "{key}=$(' in readme
    for host in re.findall(r"http://([a-z]+):5000", text):
        find("Service", host)
    assert "secret generic mlflow-user" in readme
    assert "create configmap study" in readme
    assert not any(one["kind"] == "Secret" for one in DOCUMENTS)


def test_the_head_stays_and_workers_may_go() -> None:
    cluster = find("RayCluster")["spec"]
    spot, steady = cluster["workerGroupSpecs"]
    terms = "requiredDuringSchedulingIgnoredDuringExecution"

    def labels(pod: dict[str, Any], places: tuple[str, ...]) -> set[str]:
        chosen = pod["affinity"]["nodeAffinity"][terms]["nodeSelectorTerms"]
        rules = [rule for term in chosen for rule in term["matchExpressions"]]
        assert {rule["operator"] for rule in rules} <= set(places)
        return {rule["key"] for rule in rules}

    never, always = ("DoesNotExist", "NotIn"), ("Exists", "In")
    names = labels(cluster["headGroupSpec"]["template"]["spec"], never)
    assert len(names) == 3
    assert labels(spot["template"]["spec"], always) == labels(steady["template"]["spec"], never) == names
    for group in (spot, steady):
        assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]


def test_a_job_has_the_same_cluster_and_this_version_of_ray() -> None:
    cluster = find("RayCluster")["spec"]
    assert find("RayJob")["spec"]["rayClusterSpec"] == cluster
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins


def test_a_job_runs_a_command() -> None:
    from tests.cluster.support import check as check_command

    check_command(find("RayJob")["spec"]["entrypoint"].split())
