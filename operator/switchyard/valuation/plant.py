"""What of a class of rigs stands still while prices come and go: watts, what it mines, which kinds of jobs fit."""

from __future__ import annotations

import dataclasses
from typing import Final

from switchyard.fleet import model
from switchyard.valuation import eligibility, revenue, values

Shape = tuple[model.WorkloadClass, int, model.Requirements]
"""All of a job that decides where it fits."""

_MOST_SHAPES: Final = 4096
"""Kept at once: customers may ask for anything."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A job on a rig: the replicas it can hold, the GPUs these use, and the watts of the whole rig meanwhile."""

    slots: int
    gpus: int
    watts: float


def shape(job: model.Job) -> Shape:
    """Jobs of one shape fit the same rigs."""
    return job.workload_class, job.gpus_per_replica, job.requirements


class Plant:
    """A class of rigs at its Site, under the rules of its pool."""

    def __init__(self, rig_class: values.RigClass, site: model.Site, pool: model.Pool) -> None:
        self.site: Final = site
        self.pool: Final = pool
        self._hardware = rig_class.hardware
        self._base_watts = rig_class.base_watts
        self._profiles = [revenue.profile(gpu, pool.power) for gpu in rig_class.hardware.gpus]
        self.rest_watts: Final = float(rig_class.base_watts + sum(profile.idle_watts for profile in self._profiles))
        self.ai_watts: Final = float(rig_class.base_watts + sum(profile.ai_watts for profile in self._profiles))
        self._yields: dict[str, tuple[model.Coin, revenue.Yielded | values.Refusal]] = {}
        self._rooms: dict[Shape, Room | values.Refusal] = {}

    def holds(self, site: model.Site, pool: model.Pool) -> bool:
        """Whether all of it still holds: nothing of Site and pool has changed but what is told of them."""
        return (self.site is site or _told_apart(self.site) == _told_apart(site)) and (
            self.pool is pool or _told_apart(self.pool) == _told_apart(pool)
        )

    def yielded(self, coin: model.Coin) -> revenue.Yielded | values.Refusal:
        """What a rig does on a coin."""
        known = self._yields.get(coin.name)
        if known is None or known[0] is not coin:
            found = revenue.yielded(coin=coin, hardware=self._hardware, profiles=self.pool.power)
            known = self._yields[coin.name] = coin, found
        return known[1]

    def watts(self, yielded: revenue.Yielded) -> float:
        """Of the whole rig on a coin."""
        return self._base_watts + yielded.gpu_watts

    def room(self, job: model.Job, shaped: Shape) -> Room | values.Refusal:
        """How a job fits a rig; a refusal speaks of some job of its shape. `shaped`: its shape."""
        found = self._rooms.get(shaped)
        if found is None:
            if len(self._rooms) >= _MOST_SHAPES:
                self._rooms.clear()
            found = self._rooms[shaped] = self._look(job)
        return found

    def _look(self, job: model.Job) -> Room | values.Refusal:
        fit = eligibility.fit(job=job, hardware=self._hardware, site=self.site, pool=self.pool)
        if isinstance(fit, values.Refusal):
            return fit
        used = fit.slots * job.gpus_per_replica
        # Which of the fitting cards the device plugin hands out is its own business: count the thirstiest.
        more = sorted(
            (self._profiles[index].ai_watts - self._profiles[index].idle_watts for index in fit.gpus), reverse=True
        )
        return Room(slots=fit.slots, gpus=used, watts=self.rest_watts + sum(more[:used]))


def _told_apart(thing: model.Site | model.Pool) -> model.Site | model.Pool:
    return dataclasses.replace(thing, status={}, generation=0)
