"""What the operator tells of a plan that had to do without bid prices."""

from __future__ import annotations

import datetime

import sample_farm as sample
import sample_world as worlds
from switchyard import clock as clocks
from switchyard.cluster import commands as cmd
from switchyard.loop import holding, learning, reports
from switchyard.market import feeds
from switchyard.planning import policy, program, program_values
from switchyard.planning import request as planning
from switchyard.telemetry import metrics as metering
from switchyard.valuation import worth


def late(problem: program_values.Problem) -> program_values.Failure:
    del problem
    return program_values.Failure(reason=program.LATE, message="no plan within 5 s")


class Desk:
    """A farm with a job that waits, and what is told of it."""

    def __init__(self) -> None:
        self.metrics = metering.Metrics()
        self.farm = sample.farm(jobs=[sample.job()], sites=[], coins=[])
        self.memory = planning.Memory()
        self.now = sample.NOW
        self.reports = reports.Reports(
            feeds=feeds.Feeds(clocks.SystemClock()),
            metrics=self.metrics,
            records=holding.Records(),
            learner=learning.Learner(),
            miners_namespace="miners",
            figures_every=datetime.timedelta(minutes=10),
        )

    def plan(self, settings: policy.Settings, minutes: int) -> None:
        market = sample.market()
        for _ in range(minutes):
            request = worlds.requested(self.farm, market, memory=self.memory, now=self.now)
            reply = policy.plan(request, settings=settings)
            valuation = worth.value(self.farm, market, self.now)
            self.reports.planned(market=market, valuation=valuation, request=request, reply=reply, now=self.now)
            self.memory = reply.memory
            self.now += datetime.timedelta(minutes=1)

    def failures(self) -> float:
        found = self.metrics.registry.get_sample_value("switchyard_plan_solver_failures_total", {"reason": "Late"})
        return found or 0.0

    def condition(self) -> tuple[str, str, str]:
        told = self.reports.few(self.farm, {}, now=self.now)
        statuses = [each.body["status"] for each in told if isinstance(each, cmd.Patch) and "status" in each.body]
        (found,) = (
            each for status in statuses for each in status.get("conditions", ()) if each["type"] == "PlannerReady"
        )
        return found["status"], found["reason"], found["message"]


def test_a_late_solver_is_counted_once_per_try_and_told_on_the_pool() -> None:
    desk = Desk()
    desk.plan(policy.Settings(solve=late), 10)
    assert desk.failures() == 1
    assert desk.condition()[:2] == ("False", "Late")
    assert "no plan within 5 s" in desk.condition()[2]
    desk.plan(policy.Settings(solve=late), 2)
    assert desk.failures() == 2
    desk.plan(policy.Settings(), 12)
    assert desk.failures() == 2
    assert desk.condition()[:2] == ("True", "AsExpected")
