"""The one cycle. Two clocks: the planning tick, and the hand-over, which moves on every observation and deadline.

A turn reads a snapshot, moves on whatever hand-over the snapshot allows, plans if a plan is due, and carries out what
came of it. Nothing is remembered that matters: what a turn knows it read from the cluster, so a turn that was cut
short anywhere is simply taken again. What this object does keep (the moves of the last plan that found no free moment
yet, the policy's memory, what was learned) is a help: lost, it is planned and learned anew. `sections` of it are kept
through a restart (see `keeping`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
import time
from collections.abc import Mapping
from typing import Final

from switchyard import clock as clocks
from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model, registration
from switchyard.fleet import store as stores
from switchyard.handover import gangs, machine
from switchyard.handover import record as rec
from switchyard.loop import changes as changing
from switchyard.loop import hands, holding, keeping, learning, recalling, reports, steering, telling
from switchyard.market import feeds as feeding
from switchyard.planning import compose, policy
from switchyard.telemetry import metrics as metering
from switchyard.valuation import switching_cost, worth

_LOG = logging.getLogger(__name__)

_STEPS_AT_ONCE: Final = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How often things happen.

    Attributes:
        plan_seconds: farm time between planning ticks.
        plan_gap_seconds: least real time between two plans, however much changes.
        poll_seconds: most real time between two looks at hand-overs under way, though nothing has changed.
        first_prices_seconds: most real time that the first plan waits until every feed has been asked once.
        price_share: a price that moved by more than this share since the last plan brings the next one forward.
        figures_seconds: farm time between two writes of a rig's mere figures.
        handover: deadlines and names of the hand-over.
    """

    plan_seconds: float = 60.0
    plan_gap_seconds: float = 1.0
    poll_seconds: float = 1.0
    first_prices_seconds: float = 10.0
    price_share: float = 0.01
    figures_seconds: float = 600.0
    handover: machine.Settings = dataclasses.field(default_factory=machine.Settings)


@dataclasses.dataclass(frozen=True, slots=True)
class _Move:
    """One advance of a rig's hand-over, told to people once the Node says so."""

    rig: model.Rig
    before: rec.Record | None
    after: rec.Record | None


class Cycle:
    """Turns of the farm. One instance, one task.

    Attributes:
        changes: what the next turn will look at; the store and the feeds ring its bell.
        teller: writes what people are told; runs as a task of its own.
        learner: what the farm has learned of switches, rates and stops.
        sections: who remembers what, for the memory that survives a restart.
        turned_at: machine's monotonic seconds of the last turn that went through.
        planned_at: farm time of the last plan; None before the first.
        failures: turns that failed in a row.
    """

    def __init__(
        self,
        *,
        store: stores.Store,
        feeds: feeding.Feeds,
        executor: hands.Executor,
        news_executor: hands.Executor,
        clock: clocks.Clock,
        metrics: metering.Metrics,
        settings: Settings,
    ) -> None:
        self.changes = changing.Changes()
        self.turned_at = time.monotonic()
        self.planned_at: datetime.datetime | None = None
        self.failures = 0
        self._store = store
        self._feeds = feeds
        self._clock = clock
        self._metrics = metrics
        self._settings = settings
        self._records = holding.Records()
        self.learner = learning.Learner()
        self._recall = recalling.Recall()
        self.sections: Mapping[str, keeping.Section] = {
            "switching": self.learner,
            "planning": self._recall,
            "market": feeds,
        }
        self._reports = reports.Reports(
            feeds=feeds,
            metrics=metrics,
            records=self._records,
            learner=self.learner,
            miners_namespace=settings.handover.miner_namespace,
            figures_every=datetime.timedelta(seconds=settings.figures_seconds),
        )
        self._hands = hands.Hands(executor=executor, store=store, changes=self.changes)
        # News has an executor of its own: statuses and Events must not stand before a rig's next step.
        news = hands.Hands(executor=news_executor, store=store, changes=self.changes)
        self.teller = telling.Teller(store=store, clock=clock, doing=news, reporting=self._reports)
        self._farm = model.Farm()
        self._rig_on: dict[str, str] = {}
        self._steering = steering.Steering(settings.handover)
        self._wakes: dict[str, datetime.datetime] = {}
        self._moving: set[str] = set()
        self._prices: dict[str, float] = {}
        self._classes: worth.Classes | None = None
        self._replan = True
        self._planned_real = -1e9
        self._began_real = time.monotonic()
        store.on_change = self.changes.note
        feeds.on_change = self._priced

    async def run(self) -> None:
        """Turn for ever. A turn that fails is logged and counted, and taken again: one bad turn stops no farm."""
        while True:
            await self.changes.wait(self._patience())
            try:
                await self.turn()
            except Exception:  # noqa: BLE001 - whatever it was: the cluster holds the state, the next turn reads it
                self.failures += 1
                self._metrics.turn_failed()
                _LOG.exception("a turn failed; it will be taken again")
                self.changes.everything()
                await asyncio.sleep(min(30.0, 0.25 * 2.0 ** min(self.failures, 7)))
            else:
                self.failures = 0
                self.turned_at = time.monotonic()

    def _priced(self, feed: str) -> None:
        state = self._feeds.state(feed)
        known = self._prices.get(feed)
        value = state.last_good.value if state is not None and state.last_good is not None else None
        if known is None or value is None:
            large = known is not value
        else:
            large = abs(value - known) > self._settings.price_share * max(abs(known), 1e-12)
        self.changes.price(feed=feed, large=large)

    def _patience(self) -> float:
        """Real seconds to wait for news."""
        if self._replan or self._moving:
            return self._settings.poll_seconds
        until_plan = self._clock.real_seconds(self._settings.plan_seconds)
        if self.planned_at is not None:
            passed = (self._clock.now() - self.planned_at).total_seconds()
            until_plan = self._clock.real_seconds(max(0.0, self._settings.plan_seconds - passed))
        wakes = [self._clock.real_seconds((wake - self._clock.now()).total_seconds()) for wake in self._wakes.values()]
        return max(0.02, min([5.0, max(until_plan, self._settings.plan_gap_seconds), *wakes]))

    async def turn(self) -> None:
        """One turn: see the module's docstring."""
        changed = self.changes.take()
        now = self._clock.now()
        before, farm = self._farm, self._store.snapshot()
        self._farm = farm
        self._replan = self._replan or changed.replan
        for name in farm.rigs if changed.everything else changed.rigs:
            if (rig := farm.rigs.get(name)) is not None:
                self._rig_on[rig.node_name] = name
        if changed.everything or changed.nodes or changed.others:
            await self._hands.do(registration.registrations(farm))
        rigs = self._affected(changed, before, farm, now)
        jobs = set(farm.jobs) if changed.everything else self._affected_jobs(changed, farm)
        await self._hand_over(rigs=rigs, jobs=jobs, now=now)
        # Hand-overs take their time, in a replay many minutes of the farm's: seen from before them, prices that have
        # come meanwhile would be of a time yet to come, and not to be trusted.
        now = self._clock.now()
        planned = self._plan_due(now)
        if planned:
            await self._plan(now)
        self.teller.note(rigs, planned=planned, few=bool(changed.others))

    # --- hand-over ---------------------------------------------------------------------------------------------

    def _affected(
        self, changed: changing.Changed, before: model.Farm, farm: model.Farm, now: datetime.datetime
    ) -> set[str]:
        if changed.everything:
            return set(farm.rigs)
        nodes = set(changed.nodes)
        rigs = set(changed.rigs)
        for key in changed.pods:
            # Where it was as well as where it is: a Pod that has gone frees the node it was on.
            for pod in (before.pods.get(key), farm.pods.get(key)):
                if pod is not None:
                    nodes.add(pod.node_name)
                    rigs.add(pod.rig)
        rigs.update(self._rig_on[node] for node in nodes if node in self._rig_on)
        for key in changed.jobs:
            job = farm.jobs.get(key)
            rigs.update(placement.rig for placement in (job.placement if job else ()))
        rigs.update(rig for rig, wake in self._wakes.items() if wake <= now)
        return {name for name in rigs | self._moving | set(self._steering.targets) if name in farm.rigs}

    @staticmethod
    def _affected_jobs(changed: changing.Changed, farm: model.Farm) -> set[str]:
        # Gangs in the making, at work or being stopped are few beside the rigs: look at each of them every turn.
        held = {key for key, job in farm.jobs.items() if job.placement and job.state is not model.JobState.FINISHED}
        return held | {key for key in changed.jobs if key in farm.jobs}

    async def _hand_over(self, *, rigs: set[str], jobs: set[str], now: datetime.datetime) -> None:
        """Move rigs and gangs on, and those that moved once more: not every step has to wait for news."""
        for _ in range(_STEPS_AT_ONCE):
            if rigs or jobs:
                rigs, jobs = await self._move_on(rigs=rigs, jobs=jobs, now=now), set()
                self._farm = self._store.snapshot()

    async def _move_on(self, *, rigs: set[str], jobs: set[str], now: datetime.datetime) -> set[str]:
        """One step of each; gives the rigs whose Nodes now say something new."""
        farm = self._farm
        commands, asking, broken = self._gangs(farm, jobs, now)
        wanted = {
            placement.rig: job
            for key, job in farm.jobs.items()
            if job.state is model.JobState.ADMITTED and key not in broken
            for placement in job.placement
        }
        # A gang's rig that does not carry its claim yet: the first attempt may have lost a race for the Node.
        rigs = rigs | {name for name, job in wanted.items() if name in farm.rigs and not _claimed(farm, name, job)}
        moves: dict[cmd.Ref, _Move] = {}
        for name in sorted(rigs):
            rig = farm.rigs[name]
            record = self._records.of(farm, rig)
            self.learner.look(farm, rig, record, now)
            step = self._steering.step(farm, rig, record, wanted.get(name), now)
            self._moving.discard(name)
            self._wakes.pop(name, None)
            if step is None:
                continue
            if step.record is not None and not step.record.settled:
                self._moving.add(name)
            if step.wake_at is not None:
                self._wakes[name] = step.wake_at
            commands += step.commands
            if step.commands and step.record != record:
                moves[step.commands[0].ref] = _Move(rig, record, step.record)
        moved = set()
        for result in await self._hands.do(commands):
            ref = result.command.ref
            if result.outcome is cmd.Outcome.INVALID and ref in asking:
                await self._reject(asking[ref], result.message, now)
            move = moves.get(ref) if isinstance(result.command, cmd.Patch) else None
            if move is not None and result.outcome is cmd.Outcome.DONE:
                # People are told of a move once its Node says so, not before.
                self.learner.switched(farm, move.rig, move.before, move.after)
                self.teller.say(self._reports.switch(farm, move.rig, before=move.before, after=move.after, now=now))
                moved.add(move.rig.name)
        self.teller.note(moved)
        return moved

    def _gangs(
        self, farm: model.Farm, jobs: set[str], now: datetime.datetime
    ) -> tuple[list[cmd.Command], dict[cmd.Ref, str], set[str]]:
        """What gangs ask for; which of it creates something, and for which AIJob; and which gangs have broken."""
        commands: list[cmd.Command] = []
        asking: dict[cmd.Ref, str] = {}
        broken = set()
        for key in sorted(jobs):
            job = farm.jobs[key]
            if not job.placement or job.state is model.JobState.FINISHED:
                continue  # it has no gang
            held = {
                placement.rig: self._records.of(farm, farm.rigs[placement.rig])
                for placement in job.placement
                if placement.rig in farm.rigs
            }
            advance = gangs.advance(farm, job, records=held, now=now, settings=self._settings.handover)
            self.learner.gang(farm, job, advance, now)
            commands += advance.commands
            asking |= {command.ref: key for command in advance.commands if isinstance(command, cmd.Create)}
            commands += self._reports.gang(farm, job, advance, now=now)
            if advance.verdict.kind is gangs.VerdictKind.BROKEN:
                broken.add(key)
        return commands, asking, broken

    async def _reject(self, key: str, message: str, now: datetime.datetime) -> None:
        """The API server will not have what an AIJob asks for."""
        job = self._store.snapshot().jobs.get(key)
        if job is not None:
            await self._hands.do(self._reports.rejected(job, message, now=now))

    # --- planning ----------------------------------------------------------------------------------------------

    def _plan_due(self, now: datetime.datetime) -> bool:
        if time.monotonic() - self._planned_real < self._settings.plan_gap_seconds:
            return False
        if self.planned_at is None:
            # A coin whose price has not been read yet looks like one that earns nothing.
            waited = time.monotonic() - self._began_real
            return self._feeds.asked() or waited >= self._settings.first_prices_seconds
        return self._replan or (now - self.planned_at).total_seconds() >= self._settings.plan_seconds

    async def _plan(self, now: datetime.datetime) -> None:
        started = time.perf_counter()
        farm = self._store.snapshot()
        market = self._feeds.market(now)
        learned = self.learner.learned
        self._classes = worth.classify(farm, self._classes)
        valuation = worth.appraise(learned.yields.farm(farm), self._classes, market, now)
        costs = switching_cost.costs(farm, valuation, learned, now)
        memory = self._recall.memory(farm)
        request = compose.request(farm, valuation, costs, memory, now)
        # Off the loop: a plan of a thousand rigs takes a good part of a second, and probes want their answer.
        reply = await asyncio.to_thread(policy.plan, request)
        self._recall.planned(reply.memory)
        self._replan = False
        self.planned_at, self._planned_real = now, time.monotonic()
        self._prices = {name: quote.value for name, quote in market.quotes.items()}
        self._reports.planned(market=market, valuation=valuation, request=request, reply=reply, now=now)
        self._steering.planned(farm, reply)
        self._metrics.planned(seconds=time.perf_counter() - started)
        await self._hands.do(self._reports.jobs(farm, reply, now=now))
        self._farm = farm = self._store.snapshot()
        taken = {placement.rig for admission in reply.admissions for placement in admission.placement}
        rigs = {name for name in taken | set(self._steering.targets) if name in farm.rigs}
        await self._hand_over(rigs=rigs, jobs=set(), now=self._clock.now())


def _claimed(farm: model.Farm, rig: str, job: model.Job) -> bool:
    node = farm.nodes.get(farm.rigs[rig].node_name)
    return node is not None and node.labels.get(names.LABEL_CLAIM) == job.uid
