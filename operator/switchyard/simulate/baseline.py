"""The best a farm could have done without switching, in hindsight: what Switchyard has to beat.

A static farm decides once, for the whole window, and knows beforehand how prices and jobs will turn out:

- Each kind of rig has the one non-AI mode that pays best over the window: one coin, idle, or off.
- Of each kind that customers can use, k rigs are set aside for AI. They take jobs first come first served; a job that
  does not fit lets later ones pass; a gang starts when all its replicas fit, a rig works for one job at a time, and one
  without work idles. Jobs that bid less than a fixed floor are turned away.
- k, the floor, and which kinds a job is put on first (those with the cheapest power, or those that few other jobs can
  use) are the ones that earn the most. k is searched coordinate by coordinate from several starts, so the result may
  miss the very best split by a little; the floor is tried at several values.
- Changing hands costs a static farm nothing: a job starts the moment it fits, a coin hashes from the first second.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Mapping, Sequence

from switchyard.simulate import arrivals, machines, world

FLOORS_USD_PER_GPU_HOUR = (0.0, 0.05, 0.08, 0.1, 0.12)
_ROUNDS = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """The best static farm.

    Attributes:
        usd: what it would have earned, net of power.
        mode: per kind of rig, what those do that are not set aside: a coin's name, `idle` or `off`.
        ai: per kind of rig, how many are set aside for AI.
        floor_usd_per_gpu_hour: bids below are turned away.
        jobs: how many jobs it would have finished.
    """

    usd: float
    mode: Mapping[str, str]
    ai: Mapping[str, int]
    floor_usd_per_gpu_hour: float
    jobs: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    at: float
    hours: float
    replicas: int
    usd_per_hour: float
    bid: float
    gpus: int
    slots: Mapping[str, int]  # replicas one rig of a kind can hold


def best(
    truth: world.World, jobs: Sequence[arrivals.Arrival], *, start: float, end: float, thorough: bool = True
) -> Static:
    """The best static farm between two moments (Unix seconds). `thorough=False` searches less, for a live view."""
    search = _Search(truth, [job for job in jobs if job.at.timestamp() < end], start=start, end=end)
    floors = FLOORS_USD_PER_GPU_HOUR if thorough else (0.0,)
    shares = (0.0, 0.5, 1.0) if thorough else (1.0,)
    found = [
        search.climb(floor=floor, share=share, order=order)
        for order in search.orders()
        for floor in floors
        for share in shares
    ]
    return max(found, key=lambda each: each.usd)


class _Search:
    """Evaluates splits over one window. Kinds are of one site each: rigs of a kind are all alike."""

    def __init__(self, truth: world.World, jobs: Sequence[arrivals.Arrival], *, start: float, end: float) -> None:
        self._truth = truth
        self._start, self._end = start, end
        self._rig: dict[str, machines.Machine] = {}
        self._count: dict[str, int] = {}
        for rig in truth.rigs.values():
            self._rig.setdefault(rig.kind, rig)
            self._count[rig.kind] = self._count.get(rig.kind, 0) + 1
        self._best_mode = {kind: self._fixed(rig) for kind, rig in self._rig.items()}
        self._idle = {kind: -self._power(rig, truth.idle_watts(rig), start, end) for kind, rig in self._rig.items()}
        self._jobs = [self._job(job) for job in jobs]
        self._asked = {kind: sum(kind in job.slots for job in self._jobs) for kind in self._rig}
        self._able = [kind for kind in self._rig if any(kind in job.slots for job in self._jobs)]
        self._seen: dict[tuple[tuple[int, ...], float, tuple[str, ...]], tuple[float, int]] = {}

    def orders(self) -> list[tuple[str, ...]]:
        """Orders in which kinds may be filled."""
        thrifty = sorted(self._rig, key=lambda kind: -self._idle[kind] / self._truth.idle_watts(self._rig[kind]))
        special = sorted(self._rig, key=lambda kind: self._asked[kind])
        return [tuple(thrifty), tuple(special)]

    def climb(self, *, floor: float, share: float, order: tuple[str, ...]) -> Static:
        """From `share` of each kind set aside, change one kind at a time for the better until nothing gets better."""
        split = {kind: round(self._count[kind] * share) for kind in self._able}
        usd, jobs = self._worth(split, floor, order)
        for _ in range(_ROUNDS):
            before = usd
            for kind in self._able:
                for count in range(self._count[kind] + 1):
                    tried = {**split, kind: count}
                    worth, finished = self._worth(tried, floor, order)
                    if worth > usd:
                        split, usd, jobs = tried, worth, finished
            if usd <= before:
                break
        return Static(
            usd=usd,
            mode={kind: mode for kind, (mode, _) in self._best_mode.items()},
            ai=split,
            floor_usd_per_gpu_hour=floor,
            jobs=jobs,
        )

    def _fixed(self, rig: machines.Machine) -> tuple[str, float]:
        """The best non-AI mode of one rig, and what it earns over the window."""
        truth = self._truth
        modes = {
            "off": -self._power(rig, truth.off_watts, self._start, self._end),
            "idle": -self._power(rig, truth.idle_watts(rig), self._start, self._end),
        }
        for coin in truth.coins.values():
            if truth.mines(rig, coin):
                earned = truth.hashrate(rig, coin) * coin.kept * coin.revenue.area(self._start, self._end)
                modes[coin.name] = earned - self._power(rig, truth.mining_watts(rig, coin), self._start, self._end)
        return max(modes.items(), key=lambda mode: mode[1])

    def _power(self, rig: machines.Machine, watts: float, start: float, end: float) -> float:
        site = self._truth.site(rig)
        return watts / 1000 * site.pue * site.price.area(start, end)

    def _job(self, job: arrivals.Arrival) -> _Job:
        slots = {}
        for kind, rig in self._rig.items():
            if job.workload_class in self._truth.classes[rig.name]:
                count = job.slots(rig, jurisdiction=self._truth.site(rig).jurisdiction)
                if count:
                    slots[kind] = count
        return _Job(
            at=job.at.timestamp(),
            hours=job.work_seconds / 3600,
            replicas=job.replicas,
            usd_per_hour=job.usd_per_hour,
            bid=job.bid,
            gpus=job.gpus_per_replica,
            slots=slots,
        )

    def _worth(self, split: Mapping[str, int], floor: float, order: tuple[str, ...]) -> tuple[float, int]:
        key = (tuple(split.values()), floor, order)
        if key not in self._seen:
            fixed = sum(
                (count - split.get(kind, 0)) * self._best_mode[kind][1] + split.get(kind, 0) * self._idle[kind]
                for kind, count in self._count.items()
            )
            served, finished = self._serve(split, floor, order)
            self._seen[key] = (fixed + served, finished)
        return self._seen[key]

    def _serve(self, split: Mapping[str, int], floor: float, order: tuple[str, ...]) -> tuple[float, int]:
        """Revenue of the jobs that are served, less the power they draw beyond idling; and how many finish."""
        free = dict(split)
        waiting: list[_Job] = []
        ends: list[tuple[float, int, Mapping[str, int]]] = []
        coming = [job for job in self._jobs if job.bid >= floor and job.slots]
        usd, finished, serial = 0.0, 0, 0
        while coming or ends:
            # Rigs that come free at the same moment as a job arrives are free for it.
            if ends and (not coming or ends[0][0] <= coming[0].at):
                moment, _, rigs = heapq.heappop(ends)
                for kind, count in rigs.items():
                    free[kind] += count
            else:
                moment = coming[0].at
                waiting.append(coming.pop(0))
            left = []
            for job in waiting:
                placed = _place(job, free, order)
                if placed is None:
                    left.append(job)
                    continue
                for kind, count in placed.items():
                    free[kind] -= count
                until = moment + job.hours * 3600
                finished += until <= self._end
                stop = min(until, self._end)
                usd += job.usd_per_hour * (stop - moment) / 3600 - self._work_power(job, placed, moment, stop)
                serial += 1
                if until < self._end:
                    heapq.heappush(ends, (until, serial, placed))
            waiting = left
        return usd, finished

    def _work_power(self, job: _Job, rigs: Mapping[str, int], start: float, end: float) -> float:
        """$ for what a gang's rigs draw beyond idling."""
        usd, left = 0.0, job.replicas
        for kind, count in rigs.items():
            rig, slots = self._rig[kind], job.slots[kind]
            for _ in range(count):
                held = min(slots, left)
                left -= held
                watts = self._truth.working_watts(rig, held * job.gpus) - self._truth.idle_watts(rig)
                usd += self._power(rig, watts, start, end)
        return usd


def _place(job: _Job, free: Mapping[str, int], order: tuple[str, ...]) -> dict[str, int] | None:
    """Rigs per kind for a whole gang, or None."""
    rigs: dict[str, int] = {}
    left = job.replicas
    for kind in order:
        slots = job.slots.get(kind, 0)
        count = min(free.get(kind, 0), -(-left // slots)) if slots else 0
        if count > 0:
            rigs[kind] = count
            left -= count * slots
    return rigs if left <= 0 else None
