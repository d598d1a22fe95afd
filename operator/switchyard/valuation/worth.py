"""What every mode is worth on every class of rigs: `value(farm, market, now) -> Valuation`.

A farm has thousands of rigs and a handful of kinds of rigs. Everything is worked out once per class; a rig only costs
finding its class.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Mapping, Sequence

from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.valuation import plant, power, revenue, values

_Signature = tuple[str, str, int, int, int, tuple[tuple[object, ...], ...]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Which rigs are alike. It depends on a farm's rigs, pools and sites alone, and is good until one of them changes.

    Attributes:
        found: the classes by key.
        class_of: key by rig.
        unvalued: by rig, why it is in none.
        farm: that was sorted.
        plants: what stands still of each class, as far as somebody has asked.
    """

    found: Mapping[str, values.RigClass]
    class_of: Mapping[str, str]
    unvalued: Mapping[str, values.Refusal]
    farm: model.Farm = dataclasses.field(default_factory=model.Farm, repr=False, compare=False)
    plants: dict[str, plant.Plant] = dataclasses.field(default_factory=dict, repr=False, compare=False)


def value(farm: model.Farm, market: quotes.Market, now: datetime.datetime) -> values.Valuation:
    """Worths of all modes on all rigs of the farm at `now`."""
    return appraise(farm, classify(farm), market, now)


def classify(farm: model.Farm, before: Classes | None = None) -> Classes:
    """Sort the rigs of a farm into classes. `before`: the last answer; only what has changed since is looked at."""
    known = _Known(farm, before)
    keys: dict[_Signature, str] = {}
    classes: dict[str, values.RigClass] = {}
    class_of: dict[str, str] = {}
    unvalued: dict[str, values.Refusal] = {}
    for name, rig in farm.rigs.items():
        key = known.key(name, rig)
        if key is not None and before is not None:
            if key not in classes:
                classes[key] = before.found[key]
            class_of[name] = key
            continue
        pool = farm.pools.get(farm.pool_of.get(name, ""))
        lack = _unvalued(rig, pool, farm.sites.get(rig.site))
        if lack is not None or pool is None:
            unvalued[name] = lack or _lack("Unknown", "")
            continue
        signature = _signature(rig, pool.name)
        key = keys.get(signature)
        if key is None:
            key = keys[signature] = _key(signature)
            if key not in classes:
                classes[key] = values.RigClass(
                    key=key, site=rig.site, pool=pool.name, hardware=rig.hardware, base_watts=rig.base_watts
                )
        class_of[name] = key
    return Classes(
        found=classes,
        class_of=class_of,
        unvalued=unvalued,
        farm=farm,
        plants={key: found for key, found in before.plants.items() if key in classes} if before is not None else {},
    )


class _Known:
    """Rigs that are in their class as they were."""

    def __init__(self, farm: model.Farm, before: Classes | None) -> None:
        self._farm = farm
        self._before = before
        if before is not None and (
            set(farm.sites) != set(before.farm.sites) or set(farm.pools) != set(before.farm.pools)
        ):
            self._before = None

    def key(self, name: str, rig: model.Rig) -> str | None:
        """The class of a rig of which nothing has changed; None for others, and for those that were in none."""
        if self._before is None:
            return None
        farm = self._before.farm
        if farm.rigs.get(name) is not rig or farm.pool_of.get(name) != self._farm.pool_of.get(name):
            return None
        return self._before.class_of.get(name)


def appraise(farm: model.Farm, classes: Classes, market: quotes.Market, now: datetime.datetime) -> values.Valuation:
    """Worths of all modes on all classes at `now`; `classes` are the farm's."""
    jobs = [job for _, job in sorted(farm.jobs.items()) if job.state is not model.JobState.FINISHED]
    work = [(job, job.mode, plant.shape(job)) for job in jobs]
    return values.Valuation(
        classes={
            key: _ClassAt(farm, market, found, _plant(farm, classes, found)).value(work, now)
            for key, found in classes.found.items()
        },
        class_of=classes.class_of,
        unvalued=classes.unvalued,
    )


def _plant(farm: model.Farm, classes: Classes, rig_class: values.RigClass) -> plant.Plant:
    site, pool = farm.sites[rig_class.site], farm.pools[rig_class.pool]
    known = classes.plants.get(rig_class.key)
    if known is None or not known.holds(site, pool):
        known = classes.plants[rig_class.key] = plant.Plant(rig_class, site, pool)
    return known


def _unvalued(rig: model.Rig, pool: model.Pool | None, site: model.Site | None) -> values.Refusal | None:
    if site is None:
        return _lack("NoSite", f"needs a Site, {rig.site!r} does not exist" if rig.site else "needs a Site")
    if pool is None:
        return _lack("NoPool", "needs a GPUPool that selects it")
    if not rig.hardware.gpus:
        return _lack("NoHardware", "needs GPUs: neither the Node's labels nor the agent have named any")
    return None


def _lack(reason: str, lacks: str) -> values.Refusal:
    return values.Refusal(mode=model.IDLE, reason=reason, lacks=lacks)


def _signature(rig: model.Rig, pool: str) -> _Signature:
    # Without UUIDs, or every rig would be a class of its own; in order, or the slots on the board would matter.
    gpus = sorted(
        (
            gpu.model,
            gpu.memory_mib,
            gpu.compute_capability or (),
            -1.0 if gpu.host_link_gigabytes_per_second is None else gpu.host_link_gigabytes_per_second,
        )
        for gpu in rig.hardware.gpus
    )
    return rig.site, pool, rig.base_watts, rig.hardware.host_memory_mib, rig.hardware.cpu_cores, tuple(gpus)


def _key(signature: _Signature) -> str:
    digest = hashlib.blake2b(repr(signature).encode(), digest_size=5).hexdigest()
    site, pool = signature[0], signature[1]
    return f"{site}.{pool}.{digest}"


_Work = Sequence[tuple[model.Job, model.Mode, plant.Shape]]
"""Jobs that wait or run, with their modes and shapes."""


class _ClassAt:
    """One class of rigs on one market."""

    def __init__(
        self, farm: model.Farm, market: quotes.Market, rig_class: values.RigClass, standing: plant.Plant
    ) -> None:
        self._farm = farm
        self._market = market
        self._class = rig_class
        self._plant = standing
        self._site = standing.site
        self._pool = standing.pool
        self._rate = 0.0
        self._trust = 1.0
        self._watts: dict[model.Mode, float] = {}
        self._slots: dict[str, int] = {}

    def value(self, jobs: _Work, now: datetime.datetime) -> values.ClassValue:
        """Everything about the class."""
        price = power.price(site=self._site, market=self._market, now=now)
        if price.usd_per_kwh is not None:
            self._rate = power.usd_per_watt_hour(usd_per_kwh=price.usd_per_kwh, pue=self._site.pue)
        self._trust = price.trust
        found: list[values.Worth | values.Refusal] = [self._mining(name) for name in dict.fromkeys(self._pool.coins)]
        found.append(self._idle())
        found.append(self._off())
        found.extend(self._ai(job, mode, shape) for job, mode, shape in jobs)
        if price.usd_per_kwh is None:
            found = [_unpriced(entry, price.missing) for entry in found]
        return values.ClassValue(
            rig_class=self._class,
            worths={entry.mode: entry for entry in found if isinstance(entry, values.Worth)},
            refusals={entry.mode: entry for entry in found if isinstance(entry, values.Refusal)},
            usd_per_kwh=price.usd_per_kwh,
            slots=self._slots,
            rest_watts=self._plant.rest_watts,
            ai_watts=self._plant.ai_watts,
            usd_per_watt_hour=self._rate,
            pue=self._site.pue,
            outlook=power.outlook(site=self._site, market=self._market, now=now, price=price),
            watts=self._watts,
        )

    def _worth(
        self, mode: model.Mode, watts: float, *, revenue_usd: float = 0.0, fees_usd: float = 0.0, trust: float = 1.0
    ) -> values.Worth:
        self._watts[mode] = watts
        return values.Worth(
            mode=mode,
            revenue_usd_per_hour=revenue_usd,
            fees_usd_per_hour=fees_usd,
            watts=watts,
            power_usd_per_hour=watts * self._rate,
            trust=min(trust, self._trust),
        )

    def _mining(self, name: str) -> values.Worth | values.Refusal:
        mode = model.mining(name)
        coin = self._farm.coins.get(name)
        if coin is None:
            return values.Refusal(mode=mode, reason="UnknownCoin", lacks=f"needs a Coin named {name}")
        done = self._plant.yielded(coin)
        if isinstance(done, values.Refusal):
            return done
        quote = revenue.quoted(coin, self._market)
        watts = self._plant.watts(done)
        if isinstance(quote, values.Refusal):
            self._watts[mode] = watts  # a rig that mines it goes on drawing them
            return quote
        mined = revenue.mined(coin, done, usd_per_hash_hour=quote.value)
        return self._worth(
            mode,
            watts,
            revenue_usd=mined.revenue_usd_per_hour,
            fees_usd=mined.fees_usd_per_hour,
            trust=quote.trust,
        )

    def _idle(self) -> values.Worth | values.Refusal:
        if not self._pool.idle:
            return values.Refusal(
                mode=model.IDLE, reason="NotAllowed", lacks=f"GPUPool {self._pool.name} does not let rigs idle"
            )
        return self._worth(model.IDLE, self._plant.rest_watts)

    def _off(self) -> values.Worth | values.Refusal:
        if not self._pool.off:
            return values.Refusal(
                mode=model.OFF, reason="NotAllowed", lacks=f"GPUPool {self._pool.name} does not power rigs off"
            )
        return self._worth(model.OFF, float(self._pool.off_watts))

    def _ai(self, job: model.Job, mode: model.Mode, shape: plant.Shape) -> values.Worth | values.Refusal:
        room = self._plant.room(job, shape)
        if isinstance(room, values.Refusal):
            return values.Refusal(mode=mode, reason=room.reason, lacks=room.lacks)
        self._slots[mode.name] = room.slots
        return self._worth(mode, room.watts, revenue_usd=job.bid_usd_per_gpu_hour * room.gpus)


def _unpriced(entry: values.Worth | values.Refusal, missing: str) -> values.Refusal:
    if isinstance(entry, values.Refusal):
        return entry
    return values.Refusal(mode=entry.mode, reason="NoTrustedPrice", lacks=f"needs a price of power: {missing}")
