"""What the hand-over writes, before a real API server and scheduler: the lock, the miner, the gang."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

import handover_world as hw
from controlplane import nodes
from controlplane.client import ApiError
from controlplane.launcher import ControlPlane
from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import lock, pods
from switchyard.handover import record as rec

pytestmark = pytest.mark.cluster

_NAMESPACE = "handover-manifests"
_RIGS = ("handover-0000", "handover-0001")


@pytest.fixture(scope="module")
def farm(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    api = control_plane.api
    api.create("/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}})
    account = f"/api/v1/namespaces/{_NAMESPACE}/serviceaccounts/default"
    api.wait_until("the namespace's service account", lambda: api.get(account))
    control_plane.create_nodes(nodes.gpu_nodes(2, prefix="handover", gpus=6))
    yield control_plane
    # The namespace first, and wholly: nobody ends Pods on Nodes that are no more, and others count what is there.
    api.delete(f"/api/v1/namespaces/{_NAMESPACE}")

    def gone() -> bool:
        try:
            api.get(f"/api/v1/namespaces/{_NAMESPACE}")
        except ApiError as error:
            return error.status == 404
        return False

    api.wait_until("the namespace's end", gone)
    for rig in _RIGS:
        api.delete(f"/api/v1/nodes/{rig}")


def _node(body: dict[str, Any]) -> model.Node:
    metadata = body["metadata"]
    return dataclasses.replace(
        hw.World().nodes["r1"],
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        taints=tuple(
            model.Taint(key=taint["key"], value=taint.get("value", ""), effect=taint["effect"])
            for taint in body["spec"].get("taints", ())
        ),
    )


def _hold(farm: ControlPlane, rig: str, mode: model.Mode, claim: str = "") -> None:
    """The Node as a settled record wants it, by the patch that the machine would send."""
    path = f"/api/v1/nodes/{rig}"
    record = rec.Record(
        mode=mode,
        origin=mode,
        step=rec.Step.SETTLED,
        since=hw.T0,
        deadline=None,
        started=hw.T0,
        reason="Best",
        claim=claim,
    )
    while (patch := lock.patch(_node(farm.api.get(path)), record)) is not None:
        metadata = {**patch.body.get("metadata", {}), "resourceVersion": patch.resource_version, "uid": patch.uid}
        try:
            farm.api.patch(path, {**patch.body, "metadata": metadata})
        except ApiError as error:
            # KWOK writes heartbeats: a lock taken on what was read before is refused, as it should be.
            if error.status != 409:
                raise


def _create(farm: ControlPlane, create: cmd.Create) -> None:
    group = "api/v1" if create.ref.api_version == "v1" else f"apis/{create.ref.api_version}"
    # Without its owner, which nobody has created here: the garbage collector would end what nobody owns.
    metadata = {key: value for key, value in create.body["metadata"].items() if key != "ownerReferences"}
    farm.api.create(f"/{group}/namespaces/{_NAMESPACE}/{create.ref.plural}", {**create.body, "metadata": metadata})


def _running(farm: ControlPlane, *, role: str) -> list[str]:
    found = farm.api.get(f"/api/v1/namespaces/{_NAMESPACE}/pods", labelSelector=f"{names.LABEL_ROLE}={role}")["items"]
    return sorted(pod["spec"]["nodeName"] for pod in found if pod["status"].get("phase") == "Running")


def test_the_miner_comes_to_its_rig_once_the_lock_lets_it_in(farm: ControlPlane) -> None:
    settings = dataclasses.replace(hw.SETTINGS, miner_namespace=_NAMESPACE)
    _hold(farm, _RIGS[1], model.IDLE)
    node = _node(farm.api.get(f"/api/v1/nodes/{_RIGS[1]}"))
    rig = dataclasses.replace(hw.World().rig("r1"), name=_RIGS[1], node_name=_RIGS[1])
    create = pods.miner(rig=rig, node=node, coin=hw.coin(), started=hw.T0, settings=settings)
    _create(farm, create)
    path = f"/api/v1/namespaces/{_NAMESPACE}/pods/{create.ref.name}"

    def refused() -> bool:
        conditions = farm.api.get(path)["status"].get("conditions", [])
        return any(each.get("reason") == "Unschedulable" for each in conditions)

    farm.api.wait_until("the scheduler's refusal", refused)
    _hold(farm, _RIGS[1], hw.KAS)
    farm.api.wait_until("the miner", lambda: _running(farm, role="miner") == [_RIGS[1]])
    farm.api.delete(path)
    farm.api.wait_until("the miner's end", lambda: not _running(farm, role="miner"))


def test_the_gang_runs_on_claimed_rigs_alone_and_comes_back_after_a_break(farm: ControlPlane) -> None:
    job = hw.job(namespace=_NAMESPACE, ttl_seconds=60.0)
    _hold(farm, _RIGS[0], hw.AI, claim=job.uid)
    _hold(farm, _RIGS[1], model.IDLE)
    _create(farm, pods.service(job))
    _create(farm, pods.job(job, hw.SETTINGS))
    farm.api.wait_until("the first replica", lambda: _running(farm, role="work") == [_RIGS[0]])
    _hold(farm, _RIGS[1], hw.AI, claim=job.uid)
    farm.api.wait_until("both replicas", lambda: _running(farm, role="work") == list(_RIGS))
    path = f"/apis/batch/v1/namespaces/{_NAMESPACE}/jobs/{pods.job_name(job)}"
    farm.api.delete(path, {"propagationPolicy": "Background"})
    farm.api.wait_until("the end of the replicas", lambda: not _running(farm, role="work"))
    _create(farm, pods.job(job, hw.SETTINGS))
    farm.api.wait_until("the replicas' return", lambda: _running(farm, role="work") == list(_RIGS))
    assert not farm.api.get(path)["status"].get("failed")
