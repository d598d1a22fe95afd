"""Bid prices in the plan: when they are asked for, what they change, and what happens without them."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sample_farm as sample
import sample_world as worlds
from switchyard.fleet import model
from switchyard.planning import memory, policy, program, program_values
from switchyard.planning import request as planning

KAS = model.Mode(model.ModeKind.MINING, "kas")
MARKET = sample.market(kas=4.0, rvn=3.0)
EDGES = program_values.EDGES_HOURS
Answer = program_values.Prices | program_values.Failure


class Solver:
    """Answers as told, and counts."""

    def __init__(self, answer: Callable[[program_values.Problem], Answer] = program.price) -> None:
        self.asked: list[program_values.Problem] = []
        self._answer = answer

    def __call__(self, problem: program_values.Problem) -> Answer:
        self.asked.append(problem)
        return self._answer(problem)


def priced(usd_per_rig_hour: float) -> Callable[[program_values.Problem], Answer]:
    def answer(problem: program_values.Problem) -> Answer:
        return program_values.Prices(
            edges_hours=EDGES,
            usd_per_rig_hour=dict.fromkeys(problem.blocks, np.full(len(EDGES) - 1, usd_per_rig_hour)),
            usd_per_start={},
            usd_per_watt_hour={},
        )

    return answer


def late(problem: program_values.Problem) -> Answer:
    del problem
    return program_values.Failure(reason=program.LATE, message="no plan within 5 s")


def broken(problem: program_values.Problem) -> Answer:
    raise RuntimeError("no licence")


class Farm:
    """Rigs that mine, jobs that come, minute by minute."""

    def __init__(self, rigs: int, solver: Solver) -> None:
        found = [sample.rig(f"rig-{index}") for index in range(rigs)]
        farm = sample.farm(rigs=found, pools=[sample.pool(max_switching="100%")])
        farm = worlds.in_modes(farm, dict.fromkeys(farm.rigs, KAS))
        self.world = worlds.World(farm, settings=policy.Settings(solve=solver))

    def bring(self, name: str, **over: Any) -> None:
        given = {"replicas": 2, "bid_usd_per_gpu_hour": 0.3, "created_at": self.world.now, **over}
        job = sample.job(name, **given)
        farm = self.world.farm
        self.world.farm = dataclasses.replace(farm, jobs=farm.jobs.set(job.key, job))

    def step(self, minutes: int = 1) -> planning.PlanReply:
        return self.world.run([MARKET] * minutes)[-1]


def test_nobody_waits_and_no_price_is_asked_for() -> None:
    solver = Solver()
    farm = Farm(2, solver)
    farm.step(30)
    assert not solver.asked
    farm.bring("one")
    farm.step()
    assert len(solver.asked) == 1
    farm.step(200)
    assert len(solver.asked) == 1


def test_while_somebody_waits_prices_are_kept_for_hours_and_asked_for_when_much_changed() -> None:
    solver = Solver(priced(0.0))
    farm = Farm(8, solver)
    farm.bring("low", bid_usd_per_gpu_hour=0.01)
    farm.step(100)
    assert len(solver.asked) == 1
    farm.step(60)
    assert len(solver.asked) == 2
    farm.bring("many", replicas=12, bid_usd_per_gpu_hour=0.01)
    farm.step(20)
    assert len(solver.asked) == 2
    farm.step(15)
    assert len(solver.asked) == 3


def test_the_problem_tells_of_rigs_gangs_and_what_is_expected() -> None:
    solver = Solver()
    farm = Farm(3, solver)
    farm.step()
    farm.bring("work", replicas=4)
    farm.step()
    farm.step(60 * 26)
    farm.bring("next", replicas=4, bid_usd_per_gpu_hour=0.5, deadline=farm.world.now + datetime.timedelta(hours=5))
    farm.step()
    problem = solver.asked[-1]
    (block,) = problem.blocks.values()
    assert block.rigs == 3
    assert [origin.rigs for origin in block.origins] == [1]
    assert {mode.usd_per_hour for mode in block.modes} >= {0.0}
    (gang,) = problem.gangs
    assert (gang.replicas, gang.hours, gang.last_start_hours) == (4, 2.0, 3.0)
    assert [fit.slots for fit in gang.fits.values()] == [2]
    (work,) = problem.working
    assert list(work.rigs.values()) == [2]
    assert work.stop_usd is not None
    # One job in 26 hours, on two whole rigs, and the one that has just come: more is expected of such work.
    assert problem.flows
    assert sum(sum(flow.units) for flow in problem.flows) > 6


def test_a_gang_that_cannot_be_stopped_pays_the_price_of_scarcity_and_others_do_not() -> None:
    def reply(usd_per_rig_hour: float, **over: Any) -> planning.PlanReply:
        farm = Farm(2, Solver(priced(usd_per_rig_hour)))
        farm.bring("train", **over)
        return farm.step()

    assert reply(5.0).admissions
    assert reply(0.0, preemptible=False).admissions
    (refusal,) = reply(5.0, preemptible=False).refusals
    assert refusal.reason == "BidTooLow"
    assert refusal.reserve_usd_per_gpu_hour is not None
    assert refusal.reserve_usd_per_gpu_hour > 5.0 / 6


def full(solver: Solver, **over: Any) -> Farm:
    """Two rigs with a gang of one rig on each, for a quarter of an hour."""
    farm = Farm(2, solver)
    farm.bring("a", bid_usd_per_gpu_hour=0.30, duration_seconds=20 * 3600.0, **over)
    farm.bring("b", bid_usd_per_gpu_hour=0.31, duration_seconds=20 * 3600.0, **over)
    assert len(farm.step().admissions) == 2
    farm.step(15)
    return farm


def test_several_gangs_make_room_for_a_large_one_and_are_told_why() -> None:
    farm = full(Solver(priced(1.5)))
    farm.bring("large", replicas=4, bid_usd_per_gpu_hour=1.0)
    reply = farm.step()
    assert [admission.job for admission in reply.admissions] == ["tenant/large"]
    assert {preemption.job for preemption in reply.preemptions} == {"tenant/a", "tenant/b"}
    message = reply.preemptions[0].message
    assert message.startswith("AIJob tenant/large bids 1.000 $/GPU-h for its rigs and needs 0.")
    assert "1.2 times the" in message
    assert "$ that is lost" in message


def test_a_bid_below_the_price_makes_nobody_leave_and_is_told_what_would() -> None:
    farm = full(Solver(priced(9.0)))
    farm.bring("large", replicas=4, bid_usd_per_gpu_hour=1.0)
    reply = farm.step()
    assert not reply.preemptions
    (refusal,) = reply.refusals
    assert refusal.reason == "NotEnoughRigs"
    assert refusal.reserve_usd_per_gpu_hour is not None
    assert refusal.reserve_usd_per_gpu_hour > 1.5
    wanted = f"to make room takes more than {refusal.reserve_usd_per_gpu_hour:.3f} $/GPU-h"
    assert refusal.message == f"0 of 4 replicas fit; other rigs: 2 at other AI work; {wanted}"
    # It says so truly.
    farm.bring("larger", replicas=4, bid_usd_per_gpu_hour=refusal.reserve_usd_per_gpu_hour * 1.1)
    assert farm.step().preemptions


def test_who_waits_already_is_weighed_every_ten_minutes() -> None:
    farm = full(Solver(priced(1.5)), min_runtime_seconds=22 * 60.0)
    farm.bring("large", replicas=4, bid_usd_per_gpu_hour=1.0)
    waited = next(minute for minute in range(60) if farm.step().preemptions)
    # Those at work have been promised six more minutes; then the next round is due within ten.
    assert 6 <= waited <= 16


@pytest.mark.parametrize(("answer", "reason"), [(late, "Late"), (broken, "Failed")])
def test_without_an_answer_the_plan_is_made_by_bids_and_says_so(
    answer: Callable[[program_values.Problem], Answer], reason: str
) -> None:
    solver = Solver(answer)
    farm = full(solver)
    farm.bring("one", bid_usd_per_gpu_hour=2.0)
    reply = farm.step()
    assert reply.solver == reason
    assert reply.solver_message in ("no plan within 5 s", "RuntimeError: no licence")
    assert [admission.job for admission in reply.admissions] == ["tenant/one"]
    assert "1.5 times the" in reply.preemptions[0].message
    asked = len(solver.asked)
    farm.step(9)
    assert len(solver.asked) == asked
    farm.step(3)
    assert len(solver.asked) == asked + 1
    farm.world.settings = policy.Settings(solve=priced(0.1))
    assert farm.step(12).solver == ""


def test_without_the_program_nothing_is_asked() -> None:
    solver = Solver()
    farm = Farm(2, solver)
    farm.world.settings = policy.Settings(program=False, solve=solver)
    farm.bring("one")
    assert farm.step().admissions
    assert not solver.asked
    assert farm.world.memory.book is None


def test_prices_and_arrivals_survive_a_restart() -> None:
    farm = Farm(2, Solver())
    farm.step()
    for hour in range(30):
        farm.bring(f"job-{hour}", duration_seconds=600.0)
        farm.step()
        farm.world.farm = dataclasses.replace(farm.world.farm, jobs=type(farm.world.farm.jobs)())
        farm.step(59)
    farm.bring("low", bid_usd_per_gpu_hour=0.01)
    farm.step()
    before = farm.world.memory.book
    assert before is not None
    kept = json.loads(json.dumps(memory.dump(farm.world.memory)))
    after = memory.load(kept).book
    assert after is not None
    assert after.newest == before.newest
    prices = [found.last.prices for found in (before, after) if found.last is not None]
    assert prices[0] is not None
    assert prices[1] is not None
    for key, usd in prices[0].usd_per_rig_hour.items():
        assert prices[1].usd_per_rig_hour[key] == pytest.approx(usd, abs=1e-8)
    now = farm.world.now
    expected, recalled = (
        np.array([(each.usd_per_gpu_hour, sum(each.gpus)) for each in found.arrivals.expected(now, EDGES)])
        for found in (before, after)
    )
    assert expected.size
    assert recalled == pytest.approx(expected, rel=1e-5)
    assert len(json.dumps(kept["demand"])) < 4000


def test_what_cannot_be_read_is_not_remembered() -> None:
    troubles: list[str] = []
    for kept in ({"newest": "yesterday"}, 5, {"newest": "2026-01-01T00:00:00", "arrivals": {}}):
        assert memory.load({"demand": kept}, on_trouble=lambda name, _: troubles.append(name)).book is None
    assert troubles == ["demand"] * 3


def test_the_solver_prints_nothing() -> None:
    """In a process of its own: HiGHS would greet once."""
    code = (
        "from switchyard.planning import program, program_values as values\n"
        "block = values.Block(rigs=1, origins=(), modes=(values.LocalMode(usd_per_hour=1.0),))\n"
        "problem = values.Problem(blocks={'a': block})\n"
        "assert not isinstance(program.price(problem), values.Failure)\n"
        "assert not isinstance(program.solve(problem), values.Failure)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout == b""
