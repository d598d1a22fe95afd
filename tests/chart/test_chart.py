"""The chart with the real Helm: what it says, what it refuses, and what it leaves on a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane import ControlPlane
from controlplane.client import ApiError
from controlplane.launcher import CommandError

pytestmark = [pytest.mark.cluster, pytest.mark.tools("helm")]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "switchyard"
IMAGE = "--set=image.repository=example.test/switchyard"
NAMESPACE = "chart-tests"
MINERS = "chart-tests-miners"
GOOD: tuple[str, ...] = (IMAGE, f"--set=miners.namespace={MINERS}")
CLUSTER_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


def rendered(control_plane: ControlPlane, *arguments: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    text = control_plane.helm("template", "farm", str(CHART), "--namespace", namespace, *arguments)
    return [document for document in yaml.safe_load_all(text) if document]


def the(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def refusal(control_plane: ControlPlane, *arguments: str) -> str:
    with pytest.raises(CommandError) as refused:
        rendered(control_plane, *arguments)
    return refused.value.stderr


def test_lint_finds_nothing(control_plane: ControlPlane) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in control_plane.helm("lint", "--strict", str(CHART))
    assert "0 chart(s) failed" in control_plane.helm("lint", "--strict", str(CHART), *GOOD)


def test_chart_brings_the_kinds_as_they_are() -> None:
    shipped = {path.name: path.read_text() for path in (CHART / "crds").iterdir()}
    assert shipped == {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}


def test_schema_knows_every_value_and_explains_it() -> None:
    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        assert schema["additionalProperties"] is False, path
        assert schema["properties"].keys() - {"global"} == values.keys(), path
        for name, value in values.items():
            known = schema["properties"][name]
            assert known["description"].endswith("."), f"{path}.{name}"
            if isinstance(value, dict) and "properties" in known:
                compare(known, value, f"{path}.{name}")

    compare(
        json.loads((CHART / "values.schema.json").read_text()), yaml.safe_load((CHART / "values.yaml").read_text()), ""
    )


def test_image_has_to_be_named(control_plane: ControlPlane) -> None:
    assert "image.repository: where is the operator's image?" in refusal(control_plane)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--set=operator.logLevel=LOUD", "at '/operator/logLevel': value must be one of 'DEBUG', 'INFO'"),
        ("--set=operator.planInterval=often", "at '/operator/planInterval': 'often' does not match pattern"),
        ("--set-json=operator.planInterval=60", "at '/operator/planInterval': got number, want string"),
        ("--set=miners.namespace=Miners", "at '/miners/namespace': 'Miners' does not match pattern"),
        ("--set=miners.creat=false", "at '/miners': additional properties 'creat' not allowed"),
        ("--set=replicas=2", "additional properties 'replicas' not allowed"),
        ("--set-json=image.tag=1.5", "at '/image/tag': got number, want string"),
        ("--set-json=resources.limits.memory=true", "at '/resources/limits/memory'"),
    ],
)
def test_wrong_values_are_refused_by_name(control_plane: ControlPlane, argument: str, told: str) -> None:
    assert told in refusal(control_plane, IMAGE, argument)


def test_values_reach_the_pod(control_plane: ControlPlane) -> None:
    documents = rendered(
        control_plane,
        *GOOD,
        "--set=image.tag=v9",
        "--set=image.pullSecrets[0].name=registry",
        "--set=operator.planInterval=5m",
        "--set=operator.logLevel=DEBUG",
        "--set=prices.volume.configMap.name=prices",
        "--set=nodeSelector.role=control",
        "--set=priorityClassName=system-cluster-critical",
        '--set-json=tolerations=[{"key": "a", "operator": "Exists"}]',
        "--set=podAnnotations.prometheus\\.io/scrape=yes",
    )
    template = the(documents, "Deployment")["spec"]["template"]
    pod, (container,) = template["spec"], template["spec"]["containers"]
    assert container["image"] == "example.test/switchyard:v9"
    assert {"--plan-interval=5m", "--log-level=DEBUG", f"--miners-namespace={MINERS}"} <= set(container["args"])
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["volumes"] == [{"name": "prices", "configMap": {"name": "prices"}}]
    assert container["volumeMounts"] == [{"name": "prices", "mountPath": "/prices", "readOnly": True}]
    assert pod["nodeSelector"] == {"role": "control"}
    assert pod["tolerations"] == [{"key": "a", "operator": "Exists"}]
    assert template["metadata"]["annotations"] == {"prometheus.io/scrape": "yes"}
    assert pod["priorityClassName"] == "system-cluster-critical"


def test_the_command_line_is_one_that_the_operator_takes(control_plane: ControlPlane) -> None:
    import argparse

    from switchyard.cli import run

    (container,) = the(rendered(control_plane, *GOOD), "Deployment")["spec"]["template"]["spec"]["containers"]
    command, *arguments = container["args"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    run.add_arguments(parser)
    taken = parser.parse_args(arguments)
    assert command == "run"
    assert taken.miners_namespace == MINERS
    assert taken.listen == ("0.0.0.0", container["ports"][0]["containerPort"])
    assert taken.plan_interval == 60


def test_pod_meets_the_strictest_standard(control_plane: ControlPlane) -> None:
    """A namespace that enforces `restricted` takes it."""
    api = control_plane.api
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create("/api/v1/namespaces", {"metadata": {"name": "chart-restricted", "labels": labels}})
    api.wait_until("an account", lambda: api.get("/api/v1/namespaces/chart-restricted/serviceaccounts/default"))
    template = the(rendered(control_plane, *GOOD), "Deployment")["spec"]["template"]
    pod = {"metadata": {"name": "operator"}, "spec": {**template["spec"], "serviceAccountName": "default"}}
    try:
        api.create("/api/v1/namespaces/chart-restricted/pods", pod)
    finally:
        api.delete("/api/v1/namespaces/chart-restricted")


def test_miners_namespace_is_made_only_where_it_is_not_there(control_plane: ControlPlane) -> None:
    def namespaces(*arguments: str) -> list[str]:
        documents = rendered(control_plane, IMAGE, *arguments)
        return [document["metadata"]["name"] for document in documents if document["kind"] == "Namespace"]

    assert namespaces() == ["switchyard-miners"]
    assert namespaces("--set=miners.create=false") == []
    assert namespaces(f"--set=miners.namespace={NAMESPACE}") == []


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane) -> Iterator[dict[str, Any]]:
    """The release, and what was in it after `helm install`."""
    control_plane.helm("install", "farm", str(CHART), "--namespace", NAMESPACE, "--create-namespace", *GOOD)
    yield {"before": {name: document["metadata"] for name, document in objects(control_plane).items()}}
    control_plane.helm("uninstall", "farm", "--namespace", NAMESPACE, "--ignore-not-found")
    for name in (NAMESPACE, MINERS):
        control_plane.api.delete(f"/api/v1/namespaces/{name}")


def objects(control_plane: ControlPlane) -> dict[str, dict[str, Any]]:
    """Everything of the release as the API server has it, by kind and name."""
    manifest = control_plane.helm("get", "manifest", "farm", "--namespace", NAMESPACE)
    found = json.loads(control_plane.kubectl("get", "-f", "-", "-o", "json", input=manifest))
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in found["items"]}


def test_install_is_accepted_whole(control_plane: ControlPlane, installed: dict[str, Any]) -> None:
    assert set(installed["before"]) == {
        f"Namespace/{MINERS}",
        "ServiceAccount/farm",
        "ClusterRole/farm",
        "ClusterRoleBinding/farm",
        "Role/farm",
        "Role/farm-memory",
        "RoleBinding/farm",
        "RoleBinding/farm-memory",
        "Service/farm",
        "Deployment/farm",
    }
    control_plane.kubectl(
        "wait",
        "--for=condition=Established",
        "--timeout=30s",
        *(f"crd/{path.stem}" for path in (ROOT / "crds").iterdir()),
    )
    replicas = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/farm"
    control_plane.api.wait_until(
        "the Deployment has its Pod", lambda: control_plane.api.get(replicas)["status"].get("updatedReplicas") == 1
    )


def test_notes_tell_what_comes_next(control_plane: ControlPlane, installed: dict[str, Any]) -> None:
    notes = control_plane.helm("get", "notes", "farm", "--namespace", NAMESPACE)
    assert f"kubectl -n {MINERS} create secret generic wallet-COIN" in notes
    assert "Set nodeSelector" in notes
    # What the notes tell people to type works.
    control_plane.kubectl("get", "switchyard", "-A")


def test_upgrade_with_the_same_values_changes_nothing(control_plane: ControlPlane, installed: dict[str, Any]) -> None:
    def versions() -> dict[str, int]:
        # Generation counts changes of the spec; roles have none, and their version moves with any write.
        return {
            name: document["metadata"].get("generation") or document["metadata"]["resourceVersion"]
            for name, document in objects(control_plane).items()
            if not name.startswith("Namespace/")
        }

    before = versions()
    control_plane.helm("upgrade", "farm", str(CHART), "--namespace", NAMESPACE, *GOOD)
    assert versions() == before
    control_plane.helm("upgrade", "farm", str(CHART), "--namespace", NAMESPACE, *GOOD, "--set=operator.logLevel=DEBUG")
    changed = {name for name, version in versions().items() if before[name] != version}
    assert changed == {"Deployment/farm"}


def test_uninstall_keeps_wallets_and_kinds_and_install_takes_them_up(
    control_plane: ControlPlane, installed: dict[str, Any]
) -> None:
    api = control_plane.api
    wallet = {"metadata": {"name": "wallet-kas"}, "stringData": {"address": "kept"}}
    api.create(f"/api/v1/namespaces/{MINERS}/secrets", wallet)
    uid = api.get(f"/api/v1/namespaces/{MINERS}")["metadata"]["uid"]

    control_plane.helm("uninstall", "farm", "--namespace", NAMESPACE)

    with pytest.raises(ApiError) as gone:
        api.get(f"{CLUSTER_ROLES}/farm")
    assert gone.value.status == 404
    assert api.get(f"/api/v1/namespaces/{MINERS}/secrets/wallet-kas")["metadata"]["name"] == "wallet-kas"
    control_plane.kubectl("get", *(f"crd/{path.stem}" for path in (ROOT / "crds").iterdir()))

    control_plane.helm("install", "farm", str(CHART), "--namespace", NAMESPACE, *GOOD)

    assert api.get(f"/api/v1/namespaces/{MINERS}")["metadata"]["uid"] == uid
    assert api.get(f"{CLUSTER_ROLES}/farm")
