"""A bound on what anybody could have earned, where ranks are no problems of their own: one linear programme of flows.

GPUs flow between the modes of their group over time and pay for it; jobs take GPUs by fractions, in as many pieces as
they like, within their window; circuits carry what they can carry. Everything that is rounded off here is rounded in
favour of the schedule, so no policy that keeps to its circuits earns more:

- rigs, gangs and jobs may be split, and jobs interrupted without loss;
- a job pays the cheapest way into AI work, spread over its duration; a GPU from elsewhere only what is beyond that;
- leaving a demand evicts at least what the concave true count has as its chord;
- a job of a few steps draws power at its window's best price;
- the horizon is cut into spans, and between two of them every GPU moves freely; a job may do its work in each of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.backtest import linear, rewards, world
from switchyard.backtest import script as scripts
from switchyard.fleet import model

Floats = npt.NDArray[np.float64]

_SPAN_STEPS: Final = 2016
"""Two weeks of ten-minute steps: a move per GPU and fortnight is what a cut can give away."""

_FEW_SLOTS: Final = 12
"""Jobs of so many steps are paid by whole steps; with more, the one that is cut short does not matter."""


def profit_usd(script: scripts.Script, tables: Sequence[rewards.Table], *, scale: float) -> float:
    """A bound on the profit after the warm-up, in $. `tables` hold the true prices. Raises linear.UnsolvedError."""
    return sum(
        Span(script, tables, begin=begin, end=end, scale=scale).solve()
        for begin, end in spans(script.warmup_steps, script.steps)
    )


def spans(begin: int, end: int, *, most: int = _SPAN_STEPS) -> Iterator[tuple[int, int]]:
    """Spans of about equal length."""
    count = max(1, -(-(end - begin) // most))
    edges = np.linspace(begin, end, count + 1).round().astype(int).tolist()
    return itertools.pairwise(edges)


class Span:
    """The programme over steps [begin, end)."""

    def __init__(
        self, script: scripts.Script, tables: Sequence[rewards.Table], *, begin: int, end: int, scale: float
    ) -> None:
        self._script = script
        self._begin, self._end = begin, end
        self._scale = scale
        self._hours = rewards.hours(script)
        self._limits = rewards.circuits(script)
        self._lp = linear.Programme()
        self._watts: dict[str, list[linear.Term]] = {key: [] for key in self._limits}
        self._standing: list[npt.NDArray[np.int64] | None] = [self._group(table) for table in tables]
        if script.jobs:
            self._jobs(tables)
        for key, terms in self._watts.items():
            self._lp.rows(terms, lower=-np.inf, upper=np.full(end - begin, self._limits[key]))

    def solve(self) -> float:
        """The optimum, $."""
        return self._lp.maximise()

    def _group(self, table: rewards.Table) -> npt.NDArray[np.int64] | None:
        """Flows of one group; gives the columns of GPUs that stand ready for jobs."""
        lp, hours, length = self._lp, self._hours, self._end - self._begin
        gpus = table.group.rigs * table.group.gpus_per_rig
        rates = table.rates[self._begin : self._end] / table.group.gpus_per_rig * hours
        key = rewards.circuit_key(table.group)
        hired = {hire.mode: hire for hire in table.hires}
        kept = [place for place in self._kept(table) if place not in hired or gpus]
        stand: dict[int, npt.NDArray[np.int64]] = {}
        leave: dict[int, npt.NDArray[np.int64]] = {}
        come: dict[int, npt.NDArray[np.int64]] = {}
        first = self._begin == 0
        for place in kept:
            usable = table.allowed[place] or place == table.work
            stand[place] = lp.columns(length, gain=rates[:, place], upper=gpus if usable else 0.0)
            # A span that begins later begins wherever it likes: its first step has no moves.
            moving = np.full(length, np.inf)
            if not first:
                moving[0] = 0.0
            leave[place] = lp.columns(length, gain=0.0, upper=moving)
            come[place] = lp.columns(length, gain=0.0, upper=moving)
            before = [linear.Term(columns=stand[place][:-1], rows=slice(1, None), factor=-1.0)]
            start = np.zeros(length)
            if first and place == table.idle:
                start[0] = gpus
            free = np.zeros(length)
            if not first:
                free[0] = np.inf
            lp.rows(
                [
                    linear.Term(columns=stand[place], factor=1.0),
                    linear.Term(columns=leave[place], factor=1.0),
                    linear.Term(columns=come[place], factor=-1.0),
                    *before,
                ],
                lower=start - free,
                upper=start + free,
            )
            if key in self._watts:
                self._watts[key].append(
                    linear.Term(columns=stand[place], factor=table.watts[place] / table.group.gpus_per_rig)
                )
        lp.rows(
            [linear.Term(columns=each, factor=1.0) for each in stand.values()],
            lower=np.full(length, gpus),
            upper=np.full(length, gpus),
        )
        self._hubs(table, kept, leave, come)
        for place, hire in hired.items():
            self._hire(table, hire, stand[place], leave[place], key)
        return stand.get(table.work)

    def _kept(self, table: rewards.Table) -> list[int]:
        """Modes without the coins that another coin beats at every step, and draws no more."""
        coins = [place for place, mode in enumerate(table.modes) if mode.kind is model.ModeKind.MINING]
        rates = table.rates[self._begin : self._end]
        out: set[int] = set()
        for place in coins:
            for other in coins:
                if (
                    other != place
                    and other not in out
                    and table.watts[other] <= table.watts[place]
                    and bool((rates[:, other] >= rates[:, place]).all())
                ):
                    out.add(place)
                    break
        return [place for place in range(len(table.modes)) if place not in out]

    def _hubs(
        self,
        table: rewards.Table,
        kept: Sequence[int],
        leave: dict[int, npt.NDArray[np.int64]],
        come: dict[int, npt.NDArray[np.int64]],
    ) -> None:
        """What leaves modes of one kind comes to modes of another, at the price of that pair."""
        length = self._end - self._begin
        # Work for jobs is a kind of its own here: its entry is paid for by the jobs, in part.
        hubs: dict[tuple[model.ModeKind, bool], list[int]] = {}
        for place in kept:
            hubs.setdefault((table.modes[place].kind, place == table.work), []).append(place)
        out: dict[tuple[model.ModeKind, bool], list[linear.Term]] = {hub: [] for hub in hubs}
        into: dict[tuple[model.ModeKind, bool], list[linear.Term]] = {hub: [] for hub in hubs}
        least = _entry_usd(self._script, table, scale=self._scale)
        for origin in hubs:
            for target in hubs:
                if origin == target and len(hubs[origin]) == 1:
                    continue
                usd = self._script.switching.usd_per_gpu(origin[0], target[0], scale=self._scale)
                if target[1]:
                    usd -= least
                flow = self._lp.columns(length, gain=-usd, upper=np.inf)
                out[origin].append(linear.Term(columns=flow, factor=-1.0))
                into[target].append(linear.Term(columns=flow, factor=-1.0))
        nothing = np.zeros(length)
        for hub, members in hubs.items():
            self._lp.rows(
                [*(linear.Term(columns=leave[place], factor=1.0) for place in members), *out[hub]], nothing, nothing
            )
            self._lp.rows(
                [*(linear.Term(columns=come[place], factor=1.0) for place in members), *into[hub]], nothing, nothing
            )

    def _hire(
        self,
        table: rewards.Table,
        hire: rewards.Hire,
        stand: npt.NDArray[np.int64],
        leave: npt.NDArray[np.int64],
        key: str,
    ) -> None:
        lp, length = self._lp, self._end - self._begin
        gpus = table.group.rigs * table.group.gpus_per_rig
        wanted = hire.wanted[self._begin : self._end].astype(float)
        served = lp.columns(length, gain=hire.premium[self._begin : self._end] * self._hours, upper=wanted)
        lp.rows(
            [linear.Term(columns=served, factor=1.0), linear.Term(columns=stand, factor=-1.0)],
            lower=-np.inf,
            upper=np.zeros(length),
        )
        if key in self._watts:
            self._watts[key].append(linear.Term(columns=served, factor=table.working_watts))
        eviction = self._script.switching.eviction_usd_per_gpu * self._scale
        if eviction > 0 and gpus:
            evicted = lp.columns(length, gain=-eviction, upper=np.inf)
            # Leaving L of m evicts L - max(0, m - D); max(0, m - D) is at most its chord m (N - D) / N.
            chord = (gpus - wanted) / gpus
            lp.rows(
                [
                    linear.Term(columns=leave, factor=1.0),
                    linear.Term(columns=evicted, factor=-1.0),
                    linear.Term(columns=stand[:-1], rows=slice(1, None), factor=-chord[1:]),
                ],
                lower=-np.inf,
                upper=np.zeros(length),
            )

    def _jobs(self, tables: Sequence[rewards.Table]) -> None:
        """Jobs take GPUs that stand ready, whole steps of them."""
        lp, length = self._lp, self._end - self._begin
        seconds = self._script.step_seconds
        taken: list[list[linear.Term]] = [[] for _ in tables]
        for job in self._script.jobs:
            until = job.arrival_seconds + job.patience_seconds + job.duration_seconds
            if job.deadline_seconds is not None:
                until = min(until, job.deadline_seconds)
            comes, goes = math.ceil(job.arrival_seconds / seconds), math.ceil(until / seconds)
            first, last = max(self._begin, comes), min(self._end, goes)
            if last <= first or job.duration_seconds <= 0:
                continue
            steps = np.arange(first, last)
            slots = math.ceil(job.duration_seconds / seconds)
            gpus = job.replicas * job.gpus_per_replica
            # One that may reach beyond the span is cut off there at no cost: nothing is known of its last step.
            inside = self._begin <= comes and goes <= self._end and (self._begin == 0 or comes > self._begin)
            slotted = inside and slots <= _FEW_SLOTS
            whole: list[linear.Term] = []
            for number, table in enumerate(tables):
                if not world.fits(job, table.group) or self._standing[number] is None:
                    continue
                # A rig serves one job at a time: GPUs that the job leaves free on its rigs are held as well.
                per_rig = table.group.gpus_per_rig // job.gpus_per_replica
                held = math.ceil(job.replicas / per_rig) * table.group.gpus_per_rig / gpus
                entry = held * _entry_usd(self._script, table, scale=self._scale)
                if job.arrival_seconds < self._script.warmup_steps * seconds:
                    # Its way in may have been paid for in the warm-up, which does not count.
                    entry = 0.0
                power = table.working_watts * table.usd_per_watt_hour[first:last]
                if slotted:
                    columns = lp.columns(len(steps), gain=-entry / slots, upper=gpus)
                    self._pay(job, columns, usd_per_hour=job.bid_usd_per_gpu_hour - float(power.min()), slots=slots)
                else:
                    gain = (job.bid_usd_per_gpu_hour - power) * self._hours
                    spread = entry * seconds / job.duration_seconds
                    columns = lp.columns(len(steps), gain=gain - spread, upper=gpus)
                whole.append(linear.Term(columns=columns, rows=np.zeros(len(steps), dtype=np.int64), factor=1.0))
                taken[number].append(linear.Term(columns=columns, rows=steps - self._begin, factor=held))
                key = rewards.circuit_key(table.group)
                if key in self._watts:
                    self._watts[key].append(
                        linear.Term(columns=columns, rows=steps - self._begin, factor=table.working_watts)
                    )
            if whole:
                most = gpus * (slots if slotted else job.duration_seconds / seconds)
                lp.rows(whole, lower=-np.inf, upper=np.array([most]))
        for stand, terms in zip(self._standing, taken, strict=True):
            if stand is not None and terms:
                lp.rows([linear.Term(columns=stand, factor=-1.0), *terms], lower=-np.inf, upper=np.zeros(length))

    def _pay(self, job: scripts.JobScript, columns: npt.NDArray[np.int64], *, usd_per_hour: float, slots: int) -> None:
        """What a job pays for the steps that it holds GPUs, `slots` of them if it runs through.

        The last step is paid for in part. Stopped before it, after k steps, it pays k whole ones less what stopping
        costs. A linear program sees the concave hull of both.
        """
        lp, step, length = self._lp, self._script.step_seconds, job.duration_seconds
        gpus = job.replicas * job.gpus_per_replica
        rate = usd_per_hour / 3600
        if rate <= 0:
            return
        lost = math.inf
        if job.preemptible:
            usd = min(job.checkpoint_seconds, step) * job.bid_usd_per_gpu_hour / 3600
            lost = (usd + self._script.switching.eviction_usd_per_gpu * self._scale) / rate
        paid = lp.columns(1, gain=rate, upper=gpus * length)
        all_of_it = np.zeros(len(columns), dtype=np.int64)
        before = (slots - 1) * step - lost
        if slots == 1 or before <= (slots - 1) * length / slots:
            lines = [(0.0, length / slots)]
        else:
            last = length - before
            lines = [(0.0, before / (slots - 1)), (length - last * slots, last)]
        for base, slope in lines:
            lp.rows(
                [
                    linear.Term(columns=paid, factor=1.0),
                    linear.Term(columns=columns, rows=all_of_it, factor=-slope),
                ],
                lower=-np.inf,
                upper=np.array([gpus * base]),
            )


def _entry_usd(script: scripts.Script, table: rewards.Table, *, scale: float) -> float:
    """The cheapest way of one GPU into work for a job."""
    kinds = {mode.kind for mode in table.modes}
    return min(script.switching.usd_per_gpu(kind, model.ModeKind.AI, scale=scale) for kind in kinds)
