"""A farm that is planned tick by tick, its hand-overs done by the next tick: for tests of the plan."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping

import sample_farm as sample
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import record, records
from switchyard.market import quotes
from switchyard.planning import compose, policy
from switchyard.planning import request as planning
from switchyard.valuation import switching_cost, worth


def settled(mode: model.Mode, *, since: datetime.datetime = sample.NOW, **over: object) -> record.Record:
    found = record.Record(
        mode=mode,
        origin=mode,
        step=record.Step.SETTLED,
        since=since,
        deadline=None,
        started=since,
        reason="BetterMode",
    )
    return dataclasses.replace(found, **over)  # type: ignore[arg-type]


def with_record(farm: model.Farm, rig: str, found: record.Record) -> model.Farm:
    node = farm.nodes[farm.rigs[rig].node_name]
    annotations = {**node.annotations, names.ANNOTATION_HANDOVER: records.write(found)}
    return dataclasses.replace(
        farm, nodes=farm.nodes.set(node.name, dataclasses.replace(node, annotations=annotations))
    )


def in_modes(farm: model.Farm, modes: Mapping[str, model.Mode]) -> model.Farm:
    for rig, mode in modes.items():
        farm = with_record(farm, rig, settled(mode))
    return farm


def changed_job(farm: model.Farm, key: str, **over: object) -> model.Farm:
    found = dataclasses.replace(farm.jobs[key], **over)  # type: ignore[arg-type]
    return dataclasses.replace(farm, jobs=farm.jobs.set(key, found))


def changed_rig(farm: model.Farm, name: str, **over: object) -> model.Farm:
    found = dataclasses.replace(farm.rigs[name], **over)  # type: ignore[arg-type]
    return dataclasses.replace(farm, rigs=farm.rigs.set(name, found))


def requested(
    farm: model.Farm,
    market: quotes.Market,
    *,
    memory: planning.Memory | None = None,
    now: datetime.datetime = sample.NOW,
) -> planning.PlanRequest:
    valuation = worth.value(farm, market, now)
    costs = switching_cost.costs(farm, valuation)
    return compose.request(farm, valuation, costs, memory or planning.Memory(), now)


class World:
    """A farm whose plans are carried out at once."""

    def __init__(
        self,
        farm: model.Farm,
        *,
        tick: datetime.timedelta = datetime.timedelta(minutes=1),
        settings: policy.Settings | None = None,
    ) -> None:
        self.farm = farm
        self.settings = settings or policy.Settings()
        self.now = sample.NOW
        self.tick = tick
        self.memory = planning.Memory()
        self.reply: planning.PlanReply | None = None

    def step(self, market: quotes.Market) -> planning.PlanReply:
        """Plan, carry out, and let a tick pass."""
        return self.carry_out(requested(self.farm, market, memory=self.memory, now=self.now))

    def carry_out(self, request: planning.PlanRequest) -> planning.PlanReply:
        """The same with a request of one's own making."""
        reply = policy.plan(request, settings=self.settings)
        self.memory, self.reply = reply.memory, reply
        for move in reply.moves:
            self._settle(move.rig, move.to)
        for preemption in reply.preemptions:
            self.farm = changed_job(self.farm, preemption.job, state=model.JobState.PENDING, placement=())
            for rig, mode in preemption.targets.items():
                self._settle(rig, mode)
        for admission in reply.admissions:
            job = self.farm.jobs[admission.job]
            self.farm = changed_job(
                self.farm,
                admission.job,
                state=model.JobState.ADMITTED,
                placement=admission.placement,
                admitted_at=self.now,
                started_at=self.now,
            )
            for placement in admission.placement:
                self._settle(placement.rig, job.mode)
        self.now += self.tick
        return reply

    def run(self, markets: Iterable[quotes.Market]) -> list[planning.PlanReply]:
        """Plan on one market after the other."""
        return [self.step(market) for market in markets]

    def mode(self, rig: str) -> model.Mode:
        """What a rig does now."""
        found = records.read(self.farm.nodes[self.farm.rigs[rig].node_name])
        return found.mode if found is not None else model.IDLE

    def _settle(self, rig: str, mode: model.Mode) -> None:
        self.farm = with_record(self.farm, rig, settled(mode, since=self.now))
