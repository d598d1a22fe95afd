"""What every mode is worth on every class of rigs: `value(farm, market, now) -> Valuation`.

A farm has thousands of rigs and a handful of kinds of rigs. Everything is worked out once per class; a rig only costs
finding its class.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Mapping

from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.valuation import eligibility, power, revenue, values

_Signature = tuple[str, str, int, int, int, tuple[tuple[object, ...], ...]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Which rigs are alike. It depends on a farm's rigs, pools and sites alone, and is good until one of them changes.

    Attributes:
        found: the classes by key.
        class_of: key by rig.
        unvalued: by rig, why it is in none.
    """

    found: Mapping[str, values.RigClass]
    class_of: Mapping[str, str]
    unvalued: Mapping[str, values.Refusal]


def value(farm: model.Farm, market: quotes.Market, now: datetime.datetime) -> values.Valuation:
    """Worths of all modes on all rigs of the farm at `now`."""
    return appraise(farm, classify(farm), market, now)


def classify(farm: model.Farm) -> Classes:
    """Sort the rigs of a farm into classes."""
    keys: dict[_Signature, str] = {}
    classes: dict[str, values.RigClass] = {}
    class_of: dict[str, str] = {}
    unvalued: dict[str, values.Refusal] = {}
    for rig in farm.rigs.values():
        pool = farm.pools.get(farm.pool_of.get(rig.name, ""))
        lack = _unvalued(rig, pool, farm.sites.get(rig.site))
        if lack is not None or pool is None:
            unvalued[rig.name] = lack or _lack("Unknown", "")
            continue
        signature = _signature(rig, pool.name)
        key = keys.get(signature)
        if key is None:
            key = keys[signature] = _key(signature)
            classes[key] = values.RigClass(
                key=key, site=rig.site, pool=pool.name, hardware=rig.hardware, base_watts=rig.base_watts
            )
        class_of[rig.name] = key
    return Classes(found=classes, class_of=class_of, unvalued=unvalued)


def appraise(farm: model.Farm, classes: Classes, market: quotes.Market, now: datetime.datetime) -> values.Valuation:
    """Worths of all modes on all classes at `now`; `classes` are the farm's."""
    open_jobs = [job for _, job in sorted(farm.jobs.items()) if job.state is not model.JobState.FINISHED]
    return values.Valuation(
        classes={
            key: _ClassAt(farm, market, found, farm.sites[found.site], farm.pools[found.pool]).value(open_jobs, now)
            for key, found in classes.found.items()
        },
        class_of=classes.class_of,
        unvalued=classes.unvalued,
    )


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


class _ClassAt:
    """One class of rigs on one market."""

    def __init__(
        self,
        farm: model.Farm,
        market: quotes.Market,
        rig_class: values.RigClass,
        site: model.Site,
        pool: model.Pool,
    ) -> None:
        self._farm = farm
        self._market = market
        self._class = rig_class
        self._site = site
        self._pool = pool
        self._profiles = [revenue.profile(gpu, pool.power) for gpu in rig_class.hardware.gpus]
        self._rest_watts = float(rig_class.base_watts + sum(profile.idle_watts for profile in self._profiles))
        self._rate = 0.0
        self._trust = 1.0
        self._watts: dict[model.Mode, float] = {}

    def value(self, jobs: list[model.Job], now: datetime.datetime) -> values.ClassValue:
        """Everything about the class."""
        price = power.price(site=self._site, market=self._market, now=now)
        if price.usd_per_kwh is not None:
            self._rate = power.usd_per_watt_hour(usd_per_kwh=price.usd_per_kwh, pue=self._site.pue)
        self._trust = price.trust
        fits = self._fits(jobs)
        found: list[values.Worth | values.Refusal] = [self._mining(name) for name in dict.fromkeys(self._pool.coins)]
        found.append(self._idle())
        found.append(self._off())
        found.extend(self._ai(job, fits[job.key]) for job in jobs)
        if price.usd_per_kwh is None:
            found = [_unpriced(entry, price.missing) for entry in found]
        return values.ClassValue(
            rig_class=self._class,
            worths={entry.mode: entry for entry in found if isinstance(entry, values.Worth)},
            refusals={entry.mode: entry for entry in found if isinstance(entry, values.Refusal)},
            usd_per_kwh=price.usd_per_kwh,
            slots={key: fit.slots for key, fit in fits.items() if isinstance(fit, eligibility.Fit)},
            rest_watts=self._rest_watts,
            ai_watts=float(self._class.base_watts + sum(profile.ai_watts for profile in self._profiles)),
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
        quote = revenue.quoted(coin, self._market)
        mined = revenue.mined(
            coin=coin,
            hardware=self._class.hardware,
            usd_per_hash_hour=quote.value if isinstance(quote, quotes.Quote) else 0.0,
            profiles=self._pool.power,
        )
        if isinstance(mined, values.Refusal):
            return mined
        watts = self._class.base_watts + mined.gpu_watts
        if isinstance(quote, values.Refusal):
            self._watts[mode] = watts  # a rig that mines it goes on drawing them
            return quote
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
        return self._worth(model.IDLE, self._rest_watts)

    def _off(self) -> values.Worth | values.Refusal:
        if not self._pool.off:
            return values.Refusal(
                mode=model.OFF, reason="NotAllowed", lacks=f"GPUPool {self._pool.name} does not power rigs off"
            )
        return self._worth(model.OFF, float(self._pool.off_watts))

    def _fits(self, jobs: list[model.Job]) -> Mapping[str, eligibility.Fit | values.Refusal]:
        return {
            job.key: eligibility.fit(job=job, hardware=self._class.hardware, site=self._site, pool=self._pool)
            for job in jobs
        }

    def _ai(self, job: model.Job, fit: eligibility.Fit | values.Refusal) -> values.Worth | values.Refusal:
        if isinstance(fit, values.Refusal):
            return fit
        used = fit.slots * job.gpus_per_replica
        # Which of the fitting cards the device plugin hands out is its own business: count the thirstiest.
        more = sorted(
            (self._profiles[index].ai_watts - self._profiles[index].idle_watts for index in fit.gpus), reverse=True
        )
        return self._worth(job.mode, self._rest_watts + sum(more[:used]), revenue_usd=job.bid_usd_per_gpu_hour * used)


def _unpriced(entry: values.Worth | values.Refusal, missing: str) -> values.Refusal:
    if isinstance(entry, values.Refusal):
        return entry
    return values.Refusal(mode=entry.mode, reason="NoTrustedPrice", lacks=f"needs a price of power: {missing}")
