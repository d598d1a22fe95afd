"""What the loop sees and the farm learns from: phases of hand-overs, rates of miners, stops of work.

All seconds are farm time, also in a replay, where Pods and agents do not run faster because the market does: a switch
that takes three seconds of the machine's time costs a replay at 240 times its speed twelve minutes of earnings, and in
that market that is what it costs. What one speed has taught is of no use at another, so the memory carries the speed
(see `keeping`).
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, Final

from switchyard.fleet import model
from switchyard.handover import gangs, observe, reasons
from switchyard.handover import record as rec
from switchyard.valuation import learned as learning
from switchyard.valuation import switching_cost

_WARM_UP: Final = datetime.timedelta(seconds=120.0)
"""A miner's rate is not looked at before: counters of the last minute begin at nothing."""
_RATES_EVERY: Final = datetime.timedelta(seconds=600.0)
_FLUSH_SECONDS: Final = 600.0
_GIGA: Final = 1e9
"""Hashes per second in one of a benchmark's units; solutions are counted as they are."""

_Phase = learning.Phase


@dataclasses.dataclass(frozen=True, slots=True)
class Timed:
    """A phase that was seen from its beginning to its end."""

    phase: learning.Phase
    seconds: float
    coin: str = ""
    workload_class: str = ""


@dataclasses.dataclass(slots=True, kw_only=True)
class _Gang:
    """A gang that runs. `failed` counts Pods of its Job."""

    uid: str
    workload_class: str
    since: datetime.datetime
    failed: int


class Learner:
    """Holds what is learned, and adds to it. What is being timed lives in memory only: lost, it is not learned.

    Attributes:
        learned: a frozen snapshot; whoever plans may keep it.
    """

    def __init__(self) -> None:
        self.learned = learning.NOTHING
        self._began: datetime.datetime | None = None
        self._loading: dict[str, rec.Record] = {}
        self._rated: dict[str, datetime.datetime] = {}
        self._gangs: dict[str, _Gang] = {}

    # --- the memory's section ----------------------------------------------------------------------------------

    def dump(self) -> Any:
        """What was learned, as JSON."""
        return learning.dump(self.learned)

    def load(self, found: Any) -> None:
        """Go on from what was learned before. Raises ValueError where it makes no sense."""
        self.learned = learning.load(found)

    def measured(self, coin: model.Coin) -> Mapping[str, model.Benchmark]:
        """By model of GPU, what was really measured on a coin."""
        yields = self.learned.yields
        return {
            gpu: yields.benchmark(gpu, coin.name, seed)
            for gpu, seed in coin.benchmarks.items()
            if yields.samples(gpu, coin.name) > 0
        }

    # --- what is seen ------------------------------------------------------------------------------------------

    def switched(self, farm: model.Farm, rig: model.Rig, before: rec.Record | None, after: rec.Record | None) -> None:
        """A rig's record has changed, and its Node says so."""
        self._loading.pop(rig.name, None)
        if before is None or after is None or before.settled:
            return
        if self._began is None or before.since < self._began:
            # How long nobody minded the farm is not what the step takes.
            return
        timed = of_step(farm, rig, before, after)
        if timed is not None:
            self._time(farm, rig, timed)
        if after.settled and after.mode == before.mode and after.reason not in reasons.WENT_BACK:
            self._loading[rig.name] = after

    def look(self, farm: model.Farm, rig: model.Rig, record: rec.Record | None, now: datetime.datetime) -> None:
        """A rig, whatever it does: whether its new owner has come to work, and how its miner does."""
        if self._began is None:
            self._began = now
        if record is None or not record.settled or farm.pools.get(farm.pool_of.get(rig.name, "")) is None:
            self._loading.pop(rig.name, None)
            return
        match record.mode.kind:
            case model.ModeKind.MINING:
                self._look_at_miner(farm, rig, record)
            case model.ModeKind.AI:
                self._look_at_work(farm, rig, record, now)
            case _:
                self._loading.pop(rig.name, None)

    def gang(self, farm: model.Farm, job: model.Job, advance: gangs.GangAdvance, now: datetime.datetime) -> None:
        """A look at a gang: how long it has run, and whether it was stopped by nobody's will."""
        kinds = gangs.VerdictKind
        held = self._gangs.get(job.key)
        if held is not None and held.uid != job.uid:
            del self._gangs[job.key]
            held = None
        kind = advance.verdict.kind
        if held is None:
            if kind is kinds.RUNNING:
                self._gangs[job.key] = _Gang(
                    uid=job.uid, workload_class=str(job.workload_class), since=now, failed=advance.failed_pods
                )
            return
        ran = max(0.0, (now - held.since).total_seconds())
        # Pods that crash together are one stop of the gang.
        crashed = advance.failed_pods > held.failed or kind in (kinds.BROKEN, kinds.FAILED)
        over = kind not in (kinds.RUNNING, kinds.STARTING)
        if crashed or over or ran >= _FLUSH_SECONDS:
            self.learned = dataclasses.replace(
                self.learned,
                stops=self.learned.stops.observed(held.workload_class, ran_seconds=ran, stops=int(crashed)),
            )
            held.since, held.failed = now, advance.failed_pods
        if over:
            del self._gangs[job.key]

    # --- underneath --------------------------------------------------------------------------------------------

    def _look_at_miner(self, farm: model.Farm, rig: model.Rig, record: rec.Record) -> None:
        coin, readback = farm.coins.get(record.mode.name), rig.readback
        if coin is None or readback is None or readback.observed_at is None or readback.observed_at < record.since:
            return
        rates = [each for each in readback.benchmarks if each.coin == coin.name and each.hashes_per_second > 0]
        if not rates:
            return
        loading = self._loading.pop(rig.name, None)
        if loading is not None and loading.mode == record.mode and loading.since == record.since:
            seconds = (readback.observed_at - record.since).total_seconds()
            self._time(farm, rig, Timed(_Phase.LOAD_MINER, seconds, coin=coin.name))
        startup = datetime.timedelta(seconds=coin.startup_seconds)
        last = self._rated.get(rig.name)
        if readback.observed_at < record.since + startup + _WARM_UP:
            return
        if last is not None and readback.observed_at < last + _RATES_EVERY:
            return
        self._rated[rig.name] = readback.observed_at
        yields = self.learned.yields
        for rate in rates:
            seed = coin.benchmarks.get(rate.gpu)
            if seed is not None:
                scale = 1.0 if coin.unit == "Sol/s" else _GIGA
                hashrate = rate.hashes_per_second / scale
                yields = yields.observed(rate.gpu, coin.name, hashrate=hashrate, watts=float(rate.watts), seed=seed)
        self.learned = dataclasses.replace(self.learned, yields=yields)

    def _look_at_work(self, farm: model.Farm, rig: model.Rig, record: rec.Record, now: datetime.datetime) -> None:
        loading = self._loading.get(rig.name)
        job = farm.jobs.get(record.mode.name)
        if loading is None or job is None:
            return
        pods = [pod for pod in observe.of_job(farm, job, rig.name) if not observe.finished(pod)]
        if loading.since != record.since or not pods:
            del self._loading[rig.name]
        elif all(pod.ready for pod in pods):
            del self._loading[rig.name]
            seconds = (now - record.since).total_seconds()
            # Ready at once: its Pods say nothing of loading. Only a readiness probe tells when work begins.
            if seconds >= 1.0:
                self._time(farm, rig, Timed(_Phase.LOAD_WORK, seconds, workload_class=str(job.workload_class)))

    def _time(self, farm: model.Farm, rig: model.Rig, timed: Timed) -> None:
        key = switching_cost.key(
            timed.phase,
            kind=learning.kind_of(rig.hardware),
            coin=timed.coin,
            workload_class=timed.workload_class,
        )
        prior = switching_cost.prior_seconds(timed.phase, farm.coins.get(timed.coin))
        self.learned = dataclasses.replace(self.learned, phases=self.learned.phases.observed(key, timed.seconds, prior))


def of_step(farm: model.Farm, rig: model.Rig, before: rec.Record, after: rec.Record) -> Timed | None:
    """The phase that has ended with this change of a record; None where none has, or it ended badly.

    A step that was cut short, gave up or went back says nothing of what it takes.
    """
    if after.step is before.step or after.reason in reasons.WENT_BACK:
        return None
    seconds = (after.since - before.since).total_seconds()
    origin, target = before.origin, before.mode
    match before.step, after.step:
        case rec.Step.NOTIFYING, rec.Step.STOPPING:
            if _saved(farm, rig, before):
                return Timed(_Phase.CHECKPOINT, seconds, workload_class=_class(farm, origin))
        case rec.Step.STOPPING, rec.Step.RELEASING:
            if origin.kind is model.ModeKind.MINING:
                return Timed(_Phase.STOP_MINER, seconds)
            if origin.kind is model.ModeKind.AI:
                return Timed(_Phase.STOP_WORK, seconds, workload_class=_class(farm, origin))
        case rec.Step.RELEASING, (rec.Step.STARTING | rec.Step.SETTLED):
            if origin != target:
                return Timed(switching_cost.releasing(origin.kind, target.kind), seconds)
        case rec.Step.STARTING, rec.Step.SETTLED:
            if target.kind is model.ModeKind.MINING:
                return Timed(_Phase.START_MINER, seconds, coin=target.name)
            return Timed(_Phase.START_WORK, seconds, workload_class=_class(farm, target))
    return None


def _saved(farm: model.Farm, rig: model.Rig, before: rec.Record) -> bool:
    """Whether work on the rig has answered this notice: one that had nothing to save, or did not, tells no time."""
    return any(
        pod.role and pod.checkpoint_at is not None and pod.checkpoint_at > before.since
        for pod in observe.on_node(farm, rig.node_name)
    )


def _class(farm: model.Farm, mode: model.Mode) -> str:
    job = farm.jobs.get(mode.name)
    return str(job.workload_class) if job is not None else ""
