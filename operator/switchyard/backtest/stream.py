"""What a policy may know: the present and the past of a Script, and forecasts that have been published by then."""

from __future__ import annotations

import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from switchyard.backtest import script as scripts

Floats = npt.NDArray[np.float64]
_Value = TypeVar("_Value", int, float)


class FutureError(LookupError):
    """A policy asked for something that has not happened yet."""


def observed(script: scripts.Script, *, seed: int) -> Mapping[str, Floats]:
    """Gross revenue of every coin as it is seen: the truth times exp(z), z an AR(1) process per coin, from `seed`."""
    noise = script.noise
    if noise.sigma <= 0:
        return {coin.name: coin.usd_per_unit_hour for coin in script.coins}
    kept = 0.5 ** (script.step_seconds / noise.half_life_seconds)
    fresh = noise.sigma * math.sqrt(1 - kept * kept)
    found = {}
    for coin in script.coins:
        shocks = _chance(seed, "noise", coin.name).standard_normal(script.steps).tolist()
        deviation = noise.sigma * shocks[0]
        seen = [deviation]
        for shock in shocks[1:]:
            deviation = kept * deviation + fresh * shock
            seen.append(deviation)
        found[coin.name] = coin.usd_per_unit_hour * np.exp(seen)
    return found


def _chance(seed: int, *words: str) -> np.random.Generator:
    # Python's own hash differs from process to process.
    digest = hashlib.blake2b(repr((seed, words)).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def _shuffled(site: scripts.SiteScript, seed: int) -> tuple[scripts.Publication, ...]:
    order = _chance(seed, "forecasts", site.name).permutation(len(site.publications))
    return tuple(
        scripts.Publication(
            step=publication.step,
            start=publication.start,
            interval_seconds=publication.interval_seconds,
            usd_per_kwh=site.publications[other].usd_per_kwh,
        )
        for publication, other in zip(site.publications, order, strict=True)
    )


class Stream:
    """A Script as it happens. `advance` is the world's; everything else is anybody's, up to the present step.

    With `shuffle_forecasts`, every publication speaks of a day that another one was made for.
    """

    def __init__(
        self,
        script: scripts.Script,
        *,
        revenue: Mapping[str, Floats],
        seed: int = 0,
        shuffle_forecasts: bool = False,
    ) -> None:
        self.step = -1
        self._start = script.start
        self._step_seconds = script.step_seconds
        self._steps = script.steps
        self._power: dict[str, list[float]] = {site.name: site.usd_per_kwh.tolist() for site in script.sites}
        self._revenue: dict[str, list[float]] = {name: values.tolist() for name, values in revenue.items()}
        self._prices: dict[str, list[float]] = {
            demand.name: demand.usd_per_gpu_hour.tolist() for demand in script.demands
        }
        self._wanted: dict[str, list[int]] = {
            demand.name: np.asarray(demand.gpus_wanted).tolist() for demand in script.demands
        }
        self._publications = {
            site.name: tuple(
                sorted(
                    _shuffled(site, seed) if shuffle_forecasts else site.publications,
                    key=lambda publication: publication.step,
                )
            )
            for site in script.sites
        }
        self._published = dict.fromkeys(self._publications, 0)
        self._jobs = sorted(script.jobs, key=lambda job: (job.arrival_seconds, job.key))
        self._arrived = 0

    def advance(self) -> bool:
        """Let the next step begin; False where there is none."""
        if self.step + 1 >= self._steps:
            return False
        self.step += 1
        for site, found in self._publications.items():
            known = self._published[site]
            while known < len(found) and found[known].step <= self.step:
                known += 1
            self._published[site] = known
        return True

    @property
    def now(self) -> datetime.datetime:
        """Moment at which the present step begins."""
        return self.moment(self.step)

    def moment(self, step: int) -> datetime.datetime:
        """Moment at which a step begins, past or future: a calendar is no secret."""
        return self._start + datetime.timedelta(seconds=step * self._step_seconds)

    def usd_per_kwh(self, site: str, step: int | None = None) -> float:
        """Price of power at a step; now, where none is named. Raises FutureError."""
        return self._known(self._power[site], step)

    def usd_per_unit_hour(self, coin: str, step: int | None = None) -> float:
        """Gross revenue of a coin as it was seen. Raises FutureError."""
        return self._known(self._revenue[coin], step)

    def usd_per_gpu_hour(self, demand: str, step: int | None = None) -> float:
        """What a demand pays. Raises FutureError."""
        return self._known(self._prices[demand], step)

    def gpus_wanted(self, demand: str, step: int | None = None) -> int:
        """GPUs that a demand takes. Raises FutureError."""
        return self._known(self._wanted[demand], step)

    def published(self, site: str) -> tuple[scripts.Publication, ...]:
        """The last two forecasts that are known by now, the older first: one may speak of today, the next of tomorrow.

        Raises KeyError for a site that has none.
        """
        known = self._published[site]
        return tuple(self._publications[site][max(0, known - 2) : known])

    def arrivals(self) -> list[scripts.JobScript]:
        """Jobs that have come since this was last asked."""
        since = self._arrived
        until = self.step * self._step_seconds
        while self._arrived < len(self._jobs) and self._jobs[self._arrived].arrival_seconds <= until:
            self._arrived += 1
        return self._jobs[since : self._arrived]

    def _known(self, values: Sequence[_Value], step: int | None) -> _Value:
        at = self.step if step is None else step
        if at > self.step or at < 0:
            raise FutureError(f"step {at} was asked for at step {self.step}: it has not happened yet")
        return values[at]
