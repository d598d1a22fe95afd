"""Our policies and jobs: what the plan is told of gangs at work, and what it does about them."""

from __future__ import annotations

import dataclasses
import datetime

import pytest

import sample_script as sample
from switchyard.backtest import rewards, stream, world
from switchyard.backtest import script as scripts
from switchyard.backtest.policies import planned
from switchyard.fleet import model
from switchyard.planning import policy
from switchyard.planning import request as planning


def job(key: str, **over: object) -> scripts.JobScript:
    found = scripts.JobScript(
        key=key,
        arrival_seconds=0.0,
        replicas=4,
        gpus_per_replica=1,
        duration_seconds=12 * 3600.0,
        bid_usd_per_gpu_hour=0.2,
        patience_seconds=3600.0,
    )
    return dataclasses.replace(found, **over)  # type: ignore[arg-type]


AT_WORK = model.Mode(model.ModeKind.AI, "jobs/poor")


def play(given: scripts.Script) -> tuple[list[planning.PlanRequest], list[float], world.Played]:
    """What the plan was asked, what stopping the poor job would have cost per rig at each step, and what came of it."""
    asked: list[planning.PlanRequest] = []
    stops: list[float] = []

    def plan(request: planning.PlanRequest) -> planning.PlanReply:
        asked.append(request)
        key = request.rigs[0].class_key
        over = request.costs[key, model.Mode(model.ModeKind.AI), model.OFF].usd
        stops.append(request.costs[key, AT_WORK, model.OFF].usd - over)
        return policy.plan(request)

    present = stream.Stream(given, revenue=stream.observed(given, seed=0))
    ours = planned.Planned(given, scale=1.0, plan=plan)
    return asked, stops, world.play(given, rewards.tables(given), ours, present, scale=1.0)


def test_a_rig_at_work_is_known_to_work_for_its_job_and_a_better_bid_gets_it() -> None:
    rich = job("rich", arrival_seconds=7200.0, bid_usd_per_gpu_hour=3.0, duration_seconds=3600.0)
    given = sample.script(steps=60, demand=False, jobs=(job("poor"), rich))
    asked, stops, played = play(given)
    assert {view.mode for view in asked[5].rigs} == {AT_WORK}
    assert {found.mode for found in asked[5].jobs} == {AT_WORK}
    # Stopping it costs an eviction and a minute of its work, on each rig.
    assert stops[5] == pytest.approx(0.05 + 0.2 * 60 / 3600)
    assert played.work is not None
    assert played.work.evicted_gpus.sum() == 4


def test_patience_is_told_as_a_deadline_and_ends_when_it_does() -> None:
    given = sample.script(steps=30, demand=False, jobs=(job("low", bid_usd_per_gpu_hour=0.0),))
    asked, _, _ = play(given)
    there = [request for request in asked if request.jobs]
    assert {found.deadline for request in there for found in request.jobs} == {
        sample.START + datetime.timedelta(hours=13)
    }
    # It waits for an hour; after that there is nobody who would be refused.
    assert len(there) == 7
