"""Commands on a real API server: every outcome that the server itself can give."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from controlplane.launcher import ControlPlane
from switchyard.cluster import commands
from switchyard.kube import client as clients
from switchyard.kube import credentials, errors, executor

pytestmark = pytest.mark.cluster

NAMESPACE = "kube-executor-tests"
DONE, CONFLICT = commands.Outcome.DONE, commands.Outcome.CONFLICT
GONE, REFUSED, INVALID = commands.Outcome.GONE, commands.Outcome.REFUSED, commands.Outcome.INVALID


def ref(kind: str, name: str, *, api_version: str = "v1", namespace: str | None = NAMESPACE) -> commands.Ref:
    return commands.Ref(api_version=api_version, kind=kind, plural=f"{kind.lower()}s", name=name, namespace=namespace)


def merge(target: commands.Ref, body: dict[str, Any], **more: Any) -> commands.Patch:
    return commands.Patch(ref=target, body=body, field_manager="tests", **more)


@contextlib.asynccontextmanager
async def opened(control_plane: ControlPlane) -> AsyncIterator[clients.Client]:
    found = credentials.from_kubeconfig(str(control_plane.kubeconfig))
    async with clients.Client(credentials=found) as client:
        yield client


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[clients.Client]:
    async with opened(control_plane) as client:
        yield client


@pytest.fixture
def hands(client: clients.Client) -> executor.Executor:
    return executor.Executor(client=client)


@pytest.fixture(scope="module", autouse=True)
def namespace(control_plane: ControlPlane) -> Iterator[None]:
    api = control_plane.api
    api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    api.wait_until("a service account", lambda: api.get(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"))
    yield
    api.delete(f"/api/v1/namespaces/{NAMESPACE}")


@pytest.fixture
def node(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    name = "kube-executor-" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:30].strip("-")
    yield control_plane.api.create("/api/v1/nodes", {"metadata": {"name": name}})
    control_plane.api.delete(f"/api/v1/nodes/{name}")


def node_ref(node: dict[str, Any]) -> commands.Ref:
    return ref("Node", node["metadata"]["name"], namespace=None)


async def pod(hands: executor.Executor, name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A Pod that is bound to a node nobody runs: the API server alone decides about its eviction."""
    body = {
        "metadata": {"labels": labels or {}},
        "spec": {"containers": [{"name": "work", "image": "work:1"}], "nodeName": "nobody"},
    }
    result = await one(hands, commands.Create(ref=ref("Pod", name), body=body))
    assert result.body is not None
    return dict(result.body)


async def one(hands: executor.Executor, command: commands.Command) -> commands.Result:
    (result,) = await hands.run([command])
    assert result.command is command
    return result


async def test_patch_with_the_version_read_goes_through_once(hands: executor.Executor) -> None:
    # Not a Node: the cluster's own controllers write on those.
    target = ref("Service", "versioned")
    created = await one(hands, commands.Create(ref=target, body={"spec": {"clusterIP": "None"}}))
    assert created.body is not None
    patch = merge(
        target, {"metadata": {"labels": {"a": "1"}}}, resource_version=created.body["metadata"]["resourceVersion"]
    )

    first, second = await hands.run([patch, patch])

    assert first.outcome is DONE
    assert first.body is not None
    assert first.body["metadata"]["labels"]["a"] == "1"
    assert second.outcome is CONFLICT
    assert "modified" in second.message


async def test_apply_with_an_old_version_is_a_conflict(hands: executor.Executor, node: dict[str, Any]) -> None:
    apply = merge(
        node_ref(node),
        {"metadata": {"labels": {"a": "1"}}},
        type=commands.PatchType.APPLY,
        resource_version=node["metadata"]["resourceVersion"],
    )
    assert (await one(hands, merge(node_ref(node), {"metadata": {"labels": {"b": "1"}}}))).outcome is DONE
    assert (await one(hands, apply)).outcome is CONFLICT


@pytest.mark.parametrize("type_", list(commands.PatchType))
async def test_patch_of_a_successor_is_a_conflict(
    hands: executor.Executor, node: dict[str, Any], type_: commands.PatchType
) -> None:
    patch = merge(
        node_ref(node),
        {"metadata": {"labels": {"a": "1"}}},
        type=type_,
        uid="00000000-0000-0000-0000-000000000000",
    )
    result = await one(hands, patch)
    assert result.outcome is CONFLICT, result


async def test_patch_of_nothing_is_gone_and_of_nonsense_invalid(hands: executor.Executor, node: dict[str, Any]) -> None:
    nothing = ref("Node", "no-such-node", namespace=None)
    assert (await one(hands, merge(nothing, {"metadata": {"labels": {"a": "1"}}}))).outcome is GONE
    result = await one(hands, merge(node_ref(node), {"metadata": {"labels": {"a": "not a label!"}}}))
    assert result.outcome is INVALID
    assert "not a label!" in result.message


async def test_applied_status_loses_the_fields_that_are_left_out(
    hands: executor.Executor, node: dict[str, Any]
) -> None:
    def status(*types: str) -> commands.Patch:
        entries = [{"type": each, "status": "True", "reason": "Tested", "message": ""} for each in types]
        body = {"status": {"conditions": entries}}
        return merge(node_ref(node), body, type=commands.PatchType.APPLY, subresource="status")

    await one(hands, status("One", "Two"))
    result = await one(hands, status("Two"))

    assert result.body is not None
    types = {condition["type"] for condition in result.body["status"]["conditions"]}
    assert "Two" in types
    assert "One" not in types


async def test_status_of_nothing_is_gone(hands: executor.Executor) -> None:
    nothing = ref("Node", "no-such-node", namespace=None)
    body: dict[str, Any] = {"status": {"conditions": []}}
    result = await one(hands, merge(nothing, body, type=commands.PatchType.APPLY, subresource="status"))
    assert result.outcome is GONE


async def test_create_twice_finds_the_first(hands: executor.Executor) -> None:
    create = commands.Create(ref=ref("Service", "gang"), body={"spec": {"clusterIP": "None", "selector": {"a": "b"}}})
    first, second = await hands.run([create, create])
    assert first.outcome is second.outcome is DONE
    assert first.body is not None
    assert second.body is not None
    assert first.body["metadata"]["uid"] == second.body["metadata"]["uid"]


async def test_create_beyond_a_quota_is_refused(control_plane: ControlPlane, hands: executor.Executor) -> None:
    control_plane.api.create("/api/v1/namespaces", {"metadata": {"name": "kube-executor-quota"}})
    path = "/api/v1/namespaces/kube-executor-quota/resourcequotas"
    control_plane.api.create(path, {"metadata": {"name": "none"}, "spec": {"hard": {"count/services": "0"}}})
    control_plane.api.wait_until(
        "the quota counts", lambda: control_plane.api.get(f"{path}/none")["status"].get("hard")
    )
    target = ref("Service", "gang", namespace="kube-executor-quota")

    result = await one(hands, commands.Create(ref=target, body={"spec": {"clusterIP": "None"}}))

    control_plane.api.delete("/api/v1/namespaces/kube-executor-quota")
    assert result.outcome is REFUSED
    assert "exceeded quota" in result.message


async def test_create_in_no_namespace_is_gone(hands: executor.Executor) -> None:
    target = ref("Service", "gang", namespace="no-such-namespace")
    result = await one(hands, commands.Create(ref=target, body={"spec": {"clusterIP": "None"}}))
    assert result.outcome is GONE
    assert "no-such-namespace" in result.message


async def test_eviction_begins_the_end_of_the_pod_it_means(hands: executor.Executor, client: clients.Client) -> None:
    body = await pod(hands, "evicted")
    evict = commands.Evict(ref=ref("Pod", "evicted"), uid=body["metadata"]["uid"], grace_seconds=600)

    assert [result.outcome for result in await hands.run([evict, evict])] == [DONE, DONE]

    found = await client.get(ref("Pod", "evicted"))
    assert found["metadata"]["deletionTimestamp"]
    assert found["metadata"]["deletionGracePeriodSeconds"] == 600


async def test_eviction_of_a_predecessor_spares_the_successor(hands: executor.Executor, client: clients.Client) -> None:
    await pod(hands, "successor")
    evict = commands.Evict(ref=ref("Pod", "successor"), uid="00000000-0000-0000-0000-000000000000")

    assert (await one(hands, evict)).outcome is GONE

    assert "deletionTimestamp" not in (await client.get(ref("Pod", "successor")))["metadata"]
    nobody = commands.Evict(ref=ref("Pod", "nobody"), uid="00000000-0000-0000-0000-000000000000")
    assert (await one(hands, nobody)).outcome is GONE


async def test_eviction_of_a_pod_that_has_begun_meanwhile_is_refused(
    control_plane: ControlPlane, hands: executor.Executor, client: clients.Client
) -> None:
    body = await pod(hands, "beginning")
    read = body["metadata"]
    evict = commands.Evict(ref=ref("Pod", "beginning"), uid=read["uid"], resource_version=read["resourceVersion"])
    begun = control_plane.api.patch(
        f"/api/v1/namespaces/{NAMESPACE}/pods/beginning/status", {"status": {"phase": "Running"}}
    )

    assert (await one(hands, evict)).outcome is CONFLICT

    assert "deletionTimestamp" not in (await client.get(ref("Pod", "beginning")))["metadata"]
    anew = dataclasses.replace(evict, resource_version=begun["metadata"]["resourceVersion"], grace_seconds=600)
    assert (await one(hands, anew)).outcome is DONE
    assert (await client.get(ref("Pod", "beginning")))["metadata"]["deletionTimestamp"]


async def test_eviction_that_a_budget_forbids_is_refused(control_plane: ControlPlane, hands: executor.Executor) -> None:
    budgets = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"
    budget = {
        "metadata": {"name": "never"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "guarded"}}},
    }
    control_plane.api.create(budgets, budget)
    control_plane.api.wait_until(
        "the budget is counted", lambda: control_plane.api.get(f"{budgets}/never")["status"].get("observedGeneration")
    )
    body = await pod(hands, "guarded", {"app": "guarded"})
    control_plane.api.patch(
        f"/api/v1/namespaces/{NAMESPACE}/pods/guarded/status",
        {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
    )
    evict = commands.Evict(ref=ref("Pod", "guarded"), uid=body["metadata"]["uid"])

    refused = await one(hands, evict)

    assert refused.outcome is REFUSED, refused
    assert "disruption budget" in refused.message
    control_plane.api.create(budgets, {**budget, "metadata": {"name": "never-either"}})
    twofold = await one(hands, evict)
    assert twofold.outcome is REFUSED, twofold


async def test_delete_means_one_object(hands: executor.Executor) -> None:
    target = ref("Service", "deleted")
    body = {"spec": {"clusterIP": "None"}}
    created = await one(hands, commands.Create(ref=target, body=body))
    assert created.body is not None
    uid = created.body["metadata"]["uid"]
    other = commands.Delete(ref=target, uid="00000000-0000-0000-0000-000000000000")
    mine = commands.Delete(ref=target, uid=uid)

    outcomes = [result.outcome for result in await hands.run([other, mine, mine])]

    assert outcomes == [GONE, DONE, GONE]


async def test_repeated_event_is_counted(
    control_plane: ControlPlane, hands: executor.Executor, node: dict[str, Any]
) -> None:
    emit = commands.Emit(
        ref=node_ref(node),
        uid=node["metadata"]["uid"],
        reason="Switched",
        message="mined kas, now works for tenant/train: " + "ä" * 1000,
        action="Switch",
    )
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)

    assert [result.outcome for result in await hands.run([emit, emit, emit])] == [DONE, DONE, DONE]

    listed = control_plane.api.get(
        "/apis/events.k8s.io/v1/namespaces/default/events",
        fieldSelector=f"regarding.name={node['metadata']['name']}",
    )["items"]
    (event,) = [each for each in listed if each["reason"] == "Switched"]
    assert event["series"]["count"] == 3
    assert event["type"] == "Normal"
    assert event["note"].startswith("mined kas")
    assert began < datetime.datetime.fromisoformat(event["eventTime"])
    shown = control_plane.kubectl("events", "--for", f"node/{node['metadata']['name']}", "-n", "default")
    assert "Switched" in shown


async def test_event_about_a_namespaced_object_stands_beside_it(
    control_plane: ControlPlane, hands: executor.Executor
) -> None:
    body = await pod(hands, "spoken-of")
    emit = commands.Emit(
        ref=ref("Pod", "spoken-of"),
        uid=body["metadata"]["uid"],
        reason="Evicting",
        message="the rig is wanted",
        action="Evict",
        warning=True,
    )
    assert (await one(hands, emit)).outcome is DONE
    listed = control_plane.api.get(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")["items"]
    assert [each["type"] for each in listed if each["reason"] == "Evicting"] == ["Warning"]


async def test_bearer_token_of_a_service_account_is_enough(control_plane: ControlPlane) -> None:
    path = control_plane.service_account_kubeconfig(namespace=NAMESPACE, name="default")
    async with clients.Client(credentials=credentials.from_kubeconfig(str(path))) as client:
        result = await one(
            executor.Executor(client=client), merge(ref("Node", "any", namespace=None), {"metadata": {}})
        )
    assert result.outcome is INVALID
    assert f"system:serviceaccount:{NAMESPACE}:default" in result.message


async def test_list_in_pages_holds_everything_once(client: clients.Client, hands: executor.Executor) -> None:
    wanted = {f"page-{number}" for number in range(7)}
    body = {"metadata": {"labels": {"test": "pages"}}, "spec": {"clusterIP": "None"}}
    await hands.run([commands.Create(ref=ref("Service", name), body=body) for name in sorted(wanted)])
    services = clients.Resource(api_version="v1", plural="services", kind="Service", namespaced=True)

    pages = [page async for page in client.pages(services, label_selector="test=pages", page_size=3)]

    assert [len(page.items) for page in pages] == [3, 3, 1]
    assert {item["metadata"]["name"] for page in pages for item in page.items} == wanted
    assert len({page.resource_version for page in pages}) == 1
    assert [page.last for page in pages] == [False, False, True]
    bare = [page async for page in client.pages(services, label_selector="test=pages", metadata_only=True)]
    assert all("spec" not in item for item in bare[0].items)


async def test_nobody_at_the_address_is_unreachable(tmp_path: Any) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {token: t}}]}"
    )
    async with clients.Client(credentials=credentials.from_kubeconfig(str(path))) as client:
        with pytest.raises(errors.UnreachableError):
            await client.get(ref("Node", "any", namespace=None))
