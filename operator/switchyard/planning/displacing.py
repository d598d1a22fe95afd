"""Room for a better bid: which gangs at work would be stopped for one that waits, and what that is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

import numpy as np

from switchyard.fleet import model
from switchyard.planning import bidprice, gangs, placing, pricing, standing
from switchyard.planning import request as planning

_CLOSE: Final = 0.9
"""A bid that misses the first estimate by more is not looked at any closer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Gangs that would make room, with what stopping them loses, $."""

    gangs: tuple[gangs.Gang, ...]
    loss_usd: float


class Tenants:
    """Gangs at work that may be stopped now, dwindling while jobs are decided on."""

    def __init__(self, desk: standing.Desk, *, working: Iterable[gangs.Gang], quoted: pricing.Quoted | None) -> None:
        self.margin = bidprice.UNPRICED_MARGIN if quoted is None else bidprice.MARGIN
        self._desk = desk
        self._gangs = [
            gang
            for gang in working
            if gang.stoppable and gangs.ran_enough(desk, gang.job) and all(placing.free(view) for view, _ in gang.rigs)
        ]
        self._stakes = _stakes(desk, self._gangs, quoted)
        self._there = np.ones(len(self._gangs), dtype=bool)
        classes = sorted({view.class_key for gang in self._gangs for view, _ in gang.rigs})
        self._classes = {key: place for place, key in enumerate(classes)}
        self._rigs = np.zeros((len(self._gangs), len(classes)), dtype=np.int64)
        for row, gang in enumerate(self._gangs):
            for view, _ in gang.rigs:
                self._rigs[row, self._classes[view.class_key]] += 1
        self._losses: dict[float, bidprice.Floats] = {}

    @property
    def any(self) -> bool:
        """Whether there is one left."""
        return bool(self._there.any())

    def room(self, job: model.Job, *, needed: int) -> Room | None:
        """Gangs whose rigs hold so many replicas of a job, for little loss; None where there are not enough."""
        if not self._there.any():
            return None
        values = self._desk.request.classes
        slots = np.array([values[key].slots.get(job.key, 0) for key in self._classes], dtype=np.int64)
        places = self._rigs @ slots
        losses = np.where(self._there, self._losses_usd(placing.remaining_hours(job)), np.inf)
        numbers = bidprice.least_victims(losses, places, needed=needed)
        if not numbers:
            return None
        return Room(gangs=tuple(self._gangs[number] for number in numbers), loss_usd=float(losses[numbers].sum()))

    def gone(self, stopped: Iterable[gangs.Gang]) -> None:
        """These have been stopped."""
        keys = {gang.job.key for gang in stopped}
        self._there &= np.array([gang.job.key not in keys for gang in self._gangs], dtype=bool)

    def _losses_usd(self, hours: float) -> bidprice.Floats:
        found = self._losses.get(hours)
        if found is None:
            found = self._losses[hours] = self._stakes.losses_usd(hours)
        return found


def hours_gained(job: model.Job, room: Room, *, priced: bool) -> float:
    """Over which a newcomer's gain counts: all its work, or without prices as long as one of the others would run."""
    hours = placing.remaining_hours(job)
    if priced:
        return hours
    return min(hours, max(placing.remaining_hours(gang.job) for gang in room.gangs))


def scarcity_usd_per_hour(
    choice: Iterable[tuple[planning.RigView, int]], quoted: pricing.Quoted | None, hours: float
) -> float:
    """What the rigs of a choice would fetch from others, $/h."""
    if quoted is None:
        return 0.0
    circuits = quoted.desk.request.circuits
    known: dict[tuple[str, str], float] = {}
    total = 0.0
    for view, _ in choice:
        block = view.class_key, view.circuit if view.circuit in circuits else ""
        if block not in known:
            known[block] = quoted.rig_usd_per_hour(*block, hours)
        total += known[block]
    return total


def promising(needed_usd_per_gpu_hour: float, bid_usd_per_gpu_hour: float) -> bool:
    """Whether a bid is near enough to an estimate to be looked at."""
    return bid_usd_per_gpu_hour >= _CLOSE * needed_usd_per_gpu_hour


def _stakes(desk: standing.Desk, found: list[gangs.Gang], quoted: pricing.Quoted | None) -> bidprice.Stakes:
    hours = [placing.remaining_hours(gang.job) for gang in found]
    return bidprice.Stakes(
        usd_per_hour=np.array([gang.net - gang.other for gang in found]),
        scarcity_usd_per_hour=None
        if quoted is None
        else np.array(
            [scarcity_usd_per_hour(gang.rigs, quoted, left) for gang, left in zip(found, hours, strict=True)]
        ),
        hours=np.array(hours),
        start_usd=np.array([gang.moving_usd - gang.stop_usd for gang in found]),
        stop_usd=np.array([gang.stop_usd for gang in found]),
        patience_hours=np.array([pricing.patience_hours(desk, gang.job) for gang in found]),
    )


def freed(desk: standing.Desk, room: Room) -> placing.Kinds:
    """The rigs that would come free, by kind: their stop is paid for."""
    return placing.by_kind(desk, (view for gang in room.gangs for view, _ in gang.rigs), stopped=True)
