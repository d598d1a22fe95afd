"""The chart's service account may do what the operator does, and nothing else. The API server's audit log judges."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane import ControlPlane
from controlplane.launcher import CommandError
from operator_process import OperatorProcess
from switchyard import clock
from switchyard.kube import client as kube
from switchyard.kube import credentials
from switchyard.simulate import machines, rigs, work

pytestmark = [pytest.mark.cluster, pytest.mark.tools("helm")]

CHART = Path(__file__).parents[2] / "charts" / "switchyard"
NAMESPACE, MINERS, TENANT = "switchyard", "switchyard-miners", "tenant"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:farm"
FARM = "/apis/switchyard.farm/v1alpha1"
CARD = "NVIDIA-GeForce-RTX-3070"
JOB = f"{FARM}/namespaces/{TENANT}/aijobs/render"

IMPLIED = {"get"}
"""Verbs that `list` gives anyway: they stand in the rules out of custom."""
SPARE = {
    ("", "services", "get"),
    # When what it creates is there already, it looks at it: another attempt of its own came through, unheard.
    ("events.k8s.io", "events", "get"),
    ("events.k8s.io", "events", "patch"),
    # Server-side apply creates what is not there: asked for as a patch, and refused without the right to create.
    ("", "configmaps", "create"),
}
"""What this run need not come to, but another may."""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Right:
    """One thing that may be done, or was: `namespace` "" stands for the whole cluster or any namespace."""

    group: str
    resource: str
    verb: str
    namespace: str = ""


def machine(number: int) -> machines.Machine:
    card = machines.Card(
        model=CARD,
        memory_mib=8192,
        compute_capability=(8, 6),
        pcie_generation=3,
        pcie_width=1,
        link_gigabytes_per_second=0.8,
    )
    return machines.Machine(
        name=f"rig-{number}",
        kind="rig",
        zone="barn",
        cards=(card, card),
        host_memory_mib=8192,
        cpu_cores=2,
        host_watts=80,
    )


RIGS = tuple(machine(number) for number in range(2))


def objects() -> Iterator[dict[str, Any]]:
    """A farm that mines kas at first."""

    def written(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": "switchyard.farm/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT}}
    wallet = {"metadata": {"name": "wallet", "namespace": MINERS}, "stringData": {"address": "nobody"}}
    yield {"apiVersion": "v1", "kind": "Secret", **wallet}
    feeds = {"power": ("ElectricityPrice", "USD/kWh", "0.05")} | {
        coin: ("CoinRevenue", "USD/(MH/s)/hour", worth) for coin, worth in (("kas", "0.02"), ("rvn", "0.01"))
    }
    for name, (quantity, unit, value) in feeds.items():
        yield written("PriceFeed", name, {"quantity": quantity, "unit": unit, "source": {"static": {"value": value}}})
    yield written(
        "Site",
        "barn",
        {
            "nodeSelector": {"matchLabels": {machines.ZONE: "barn"}},
            "jurisdiction": "US-TX",
            "timeZone": "America/Chicago",
            "tariff": {"feed": {"priceFeed": "power"}},
        },
    )
    for coin in ("kas", "rvn"):
        yield written(
            "Coin",
            coin,
            {
                "algorithm": "kawpow",
                "unit": "MH/s",
                "revenueFeed": coin,
                "startup": "0s",
                "wallet": {"secretName": "wallet"},
                "pools": ["stratum+tcp://pool.example.com:4444"],
                "miner": {"image": "example.test/miner:1"},
                "benchmarks": [{"gpu": CARD, "hashrate": "10", "watts": 120}],
            },
        )
    yield written(
        "GPUPool",
        "all",
        {
            "rigSelector": {"matchLabels": {"switchyard.farm/site": "barn"}},
            "mode": "Enforce",
            "coins": ["kas", "rvn"],
            "powerProfiles": [{"gpu": CARD, "aiWatts": 180, "idleWatts": 14}],
            "switching": {"maxConcurrent": "100%"},
        },
    )


def job() -> dict[str, Any]:
    """A gang over both rigs that pays more than any coin."""
    marks = {work.REPLICAS: "2", work.WORK_SECONDS: "36000"}
    return {
        "apiVersion": "switchyard.farm/v1alpha1",
        "kind": "AIJob",
        "metadata": {"name": "render", "namespace": TENANT},
        "spec": {
            "workloadClass": "Render",
            "replicas": 2,
            "gpusPerReplica": 2,
            "bid": {"usdPerGpuHour": "9"},
            "duration": "10h",
            "preemption": {"notice": "10s"},
            "template": {
                "metadata": {"annotations": marks},
                "spec": {"containers": [{"name": "work", "image": "example.test/render:1"}]},
            },
        },
    }


class Stage:
    """The control plane with the chart installed, and what its account has done so far."""

    def __init__(self, *, control_plane: ControlPlane, audit: Path, log: Path) -> None:
        self.control_plane = control_plane
        self.audit = audit
        self.log = log

    def entries(self) -> list[dict[str, Any]]:
        """Every answered request of the account."""
        return [json.loads(line) for line in self.audit.read_text().splitlines() if line.endswith("}")]

    async def until(self, what: str, check: Any, *, timeout_seconds: float = 60) -> None:
        await asyncio.to_thread(self.control_plane.api.wait_until, what, check, timeout_seconds=timeout_seconds)

    def modes(self) -> list[str]:
        listed = self.control_plane.api.get(f"{FARM}/rigs")["items"]
        return [rig.get("status", {}).get("mode", {}).get("observed", "") for rig in listed]

    def condition(self, kind: str) -> str:
        listed = self.control_plane.api.get(JOB).get("status", {}).get("conditions", [])
        return next((each["status"] for each in listed if each["type"] == kind), "")

    def wallets(self) -> list[str]:
        """What the Coins say of their wallets."""
        return [
            next((each["status"] for each in coin["status"]["conditions"] if each["type"] == "WalletFound"), "")
            for coin in self.control_plane.api.get(f"{FARM}/coins")["items"]
        ]

    def miners(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control_plane.api.get(f"/api/v1/namespaces/{MINERS}/pods")["items"]
        return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("rights")
    policy = folder / "policy.yaml"
    policy.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "omitStages": ["RequestReceived", "ResponseStarted"],
                "rules": [{"level": "Metadata", "users": [ACCOUNT]}, {"level": "None"}],
            }
        )
    )
    audit = folder / "audit.log"
    arguments = [
        f"--audit-policy-file={policy}",
        f"--audit-log-path={audit}",
        # Some clusters have it: who names an owner that is to wait for what it owns needs rights on that owner.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
    ]
    with ControlPlane(nodes=[rig.node() for rig in RIGS], extra_args={"kube-apiserver": arguments}) as control_plane:
        control_plane.helm(
            "install",
            "farm",
            str(CHART),
            f"--namespace={NAMESPACE}",
            "--create-namespace",
            "--set=image.repository=example.test/switchyard",
        )
        control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects()))
        yield Stage(control_plane=control_plane, audit=audit, log=folder / "operator.log")


@contextlib.asynccontextmanager
async def agents(control_plane: ControlPlane) -> AsyncIterator[None]:
    """Somebody who answers for the rigs, with an administrator's rights: the chart has none for agents."""
    found = credentials.from_kubeconfig(str(control_plane.kubeconfig))
    async with kube.Client(credentials=found) as client:
        played = rigs.Rigs(
            client=client, clock=clock.SystemClock(), rigs=RIGS, settings=rigs.Settings(checkpoint_seconds=0.0)
        )
        playing = asyncio.create_task(played.run())
        try:
            yield
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)


async def play(stage: Stage) -> None:
    """One of everything: registration, the first switch, a miner that dies, a gang that comes and goes."""
    api = stage.control_plane.api
    await stage.until("both rigs mine", lambda: stage.modes() == ["Mining/kas"] * 2)

    dead = stage.miners()[0]["metadata"]
    api.patch(f"/api/v1/namespaces/{MINERS}/pods/{dead['name']}/status", {"status": {"phase": "Failed"}})
    await stage.until(
        "the dead miner is buried and another one is at work",
        lambda: (
            len(stage.miners()) == 2
            and dead["uid"] not in {pod["metadata"]["uid"] for pod in stage.miners()}
            and stage.modes() == ["Mining/kas"] * 2
        ),
    )

    api.create(f"{FARM}/namespaces/{TENANT}/aijobs", job())
    await stage.until("the gang runs", lambda: stage.condition("Running") == "True")
    await stage.until("the rigs say so", lambda: stage.modes() == [f"AI/{TENANT}/render"] * 2)
    api.patch(JOB, {"spec": {"suspend": True}})
    await stage.until("the rigs mine again", lambda: stage.modes() == ["Mining/kas"] * 2)
    await stage.until("the gang is stopped", lambda: stage.condition("Running") == "False")
    await stage.until("the wallet was looked for", lambda: all(found == "True" for found in stage.wallets()))


async def test_operator_needs_these_rights_and_no_others(stage: Stage) -> None:
    control_plane = stage.control_plane
    kubeconfig = control_plane.service_account_kubeconfig(namespace=NAMESPACE, name="farm")
    memory = [f"--memory-namespace={NAMESPACE}", "--memory-name=farm-memory"]
    arguments = ["--plan-interval=2s", *memory]
    with OperatorProcess(kubeconfig=kubeconfig, arguments=arguments, log=stage.log) as operator:
        async with agents(control_plane):
            await asyncio.to_thread(operator.wait_ready)
            try:
                await play(stage)
            except (TimeoutError, AssertionError) as problem:
                problem.add_note(operator.output()[-5000:])
                raise
        # At its end it writes down what it has learned.
        assert operator.signal(signal.SIGTERM, wait_seconds=20) == 0
        log = operator.output()
    learned = control_plane.api.get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/farm-memory")["data"]
    assert json.loads(learned["switching"])["phases"]

    entries = stage.entries()
    refused = [entry for entry in entries if entry["responseStatus"]["code"] in (401, 403)]
    assert [entry["requestURI"] for entry in refused] == []
    assert "forbidden" not in log.lower()
    used = {right(entry) for entry in entries if "objectRef" in entry}
    given = rights(control_plane)
    assert {each.resource for each in used} >= {"rigs/status", "aijobs/status", "pods/eviction", "jobs", "events"}
    spare = {
        each
        for each in given
        if not any(covers(each, one) for one in used)
        and (each.group, each.resource, each.verb) not in SPARE
        and not (each.verb in IMPLIED and dataclasses.replace(each, verb="list") in given)
    }
    assert sorted(spare) == [], "the chart gives rights that nobody uses"


def right(entry: dict[str, Any]) -> Right:
    """What a request of the audit log was."""
    ref = entry["objectRef"]
    resource = f"{ref['resource']}/{ref['subresource']}" if ref.get("subresource") else ref["resource"]
    return Right(ref.get("apiGroup", ""), resource, entry["verb"], ref.get("namespace", ""))


def rights(control_plane: ControlPlane) -> set[Right]:
    """What the chart's roles give."""
    api = control_plane.api
    kinds = "/apis/rbac.authorization.k8s.io/v1"
    roles = [
        ("", api.get(f"{kinds}/clusterroles/farm")),
        (MINERS, api.get(f"{kinds}/namespaces/{MINERS}/roles/farm")),
        (NAMESPACE, api.get(f"{kinds}/namespaces/{NAMESPACE}/roles/farm-memory")),
    ]
    return {
        Right(group, resource, verb, namespace)
        for namespace, role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def covers(given: Right, used: Right) -> bool:
    return dataclasses.replace(used, namespace=given.namespace) == given and given.namespace in ("", used.namespace)


def may(stage: Stage, verb: str, resource: str, *arguments: str, name: str = "") -> bool:
    """What `kubectl auth can-i` says of the account."""
    # For kubectl, what stands behind a slash is a name.
    resource, _, subresource = resource.partition("/")
    if subresource:
        arguments = (*arguments, f"--subresource={subresource}")
    if name:
        resource = f"{resource}/{name}"
    try:
        answer = stage.control_plane.kubectl("auth", "can-i", verb, resource, f"--as={ACCOUNT}", *arguments)
    except CommandError as refused:
        # Status 1 is its word for no, and for a question it does not understand.
        if "error" in refused.stderr.lower():
            raise
        return False
    return answer.strip() == "yes"


@pytest.mark.parametrize(
    ("verb", "resource", "namespace"),
    [
        ("get", "configmaps", NAMESPACE),
        ("create", "configmaps", NAMESPACE),
        ("patch", "configmaps", NAMESPACE),
        ("get", "secrets", TENANT),
        ("get", "secrets", NAMESPACE),
        ("list", "secrets", MINERS),
        ("watch", "secrets", MINERS),
        ("create", "secrets", MINERS),
        ("create", "pods", TENANT),
        ("delete", "pods", TENANT),
        ("create", "pods/exec", MINERS),
        ("patch", "jobs.batch", TENANT),
        ("delete", "services", TENANT),
        ("create", "aijobs.switchyard.farm", TENANT),
        ("update", "aijobs.switchyard.farm", TENANT),
        ("create", "serviceaccounts/token", NAMESPACE),
        ("create", "rolebindings.rbac.authorization.k8s.io", MINERS),
    ],
)
def test_account_may_not_in_a_namespace(stage: Stage, verb: str, resource: str, namespace: str) -> None:
    assert not may(stage, verb, resource, f"--namespace={namespace}")


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("delete", "nodes"),
        ("create", "nodes"),
        ("patch", "nodes/status"),
        ("delete", "rigs.switchyard.farm"),
        ("patch", "rigs.switchyard.farm"),
        ("patch", "coins.switchyard.farm"),
        ("create", "clusterroles.rbac.authorization.k8s.io"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
        ("impersonate", "users"),
        ("list", "namespaces"),
        ("patch", "customresourcedefinitions.apiextensions.k8s.io"),
    ],
)
def test_account_may_not_in_the_cluster(stage: Stage, verb: str, resource: str) -> None:
    assert not may(stage, verb, resource)


def test_account_may_where_it_must(stage: Stage) -> None:
    """And the question is rightly put: the same words get a yes where there is a right."""
    assert may(stage, "patch", "configmaps", f"--namespace={NAMESPACE}", name="farm-memory")
    assert not may(stage, "patch", "configmaps", f"--namespace={NAMESPACE}", name="another")
    assert not may(stage, "patch", "configmaps", f"--namespace={MINERS}", name="farm-memory")
    assert may(stage, "get", "secrets", f"--namespace={MINERS}")
    assert may(stage, "delete", "pods", f"--namespace={MINERS}")
    assert may(stage, "patch", "nodes")
    assert may(stage, "create", "pods/eviction", f"--namespace={TENANT}")
