"""What is true in a simulated farm: prices over the whole window, what each card hashes and draws.

Read from the same manifests that the operator is given, but by code of its own and with the whole future in view: an
account that shared the operator's arithmetic could not find fault with it.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from switchyard.api import text
from switchyard.fleet import model
from switchyard.simulate import machines, series, sight

_HASHES = {"H": 1.0, "kH": 1e3, "MH": 1e6, "GH": 1e9, "Sol": 1.0}
_HOURS = {"hour": 1.0, "day": 24.0}
_NO_POWER = (0, 0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Coin:
    """A coin.

    Attributes:
        hashrate, watts: per card model; hashes (or solutions) per second.
        kept: share of the revenue that is left after the pool's and the developer's fee.
        startup_seconds: from the miner's start until it hashes, farm time.
        minimum_mib: GPU memory the dataset needs.
        revenue: $ per hour for one hash (solution) per second, before fees.
    """

    name: str
    hashrate: Mapping[str, float]
    watts: Mapping[str, int]
    kept: float
    startup_seconds: float
    minimum_mib: int
    revenue: series.Series


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site. `price` is $/kWh with the adder; `pue` multiplies every watt."""

    name: str
    zone: str
    jurisdiction: str
    pue: float
    price: series.Series


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything there is.

    Attributes:
        rigs: by name, which is their Node's too.
        sites: by the zone label of their Nodes.
        coins: by name.
        classes: per rig, the classes of AI work its pool serves.
        power: watts at AI work and at rest, per card model.
        off_watts: of a rig that is off.
    """

    rigs: Mapping[str, machines.Machine]
    sites: Mapping[str, Site]
    coins: Mapping[str, Coin]
    classes: Mapping[str, frozenset[str]]
    power: Mapping[str, tuple[int, int]]
    off_watts: int

    def site(self, rig: machines.Machine) -> Site:
        """Where a rig stands."""
        return self.sites[rig.zone]

    def mines(self, rig: machines.Machine, coin: Coin) -> bool:
        """Whether any card of the rig can mine the coin."""
        return self.hashrate(rig, coin) > 0

    def hashrate(self, rig: machines.Machine, coin: Coin) -> float:
        """Hashes per second of the whole rig."""
        return sum(coin.hashrate.get(card.model, 0.0) for card in rig.cards if card.memory_mib >= coin.minimum_mib)

    def mining_watts(self, rig: machines.Machine, coin: Coin) -> float:
        """Watts of the rig while it mines; cards that cannot rest."""
        return rig.host_watts + sum(
            coin.watts[card.model]
            if card.model in coin.watts and card.memory_mib >= coin.minimum_mib
            else self.power.get(card.model, _NO_POWER)[1]
            for card in rig.cards
        )

    def working_watts(self, rig: machines.Machine, gpus: int) -> float:
        """Watts of the rig while so many of its cards do AI work: the thirstiest ones, the others rest."""
        powers = sorted((self.power.get(card.model, _NO_POWER) for card in rig.cards), reverse=True)
        return rig.host_watts + sum(power[0] for power in powers[:gpus]) + sum(power[1] for power in powers[gpus:])

    def draw(self, rig: machines.Machine, pods: Iterable[sight.Pod], *, profile: str) -> float:
        """Watts of a rig with these Pods running on it and this power profile in force."""
        running = [pod for pod in pods if pod.running]
        busy = sum(pod.gpus for pod in running if not pod.coin)
        if busy:
            return self.working_watts(rig, busy)
        mined = next((self.coins[pod.coin] for pod in running if pod.coin in self.coins), None)
        if mined is not None:
            return self.mining_watts(rig, mined)
        return float(self.off_watts) if profile == "off" else self.idle_watts(rig)

    def benchmarks(self, rig: machines.Machine, coin: str, seconds: float) -> list[dict[str, Any]]:
        """What a miner of a coin counts per model of card, once it has run for so many seconds."""
        mined = self.coins.get(coin)
        if mined is None or seconds < mined.startup_seconds:
            return []
        mining = {card.model for card in rig.cards if card.memory_mib >= mined.minimum_mib}
        return [
            {
                "gpu": card,
                "coin": coin,
                "hashesPerSecond": text.format_decimal(mined.hashrate[card]),
                "watts": mined.watts[card],
            }
            for card in sorted(mining & mined.hashrate.keys())
        ]

    def idle_watts(self, rig: machines.Machine) -> float:
        """Watts of the rig at rest."""
        return self.working_watts(rig, 0)


def build(manifests: Iterable[Mapping[str, Any]], *, rigs: Iterable[machines.Machine], root: pathlib.Path) -> World:
    """Read a world from the manifests of Sites, PriceFeeds, Coins and GPUPools.

    Args:
        manifests: all objects of the farm; other kinds are passed over.
        rigs: its machines.
        root: where relative paths of file sources start.

    Raises:
        ValueError: a manifest uses what cannot be replayed (a source that is no file, a tariff by time of use).
    """
    by_kind: dict[str, dict[str, Mapping[str, Any]]] = {}
    for manifest in manifests:
        by_kind.setdefault(manifest["kind"], {})[manifest["metadata"]["name"]] = manifest.get("spec", {})
    feeds = by_kind.get("PriceFeed", {})
    pools = by_kind.get("GPUPool", {}).values()
    sites = [_site(name, spec, feeds, root) for name, spec in by_kind.get("Site", {}).items()]
    machinery = {rig.name: rig for rig in rigs}
    return World(
        rigs=machinery,
        sites={site.zone: site for site in sites},
        coins={name: _coin(name, spec, feeds, root) for name, spec in by_kind.get("Coin", {}).items()},
        classes={name: _classes(rig, by_kind.get("GPUPool", {})) for name, rig in machinery.items()},
        power={
            profile["gpu"]: (profile["aiWatts"], profile["idleWatts"])
            for pool in pools
            for profile in pool.get("powerProfiles", ())
        },
        off_watts=max((pool.get("offWatts", 5) for pool in pools), default=5),
    )


def _classes(rig: machines.Machine, pools: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The classes that the first pool by name serves whose selector matches the rig's labels."""
    labels = rig.node()["metadata"]["labels"]
    for _, spec in sorted(pools.items()):
        wanted = spec["rigSelector"]
        selector = model.Selector(
            match_labels=wanted.get("matchLabels", {}),
            expressions=tuple(
                (entry["key"], entry["operator"], tuple(entry.get("values", ())))
                for entry in wanted.get("matchExpressions", ())
            ),
        )
        if selector.matches(labels):
            return frozenset(spec.get("workloadClasses", tuple(model.WorkloadClass)))
    return frozenset()


def _site(name: str, spec: Mapping[str, Any], feeds: Mapping[str, Mapping[str, Any]], root: pathlib.Path) -> Site:
    tariff = spec["tariff"]
    if "feed" in tariff:
        adder = float(tariff["feed"].get("adderUsdPerKilowattHour", "0"))
        price = _feed(feeds, tariff["feed"]["priceFeed"], root).transformed(offset=adder)
    elif "fixed" in tariff:
        price = series.Series.constant(float(tariff["fixed"]["usdPerKilowattHour"]))
    else:
        raise ValueError(f"Site {name}: a simulated farm needs a tariff by feed or a fixed one")
    return Site(
        name=name,
        zone=spec["nodeSelector"]["matchLabels"][machines.ZONE],
        jurisdiction=spec["jurisdiction"],
        pue=float(spec.get("pue", "1")),
        price=price,
    )


def _coin(name: str, spec: Mapping[str, Any], feeds: Mapping[str, Mapping[str, Any]], root: pathlib.Path) -> Coin:
    hashes = _HASHES[spec["unit"].removesuffix("/s")]
    benchmarks = spec["benchmarks"]
    return Coin(
        name=name,
        hashrate={entry["gpu"]: float(entry["hashrate"]) * hashes for entry in benchmarks},
        watts={entry["gpu"]: entry["watts"] for entry in benchmarks},
        kept=(1 - float(spec.get("poolFee", "0"))) * (1 - float(spec.get("devFee", "0"))),
        startup_seconds=text.parse_duration(spec.get("startup", "0s")),
        minimum_mib=text.parse_mebibytes(spec["minGpuMemory"]) if "minGpuMemory" in spec else 0,
        revenue=_feed(feeds, spec["revenueFeed"], root),
    )


def _feed(feeds: Mapping[str, Mapping[str, Any]], name: str, root: pathlib.Path) -> series.Series:
    """A feed's values in $/kWh, or in $ per hash (solution) per second and hour."""
    if name not in feeds:
        raise ValueError(f"there is no PriceFeed {name}")
    spec = feeds[name]
    source = spec["source"]
    if "static" in source:
        values = series.Series.constant(float(source["static"]["value"]))
    elif source.get("file", {}).get("format") == "CSV":
        file = source["file"]
        values = series.read_csv(
            root / file["path"],
            time=file.get("timeColumn", "time"),
            value=file.get("valueColumn", "value"),
            where=file.get("where"),
        )
    else:
        raise ValueError(f"PriceFeed {name}: a simulated farm needs a CSV file or a static value")
    return values.transformed(factor=_factor(spec["unit"]))


def _factor(unit: str) -> float:
    """From a feed's unit to $/kWh, or to $ per hash (solution) per second and hour."""
    if unit == "USD/kWh":
        return 1.0
    if unit == "USD/MWh":
        return 1e-3
    if not unit.startswith("USD/("):
        raise ValueError(f"a simulated farm cannot replay prices in {unit}: give them in US dollars")
    rate, _, span = unit.removeprefix("USD/(").partition("/s)/")
    return 1 / (_HASHES[rate] * _HOURS[span])
