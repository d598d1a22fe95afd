"""The farm of the benchmarks: rigs of four kinds on two or more sites, three coins, prices that stand still.

Amounts of money are not meant to be likely: they are such that the policy moves rigs as soon as a price changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from switchyard.simulate import machines

HILL: Final = "hill"
"""The site whose power never changes its price."""
QUIET, SPIKE = 0.05, 1000.0
"""$/kWh at a barn, as a rule and when its rigs shall go to the coin that needs next to no power."""
MINERS: Final = "switchyard-miners"
BEFORE, AFTER = "kas", "rvn"
"""The coin that pays while power is cheap, and the one that still does when it is not."""

# model, GPUs of a rig, MiB of memory, compute capability
_KINDS: Final = (
    ("NVIDIA-GeForce-RTX-3090", 6, 24576, (8, 6)),
    ("NVIDIA-GeForce-RTX-3080", 6, 10240, (8, 6)),
    ("NVIDIA-GeForce-RTX-3070", 8, 8192, (8, 6)),
    ("NVIDIA-GeForce-RTX-2080", 8, 8192, (7, 5)),
)
# Of one GPU: $/h at the feeds below, watts.
_COINS: Final = {BEFORE: ("0.1", 300), AFTER: ("0.02", 5), "erg": ("0.01", 150)}


def barn(number: int) -> str:
    """Name of a site whose power the benchmark sets the price of."""
    return f"barn-{number}"


def rigs(*, count: int, barns: int, of_barn: int) -> tuple[machines.Machine, ...]:
    """All rigs: the first ones stand in the barns, `of_barn` in each, the others on the hill."""
    return tuple(_rig(number, barn(number // of_barn) if number < barns * of_barn else HILL) for number in range(count))


def _rig(number: int, zone: str) -> machines.Machine:
    model, gpus, memory, capability = _KINDS[number % len(_KINDS)]
    card = machines.Card(
        model=model,
        memory_mib=memory,
        compute_capability=capability,
        pcie_generation=3,
        pcie_width=1,
        link_gigabytes_per_second=0.8,
    )
    return machines.Machine(
        name=f"rig-{number:04d}",
        kind=model,
        zone=zone,
        cards=(card,) * gpus,
        host_memory_mib=8192,
        cpu_cores=2,
        host_watts=80,
    )


def objects(*, barns: int, prices: str) -> Iterator[dict[str, Any]]:
    """Everything but the Nodes. `prices` is the address where the power's price of each barn is served."""
    yield {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": MINERS},
    }
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "wallet", "namespace": MINERS},
        "stringData": {"address": "nobody"},
    }
    power = {"quantity": "ElectricityPrice", "unit": "USD/kWh"}
    yield _ours("PriceFeed", f"power-{HILL}", {**power, "source": {"static": {"value": str(QUIET)}}})
    yield _site(HILL)
    for number in range(barns):
        source = {"http": {"url": f"{prices}/{barn(number)}", "pointer": "/price"}}
        yield _ours("PriceFeed", f"power-{barn(number)}", {**power, "source": source, "interval": "1s"})
        yield _site(barn(number))
    for name, (worth, watts) in _COINS.items():
        revenue = {"quantity": "CoinRevenue", "unit": "USD/(MH/s)/hour", "source": {"static": {"value": worth}}}
        yield _ours("PriceFeed", f"revenue-{name}", revenue)
        yield _ours(
            "Coin",
            name,
            {
                "algorithm": "kawpow",
                "unit": "MH/s",
                "revenueFeed": f"revenue-{name}",
                "startup": "0s",
                "wallet": {"secretName": "wallet"},
                "pools": [f"stratum+tcp://{name}.example.com:4444"],
                "miner": {"image": "example.test/miner:1"},
                "benchmarks": [{"gpu": kind[0], "hashrate": "100", "watts": watts} for kind in _KINDS],
            },
        )
    yield _ours(
        "GPUPool",
        "all",
        {
            "rigSelector": {"matchExpressions": [{"key": "switchyard.farm/site", "operator": "Exists"}]},
            "mode": "Enforce",
            "coins": list(_COINS),
            "idle": False,
            "powerProfiles": [{"gpu": kind[0], "aiWatts": 220, "idleWatts": 15} for kind in _KINDS],
            "switching": {"maxConcurrent": "100%"},
        },
    )


def _site(name: str) -> dict[str, Any]:
    return _ours(
        "Site",
        name,
        {
            "nodeSelector": {"matchLabels": {machines.ZONE: name}},
            "jurisdiction": "US-TX",
            "timeZone": "America/Chicago",
            "tariff": {"feed": {"priceFeed": f"power-{name}"}},
        },
    )


def _ours(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "switchyard.farm/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
