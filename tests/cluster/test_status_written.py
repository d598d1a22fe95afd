"""Statuses on a real API server: it keeps every field, and what it gives back is no news to the one who wrote it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sample_farm
from controlplane.launcher import ControlPlane
from switchyard import cli
from switchyard.cluster import commands, names
from switchyard.fleet import model
from switchyard.handover import record as records
from switchyard.kube import client as clients
from switchyard.kube import credentials, executor
from switchyard.market import feeds, quotes
from switchyard.planning import request
from switchyard.status import coin, feed, job, pool, rig, site, writes
from switchyard.valuation import values

pytestmark = pytest.mark.cluster

CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "status-tests"
NOW = sample_farm.NOW
KAS = model.Mode(model.ModeKind.MINING, "kas")
KINDS = {"sites": "Site", "rigs": "Rig", "gpupools": "GPUPool", "coins": "Coin", "pricefeeds": "PriceFeed"}
SELECTOR = {"matchLabels": {"example.com/site": "barn"}}
SPECS: dict[str, dict[str, Any]] = {
    "sites": {
        "nodeSelector": SELECTOR,
        "jurisdiction": "US-TX",
        "tariff": {"fixed": {"usdPerKilowattHour": "0.085"}},
    },
    "rigs": {"nodeName": "status-node", "siteRef": {"name": "barn"}},
    "gpupools": {"rigSelector": SELECTOR, "coins": ["kas"]},
    "coins": {
        "algorithm": "kheavyhash",
        "unit": "MH/s",
        "revenueFeed": "kas-usd",
        "wallet": {"secretName": "wallets"},
        "pools": ["stratum+tcp://pool.example.com:4444"],
        "miner": {"image": "example.com/miner:1"},
    },
    "pricefeeds": {
        "quantity": "ElectricityPrice",
        "unit": "USD/MWh",
        "source": {"static": {"value": "42.5"}},
    },
    "aijobs": {
        "workloadClass": "Training",
        "replicas": 2,
        "bid": {"usdPerGpuHour": "0.25"},
        "duration": "2h",
        "template": {"spec": {"containers": [{"name": "work", "image": "example.com/train:1"}]}},
    },
}
NAME = "status-sample"


def ref(plural: str) -> commands.Ref:
    namespaced = plural == "aijobs"
    return commands.Ref(
        api_version=names.API_VERSION,
        kind=KINDS.get(plural, "AIJob"),
        plural=plural,
        name=NAME,
        namespace=NAMESPACE if namespaced else None,
    )


def collection(plural: str) -> str:
    middle = f"/namespaces/{NAMESPACE}" if plural == "aijobs" else ""
    return f"/apis/{names.API_VERSION}{middle}/{plural}"


@pytest.fixture(scope="module")
def objects(control_plane: ControlPlane) -> Iterator[dict[str, dict[str, Any]]]:
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    control_plane.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    made = {}
    for plural, spec in SPECS.items():
        control_plane.api.wait_until(
            f"{plural} are served", functools.partial(control_plane.api.get, collection(plural))
        )
        body = {
            "apiVersion": names.API_VERSION,
            "kind": ref(plural).kind,
            "metadata": {"name": NAME},
            "spec": spec,
        }
        made[plural] = control_plane.api.create(collection(plural), body)
    yield made
    for plural in SPECS:
        control_plane.api.delete(f"{collection(plural)}/{NAME}")
    control_plane.api.delete(f"/api/v1/namespaces/{NAMESPACE}")


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[clients.Client]:
    access = credentials.from_kubeconfig(str(control_plane.kubeconfig))
    async with clients.Client(credentials=access) as client:
        yield client


def decision() -> request.Decision:
    worth = values.Worth(
        mode=KAS, revenue_usd_per_hour=0.3, fees_usd_per_hour=0.01, watts=860.4, power_usd_per_hour=0.07
    )
    refusal = values.Refusal(mode=model.OFF, reason="OffForbidden", lacks="needs spec.off of the pool")
    given: dict[str, Any] = {
        "cost": values.SwitchCost(seconds=61.7, usd=0.002),
        "regret_usd": 0.1,
        "lacks": "",
        "cost_usd": 0.005,
    }
    return request.Decision(
        rig=NAME,
        chosen=KAS,
        reason="Best",
        message="kas earns 0.2200 $/h",
        alternatives=(
            request.Alternative(mode=KAS, worth=worth, refusal=None, **given),
            request.Alternative(mode=model.OFF, worth=None, refusal=refusal, **given),
        ),
    )


def rig_status(old: dict[str, Any], *, step: records.Step = records.Step.STOPPING) -> dict[str, Any]:
    switch = records.Record(
        mode=KAS, origin=model.IDLE, step=step, since=NOW, deadline=NOW, started=NOW, reason="BetterMode", message="m"
    )
    return rig.status(
        sample_farm.rig(NAME, status=old),
        now=NOW,
        node=sample_farm.node(NAME),
        pool=sample_farm.pool(),
        record=switch,
        decision=decision(),
    )


def pool_status(old: dict[str, Any]) -> dict[str, Any]:
    return pool.status(
        sample_farm.pool(status=old),
        now=NOW,
        rigs=["a", "b"],
        records={},
        valuation=None,
        decisions={},
        planned_at=NOW,
        coins=["kas"],
        contested={"a": ("other",)},
    )


def quote(quantity: quotes.Quantity, unit: str) -> quotes.Quote:
    return quotes.Quote(feed="f", quantity=quantity, value=0.0425, as_of=NOW, trust=0.5, unit=unit)


def feed_status(old: dict[str, Any]) -> dict[str, Any]:
    state = feeds.FeedState(
        last_good=quote(quotes.Quantity.ELECTRICITY_PRICE, "USD/kWh"),
        value=42.5,
        unit="USD/MWh",
        reason="Unreachable",
        message="no answer",
        attempted_at=NOW,
    )
    return feed.status(model.Feed(name=NAME, uid="", generation=1, spec={}, status=old), now=NOW, state=state)


def coin_status(old: dict[str, Any]) -> dict[str, Any]:
    return coin.status(
        sample_farm.coin("kas", status=old),
        now=NOW,
        quote=quote(quotes.Quantity.COIN_REVENUE, "USD/(GH/s)/hour"),
        feeds=["kas-usd"],
        secrets=[],
        miners_namespace="switchyard-miners",
        measured={sample_farm.GPU: model.Benchmark(hashrate=0.0325, watts=128)},
    )


def job_status(old: dict[str, Any]) -> dict[str, Any]:
    """Everything that ever stands in an AIJob's status, at once."""
    admission = request.Admission(
        job="t/j",
        placement=(model.Placement(rig="a", replicas=1), model.Placement(rig="b", replicas=1)),
        reserve_usd_per_gpu_hour=0.15,
        message="m",
    )
    one = sample_farm.job(status={})
    admitted = job.admitted(one, admission, NOW, checkpoint_interval_seconds=1570.0)
    one = dataclasses.replace(one, status=admitted, attempts=1)
    pod = model.Pod(
        **dict.fromkeys(("namespace", "name", "uid", "resource_version", "node_name", "role", "rig", "coin"), ""),
        job="j",
        gpus=1,
        phase=model.PodPhase.RUNNING,
        ready=True,
        deleting_since=None,
        reason="",
        notice_deadline=None,
        checkpoint_at=NOW,
        progress=0.5,
    )
    running = job.running(one, [pod], NOW, started=True, job_name="j-abc")
    return running if not old else job.running(dataclasses.replace(one, status=old), [pod], NOW, started=True)


def site_status(old: dict[str, Any]) -> dict[str, Any]:
    return site.status(sample_farm.site(status=old), now=NOW, rigs=2, rigs_gone=1, usd_per_kwh=0.085)


BUILDERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "sites": site_status,
    "rigs": rig_status,
    "gpupools": pool_status,
    "coins": coin_status,
    "pricefeeds": feed_status,
    "aijobs": job_status,
}


@pytest.mark.parametrize("plural", BUILDERS)
async def test_a_status_is_kept_whole_and_written_once(
    plural: str, objects: dict[str, dict[str, Any]], client: clients.Client
) -> None:
    new = BUILDERS[plural]({})
    patch = writes.patch(ref(plural), old={}, new=new, now=NOW, uid=objects[plural]["metadata"]["uid"])
    assert patch is not None
    [result] = await executor.Executor(client=client).run([patch])
    assert (result.outcome, result.message) == (commands.Outcome.DONE, "")
    stands = (await client.get(ref(plural)))["status"]
    assert stands == new
    assert writes.patch(ref(plural), old=stands, new=BUILDERS[plural](stands), now=NOW) is None


async def test_what_the_agent_writes_stays_and_what_is_left_out_goes(
    objects: dict[str, dict[str, Any]], client: clients.Client
) -> None:
    agent = {"profile": "mining.kas", "watts": 812}
    await client.patch(
        ref("rigs"),
        {"apiVersion": names.API_VERSION, "kind": "Rig", "metadata": {"name": NAME}, "status": {"agent": agent}},
        type=commands.PatchType.APPLY,
        field_manager=names.MANAGER_AGENT,
        subresource="status",
    )
    hands = executor.Executor(client=client)
    for step in (records.Step.STOPPING, records.Step.SETTLED):
        old = (await client.get(ref("rigs"))).get("status", {})
        patch = writes.patch(ref("rigs"), old=old, new=rig_status(old, step=step), now=NOW)
        for result in await hands.run([patch] if patch is not None else []):
            assert result.outcome is commands.Outcome.DONE
    stands = (await client.get(ref("rigs")))["status"]
    assert stands["agent"] == agent
    assert "step" not in stands
    assert stands["mode"]["observed"] == "Mining/kas"
    assert objects


def test_the_command_explains_what_stands_in_the_cluster(
    objects: dict[str, dict[str, Any]], control_plane: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    old = control_plane.api.get(f"{collection('rigs')}/{NAME}").get("status", {})
    control_plane.api.request(
        "PATCH",
        f"{collection('rigs')}/{NAME}/status",
        body={
            "apiVersion": names.API_VERSION,
            "kind": "Rig",
            "metadata": {"name": NAME},
            "status": rig_status(old, step=records.Step.SETTLED),
        },
        query={"fieldManager": names.MANAGER_OPERATOR, "force": "true"},
        content_type="application/apply-patch+yaml",
    )
    where = ["--kubeconfig", str(control_plane.kubeconfig)]
    assert cli.main(["explain", f"rig/{NAME}", f"aijob/{NAMESPACE}/{NAME}", f"feed/{NAME}", f"gp/{NAME}", *where]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{NAME} mines kas\n")
    assert "> Mining/kas   0.2200" in out
    assert "needs spec.off of the pool" in out
    assert cli.main(["explain", "rig/status-smaple", *where]) == 1
    err = capsys.readouterr().err
    assert "Rig status-smaple not found. Do you mean status-sample?" in err
    assert objects
