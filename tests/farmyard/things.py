"""What a farm is made of: manifests with the figures that matter to a test, and plain ones for the rest.

Every card hashes 100 MH/s. A coin at v $/(MH/s)/hour so earns 200 v $/h on a rig of two cards, before 2 % of fees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from switchyard.cluster import names
from switchyard.simulate import machines, work

CARD: Final = "NVIDIA-GeForce-RTX-3080"
MINERS: Final = "switchyard-miners"
TENANT: Final = "tenant-yard"
MIB: Final = 10240


def machine(name: str, *, zone: str = "yard", gpus: int = 2, memory_mib: int = MIB) -> machines.Machine:
    """A rig of equal cards behind mining risers."""
    card = machines.Card(
        model=CARD,
        memory_mib=memory_mib,
        compute_capability=(8, 6),
        pcie_generation=2,
        pcie_width=1,
        link_gigabytes_per_second=0.4,
    )
    return machines.Machine(
        name=name,
        kind="yard",
        zone=zone,
        cards=(card,) * gpus,
        host_memory_mib=8192,
        cpu_cores=4,
        host_watts=80,
    )


def ours(kind: str, name: str, spec: Mapping[str, Any], *, namespace: str | None = None) -> dict[str, Any]:
    """An object of one of our kinds."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def site(name: str = "yard", *, zone: str = "yard", power: str | None = None, usd_per_kwh: str = "0") -> dict[str, Any]:
    """A Site that owns the Nodes of a zone. `power`: the feed of its price, else it is fixed."""
    tariff = {"feed": {"priceFeed": power}} if power else {"fixed": {"usdPerKilowattHour": usd_per_kwh}}
    selector = {"matchLabels": {machines.ZONE: zone}}
    return ours("Site", name, {"nodeSelector": selector, "jurisdiction": "US-TX", "tariff": tariff})


def pool(
    name: str = "yard",
    *,
    zone: str = "yard",
    coins: Iterable[str] = (),
    mode: str = "Enforce",
    power_off: bool = False,
    ai_watts: int = 300,
    **more: Any,
) -> dict[str, Any]:
    """A pool over the rigs of a zone in which all may move at once."""
    spec = {
        "rigSelector": {"matchLabels": {machines.ZONE: zone}},
        "mode": mode,
        "coins": list(coins),
        "powerOff": power_off,
        "powerProfiles": [{"gpu": CARD, "aiWatts": ai_watts, "idleWatts": 10}],
        "switching": {"maxConcurrent": "100%"},
    }
    return ours("GPUPool", name, {**spec, **more})


def coin(name: str, *, feed: str = "", wallet: str = "wallet") -> dict[str, Any]:
    """A Coin that every card mines at 100 MH/s and 200 W, at once."""
    spec = {
        "algorithm": "kawpow",
        "unit": "MH/s",
        "revenueFeed": feed or f"revenue-{name}",
        "startup": "0s",
        "wallet": {"secretName": wallet},
        "pools": ["stratum+tcp://pool.example.com:4444"],
        "miner": {"image": "registry.example.com/miner:1.0", "args": ["--user", "$(WALLET).$(RIG)"]},
        "benchmarks": [{"gpu": CARD, "hashrate": "100", "watts": 200}],
    }
    return ours("Coin", name, spec)


def feed(name: str, source: Mapping[str, Any], *, power: bool = False, **more: Any) -> dict[str, Any]:
    """A PriceFeed: dollars per kWh, or per hour for 1 MH/s."""
    quantity, unit = ("ElectricityPrice", "USD/kWh") if power else ("CoinRevenue", "USD/(MH/s)/hour")
    return ours("PriceFeed", name, {"quantity": quantity, "unit": unit, "source": dict(source), **more})


def aijob(
    name: str,
    *,
    replicas: int = 1,
    gpus: int = 2,
    bid: str = "50",
    work_seconds: float = 3600,
    notice: str = "5s",
    min_runtime: str = "0s",
    duration: str = "2h",
    template: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """An AIJob that fills whole rigs, whose simulated work takes so many seconds of farm time."""
    notes = {work.WORK_SECONDS: str(work_seconds), work.REPLICAS: str(replicas)}
    containers = [{"name": "work", "image": "registry.example.com/work:1.0"}]
    spec = {
        "workloadClass": "Batch",
        "replicas": replicas,
        "gpusPerReplica": gpus,
        "bid": {"usdPerGpuHour": bid},
        "duration": duration,
        "preemption": {"notice": notice, "minRuntime": min_runtime},
        "template": dict(template or {"metadata": {"annotations": notes}, "spec": {"containers": containers}}),
    }
    return ours("AIJob", name, {**spec, **more}, namespace=TENANT)


def gpu_pod(name: str, node: str, *, gpus: int = 1, namespace: str = "default") -> dict[str, Any]:
    """Somebody else's Pod, put on a Node past the scheduler and its taints."""
    container = {"name": "theirs", "image": "registry.example.com/theirs:1.0"}
    container |= {"resources": {"limits": {names.GPU_RESOURCE: str(gpus)}}}  # type: ignore[dict-item]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": node, "containers": [container]},
    }
