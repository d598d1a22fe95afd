"""Rules of thumb where there are jobs: how people run such a farm by hand. None of them ever stops a job.

Waiting jobs are taken in order of their bids. Each gets the free rigs that earn least meanwhile, if what it pays beats
what they would earn by the same margin by which a rig's mode must be beaten. Other rigs follow the threshold rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from switchyard.backtest import rewards, stream, world
from switchyard.backtest import script as scripts
from switchyard.backtest.policies import rules
from switchyard.fleet import model


class Custom:
    """A rule for rigs and jobs.

    Args:
        script: only what stands still in it is read.
        tables: rewards as they are observed; only the present step is looked at.
        threshold: margin and dwell.
        modes: by group, the positions of modes that free rigs may take; WORK among them where jobs are taken.
    """

    def __init__(
        self,
        script: scripts.Script,
        tables: Sequence[rewards.Table],
        threshold: rules.Threshold,
        modes: Sequence[Sequence[int]],
    ) -> None:
        self._tables = tables
        self._share = threshold.percent / 100
        self._dwell = threshold.dwell_seconds / script.step_seconds
        self._single = [
            [place for place in each if place != table.work] for table, each in zip(tables, modes, strict=True)
        ]
        self._works = [table.work in each for table, each in zip(tables, modes, strict=True)]
        self._always = all(set(each) <= {table.work, table.idle} for table, each in zip(tables, modes, strict=True))
        self._limits = [rules.part(script, table) for table in tables]

    def decide(self, present: stream.Stream, yard: world.Yard) -> world.Orders:
        """What such people would do now."""
        step, orders = present.step, world.Orders()
        best = [
            max(((float(table.rates[step, place]), -place) for place in single), default=(0.0, -table.idle))
            for table, single in zip(self._tables, self._single, strict=True)
        ]
        served = self._served(step)
        free = [number for number in range(len(yard.rigs)) if number not in yard.serving]
        drawn = self._drawn(yard)
        forgone = {number: self._forgone(step, number, yard, best, served) for number in free}
        settled = [number for number in free if step - yard.since[number] >= self._dwell or not yard.since[number]]
        taken = self._admit(step, yard, orders, settled, forgone, drawn)
        for number in settled:
            if number not in taken:
                self._choose(step, number, yard, best, served, orders, drawn)
        return orders

    def _served(self, step: int) -> list[dict[int, int]]:
        return [{hire.mode: int(hire.wanted[step]) for hire in table.hires} for table in self._tables]

    def _drawn(self, yard: world.Yard) -> list[float]:
        """Watts of each group's rigs as they stand."""
        watts = [0.0] * len(self._tables)
        for number, rig in enumerate(yard.rigs):
            table = self._tables[rig.table]
            watts[rig.table] += self._watts(table, yard.modes[number])
        return watts

    def _watts(self, table: rewards.Table, mode: model.Mode) -> float:
        if mode in table.modes and mode.kind is not model.ModeKind.AI:
            return float(table.watts[table.modes.index(mode)])
        return float(table.watts[table.idle]) + table.group.gpus_per_rig * table.working_watts

    def _affords(self, table: int, before: model.Mode, after: model.Mode, drawn: list[float]) -> bool:
        limit = self._limits[table]
        if limit is None:
            return True
        more = self._watts(self._tables[table], after) - self._watts(self._tables[table], before)
        if more > 0 and drawn[table] + more > limit + 1e-6:
            return False
        drawn[table] += more
        return True

    def _now(self, step: int, number: int, yard: world.Yard) -> float:
        table = self._tables[yard.rigs[number].table]
        mode = yard.modes[number]
        place = table.modes.index(mode) if mode in table.modes else table.work
        return float(table.rates[step, place])

    def _forgone(
        self, step: int, number: int, yard: world.Yard, best: list[tuple[float, int]], served: list[dict[int, int]]
    ) -> float:
        del served
        return max(best[yard.rigs[number].table][0], self._now(step, number, yard))

    def _admit(
        self,
        step: int,
        yard: world.Yard,
        orders: world.Orders,
        free: Sequence[int],
        forgone: dict[int, float],
        drawn: list[float],
    ) -> set[int]:
        taken: set[int] = set()
        line = sorted(
            (number for number in free if self._works[yard.rigs[number].table]),
            key=lambda number: (forgone[number] / yard.rigs[number].gpus, number),
        )
        waiting = sorted(
            yard.waiting.values(), key=lambda run: (-run.script.bid_usd_per_gpu_hour, run.arrived_seconds, run.number)
        )
        for run in waiting:
            if len(taken) == len(line):
                break
            job = run.script
            rigs: dict[int, int] = {}
            left, needed, drawn_then = job.replicas, 0.0, list(drawn)
            for number in line:
                if number in taken:
                    continue
                rig = yard.rigs[number]
                table = self._tables[rig.table]
                if not world.fits(job, table.group):
                    continue
                if not self._affords(rig.table, yard.modes[number], run.mode, drawn_then):
                    continue
                rigs[number] = min(left, rig.gpus // job.gpus_per_replica)
                left -= rigs[number]
                power = rigs[number] * job.gpus_per_replica * table.working_watts * table.usd_per_watt_hour[step]
                rest = float(table.rates[step, table.work])
                # What the rig makes beside the bid while it works, against what it would make without the job.
                needed += max(forgone[number], rest) - rest + power
                if left == 0:
                    break
            pays = job.bid_usd_per_gpu_hour * run.gpus
            if left or not (
                self._always or pays > needed + self._share * max(abs(needed), rules.SMALL_USD_PER_GPU_HOUR)
            ):
                continue
            orders.admissions[job.key] = rigs
            taken.update(rigs)
            drawn[:] = drawn_then
        return taken

    def _choose(
        self,
        step: int,
        number: int,
        yard: world.Yard,
        best: list[tuple[float, int]],
        served: list[dict[int, int]],
        orders: world.Orders,
        drawn: list[float],
    ) -> None:
        rig = yard.rigs[number]
        table = self._tables[rig.table]
        gpus = rig.gpus
        rate, place = best[rig.table][0], -best[rig.table][1]
        mode = yard.modes[number]
        here = self._now(step, number, yard)
        for hire in table.hires:
            left = served[rig.table][hire.mode]
            if hire.mode not in self._single[rig.table]:
                continue
            worth = float(table.rates[step, hire.mode]) + min(left, gpus) * float(hire.premium[step])
            if mode == table.modes[hire.mode]:
                here = worth
            if worth > rate:
                rate, place = worth, hire.mode
        margin = self._share * max(abs(here), rules.SMALL_USD_PER_GPU_HOUR * gpus)
        target = mode
        if rate - here > max(margin, 1e-12) and mode != table.modes[place]:
            target = table.modes[place]
            if self._affords(rig.table, mode, target, drawn):
                orders.moves[number] = target
            else:
                target = mode
        for hire in table.hires:
            if target == table.modes[hire.mode]:
                served[rig.table][hire.mode] = max(0, served[rig.table][hire.mode] - gpus)


def places(table: rewards.Table) -> npt.NDArray[np.intp]:
    """Every mode that a rule may use: what is allowed singly, and work for jobs."""
    return np.array([place for place in range(len(table.modes)) if table.allowed[place] or place == table.work])
