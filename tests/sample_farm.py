"""Small farms as frozen values, for tests of the rooms that decide."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import immutables

from switchyard.fleet import model
from switchyard.market import quotes

NOW = datetime.datetime(2026, 7, 1, 12, 0, tzinfo=datetime.UTC)
GPU = "NVIDIA-GeForce-RTX-3070"


def gpu(**over: Any) -> model.Gpu:
    given: dict[str, Any] = {
        "model": GPU,
        "memory_mib": 8192,
        "compute_capability": (8, 6),
        "host_link_gigabytes_per_second": 0.8,
    }
    return model.Gpu(**{**given, **over})


def hardware(count: int = 6, **over: Any) -> model.Hardware:
    given: dict[str, Any] = {"gpus": tuple(gpu() for _ in range(count)), "host_memory_mib": 8192, "cpu_cores": 2}
    return model.Hardware(**{**given, **over})


def site(name: str = "barn", **over: Any) -> model.Site:
    given: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "node_selector": model.Selector(match_labels={"site": name}),
        "jurisdiction": "US-TX",
        "time_zone": "America/Chicago",
        "tariff": model.FixedTariff(usd_per_kwh=0.08),
        "pue": 1.0,
        "status": {},
    }
    return model.Site(**{**given, **over})


def pool(name: str = "main", **over: Any) -> model.Pool:
    given: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "rig_selector": model.Selector(match_labels={"pool": name}),
        "gpu_models": (),
        "enforce": True,
        "coins": ("kas", "rvn"),
        "workload_classes": frozenset(model.WorkloadClass),
        "idle": True,
        "off": True,
        "power": {GPU: model.PowerProfile(ai_watts=200, idle_watts=10)},
        "off_watts": 5,
        "max_switching": "25%",
        "status": {},
    }
    return model.Pool(**{**given, **over})


def coin(name: str, **over: Any) -> model.Coin:
    given: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "algorithm": "kawpow",
        "unit": "MH/s",
        "revenue_feed": f"{name}-usd",
        "pool_fee": 0.01,
        "dev_fee": 0.01,
        "min_gpu_memory_mib": 6144,
        "startup_seconds": 30.0,
        "wallet_secret": "wallet",
        "wallet_key": "address",
        "pool_urls": ("stratum+tcp://pool.example:3333",),
        "miner_image": "registry.example/miner:1",
        "miner_args": (),
        "benchmarks": {GPU: model.Benchmark(hashrate=0.03, watts=130)},
        "status": {},
    }
    return model.Coin(**{**given, **over})


def rig(name: str, **over: Any) -> model.Rig:
    given: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "resource_version": "1",
        "node_name": name,
        "site": "barn",
        "labels": {"pool": "main"},
        "pin": model.Pin.AUTO,
        "maintenance": False,
        "base_watts": 80,
        "hardware": hardware(),
        "readback": None,
        "status": {},
    }
    return model.Rig(**{**given, **over})


def node(name: str, **over: Any) -> model.Node:
    given: dict[str, Any] = {
        "name": name,
        "uid": f"uid-node-{name}",
        "resource_version": "1",
        "labels": {},
        "annotations": {},
        "taints": (),
        "unschedulable": False,
        "ready": True,
        "gpus_allocatable": 6,
        "hardware": hardware(),
    }
    return model.Node(**{**given, **over})


def job(name: str = "train", **over: Any) -> model.Job:
    given: dict[str, Any] = {
        "namespace": "tenant",
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "resource_version": "1",
        "created_at": NOW - datetime.timedelta(minutes=5),
        "workload_class": model.WorkloadClass.BATCH,
        "replicas": 2,
        "gpus_per_replica": 3,
        "bid_usd_per_gpu_hour": 0.20,
        "duration_seconds": 7200.0,
        "deadline": None,
        "requirements": model.Requirements(),
        "preemptible": True,
        "notice_seconds": 120.0,
        "min_runtime_seconds": 600.0,
        "suspend": False,
        "template": {},
        "state": model.JobState.PENDING,
        "placement": (),
        "admitted_at": None,
        "started_at": None,
        "attempts": 0,
        "preemptions": 0,
        "progress": 0.0,
        "status": {},
    }
    return model.Job(**{**given, **over})


def farm(
    *,
    rigs: list[model.Rig] | None = None,
    jobs: list[model.Job] | None = None,
    coins: list[model.Coin] | None = None,
    pools: list[model.Pool] | None = None,
    sites: list[model.Site] | None = None,
    nodes: list[model.Node] | None = None,
    missing_secrets: frozenset[str] = frozenset(),
) -> model.Farm:
    rigs = [rig("rig-0")] if rigs is None else rigs
    nodes = [node(each.node_name, hardware=each.hardware) for each in rigs] if nodes is None else nodes
    return model.Farm(
        sites=immutables.Map({each.name: each for each in (sites or [site()])}),
        pools=immutables.Map({each.name: each for each in (pools or [pool()])}),
        coins=immutables.Map({each.name: each for each in (coins or [coin("kas"), coin("rvn")])}),
        rigs=immutables.Map({each.name: each for each in rigs}),
        nodes=immutables.Map({each.name: each for each in nodes}),
        jobs=immutables.Map({each.key: each for each in (jobs or [])}),
        pool_of=immutables.Map({each.name: each.labels["pool"] for each in rigs if "pool" in each.labels}),
        missing_secrets=missing_secrets,
    )


def market(
    revenue: Mapping[str, float] | None = None,
    *,
    now: datetime.datetime = NOW,
    trust: float = 1.0,
    **usd_per_hash_hour: float,
) -> quotes.Market:
    """Coin revenue by coin, in USD per (GH/s) and hour, as feeds named `kas-usd`."""
    return quotes.Market(
        at=now,
        quotes={
            f"{name}-usd": quotes.Quote(
                feed=f"{name}-usd", quantity=quotes.Quantity.COIN_REVENUE, value=value, as_of=now, trust=trust
            )
            for name, value in {**(revenue or {}), **usd_per_hash_hour}.items()
        },
    )
