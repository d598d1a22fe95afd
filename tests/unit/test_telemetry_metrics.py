from __future__ import annotations

import asyncio
import contextlib
import inspect
import re

import aiohttp
import pytest

from switchyard.telemetry import metrics as metrics_
from switchyard.telemetry import server


class Timer:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def value(metrics: metrics_.Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_name_has_the_prefix_and_no_label_names_a_rig_or_a_job() -> None:
    metrics = metrics_.Metrics(version="1")
    metrics.watch_event("nodes")
    metrics.planned(seconds=0.1)
    allowed = {
        "pool",
        "site",
        "mode",
        "coin",
        "outcome",
        "step",
        "kind",
        "from",
        "to",
        "reason",
        "state",
        "feed",
        "resource",
    }
    allowed |= {"where", "plan", "version", "le"}
    seen = 0
    for family in metrics.registry.collect():
        assert family.name.startswith("switchyard_")
        assert family.documentation
        for sample in family.samples:
            assert set(sample.labels) <= allowed, family.name
        seen += 1
    for metric in vars(metrics).values():
        assert set(getattr(metric, "_labelnames", ())) <= allowed
    assert seen > 20


def test_replace_forgets_what_is_no_more() -> None:
    metrics = metrics_.Metrics()
    metrics.replace(metrics.rigs, {("main", "mining"): 3, ("main", "ai"): 1, ("old", "idle"): 2})
    metrics.replace(metrics.rigs, {("main", "mining"): 2, ("main", "off"): 2})
    assert value(metrics, "switchyard_rigs", pool="main", mode="mining") == 2
    assert value(metrics, "switchyard_rigs", pool="main", mode="off") == 2
    assert value(metrics, "switchyard_rigs", pool="main", mode="ai") is None
    assert value(metrics, "switchyard_rigs", pool="old", mode="idle") is None


def test_two_operators_in_one_process_do_not_share_series() -> None:
    one, two = metrics_.Metrics(), metrics_.Metrics()
    one.errors.labels("loop").inc()
    assert value(two, "switchyard_errors_total", where="loop") is None


def test_commands_and_switches_count_by_outcome() -> None:
    metrics = metrics_.Metrics()
    metrics.command(kind="patch", outcome="done", seconds=0.004)
    metrics.command(kind="patch", outcome="conflict", seconds=0.02)
    assert value(metrics, "switchyard_commands_total", kind="patch", outcome="conflict") == 1
    assert value(metrics, "switchyard_command_duration_seconds_count", kind="patch") == 2
    metrics.switched(origin="Mining", target="AI", outcome="switched", seconds=40)
    metrics.switched(origin="Mining", target="AI", outcome="failed", seconds=400)
    assert value(metrics, "switchyard_switches_total", **{"from": "Mining", "to": "AI", "outcome": "failed"}) == 1
    # What failed would make the time of a good switch look better or worse than it is.
    assert value(metrics, "switchyard_switch_duration_seconds_sum", **{"from": "Mining", "to": "AI"}) == 40
    metrics.step(step="Stopping", seconds=3)
    metrics.step(step="Stopping", seconds=300, timed_out=True)
    assert value(metrics, "switchyard_switch_step_timeouts_total", step="Stopping") == 1
    assert value(metrics, "switchyard_switch_step_duration_seconds_count", step="Stopping") == 2


def test_ages_grow_between_scrapes_without_anybody_setting_them() -> None:
    timer = Timer()
    metrics = metrics_.Metrics(timer=timer)
    assert value(metrics, "switchyard_plan_age_seconds", plan="current") is None
    metrics.planned(seconds=0.2)
    metrics.watch_event("nodes")
    timer.now += 7
    metrics.watch_event("pods")
    timer.now += 5
    assert value(metrics, "switchyard_plan_age_seconds", plan="current") == 12
    assert value(metrics, "switchyard_watch_last_event_age_seconds", resource="nodes") == 12
    assert value(metrics, "switchyard_watch_last_event_age_seconds", resource="pods") == 5


async def test_a_blocked_loop_shows_as_lag() -> None:
    timer = Timer()
    metrics = metrics_.Metrics(timer=timer)
    task = asyncio.create_task(metrics.measure_loop_lag(interval_seconds=0.01))
    await asyncio.sleep(0)
    timer.now += 3.01
    await asyncio.sleep(0.03)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert value(metrics, "switchyard_loop_lag_seconds_sum") == pytest.approx(3.0)


async def test_the_server_shows_metrics_and_tells_trouble_by_name() -> None:
    metrics = metrics_.Metrics(version="0.1.0")
    trouble: list[str] = []

    def broken() -> str | None:
        raise KeyError("nodes")

    app = server.application(
        metrics=metrics,
        live={"loop": lambda: trouble[0] if trouble else None},
        ready={"watch": broken, "loop": lambda: None},
    )
    async with server.serve(app, host="127.0.0.1", port=0) as port, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{port}"
        async with session.get(f"{base}/metrics") as reply:
            assert reply.content_type == "text/plain"
            assert 'switchyard_build_info{version="0.1.0"} 1.0' in await reply.text()
        async with session.get(f"{base}/healthz") as reply:
            assert (reply.status, await reply.text()) == (200, "loop: ok\n")
        trouble.append("no turn for 90 s")
        async with session.get(f"{base}/healthz") as reply:
            assert (reply.status, await reply.text()) == (503, "loop: no turn for 90 s\n")
        async with session.get(f"{base}/readyz") as reply:
            assert reply.status == 503
            assert "watch: the check itself failed: KeyError('nodes')" in await reply.text()


def test_units_stand_in_the_names() -> None:
    names = re.findall(r'"([a-z_]+)", (?:\n\s*)?"', inspect.getsource(metrics_.Metrics.__init__))
    assert {"plan_duration_seconds", "net_usd_per_hour", "feed_trust_ratio"} <= set(names)
