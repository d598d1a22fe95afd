"""A thousand rigs: how long the operator takes to start, what it costs at rest, how soon a price reaches the rigs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import pstats
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from bench import agents, farm, report
from controlplane import ControlPlane, manifests
from controlplane.processes import ProcessError
from operator_process import OperatorProcess, Sample, cpu_seconds
from switchyard.kube import client as kube
from switchyard.kube import credentials

NAME: Final = "scale"

_ROOT: Final = Path(__file__).parents[2]
_RIGS, _MOVED, _SAMPLES = 1000, 100, 2
_COLD_STARTS: Final = 3
_STEADY_SECONDS: Final = 60.0
_REPORTING_SECONDS: Final = 30.0
_REPORT_EVERY_SECONDS: Final = 30.0
_PLAN_AGE_SECONDS: Final = 45.0
"""How long after a plan prices change: see `_HOW`."""

_HOW: Final = (
    "**How.** `make bench` starts etcd, API server, controller manager, scheduler and KWOK on the same machine "
    "(lean: no node leases, no node lifecycle controller) and the operator as a process of its own, `switchyard "
    "run` with its default options. {rigs} simulated rigs of four kinds stand on {sites} sites, one pool in mode "
    "Enforce with `maxConcurrent: 100%`, three coins, all rigs mining (one Pod each). Agents are played by the "
    "benchmark and answer at once; a real one takes 2 to 3 s to set power limits and read them back. KWOK starts "
    "and ends Pods at once. So the last block is the operator's and the API server's share of a hand-over, not what "
    "a miner needs to stop or start.",
    "**CPU and memory** are the kernel's figures of the operator's process (utime + stime, VmRSS, VmHWM). At rest, "
    "nothing changes and agents are silent; the second figure has every agent repeat its report every {every:.0f} "
    "s.",
    "**A price change** is the answer of a web server that the operator asks every second: the power of one site "
    "with {moved} rigs becomes so dear that all of them go to another coin. Each hand-over evicts a miner, waits "
    "for Pod and agent, and starts another. The times are those at which a watch on Nodes hears of it. The policy "
    "waits until money forgone has paid for the move, which depends on prices and not on the operator; the "
    "benchmark's prices are such that {age:.0f} s do, and change so long after a plan. {samples} samples, each at "
    "another site.",
)


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """What this benchmark can be told. Other settings than the defaults are a try: they are not written down."""
    group.add_argument("--rigs", type=int, default=_RIGS)
    group.add_argument("--moved", type=int, default=_MOVED, help="rigs that a price change moves")
    group.add_argument("--samples", type=int, default=_SAMPLES, help="of the price change")
    group.add_argument(
        "--profile", action="store_true", help="cProfile the operator from its start to the end of its rest, and stop"
    )


async def run(options: argparse.Namespace, say: Callable[[str], None]) -> report.Section:
    """Run it. Raises OperatorError, ProcessError, CommandError, TimeoutError."""
    busy = report.Busy()
    async with contextlib.AsyncExitStack() as stack:
        bench = await stack.enter_async_context(_opened(options, say))
        raw: dict[str, Any] = {"rigs": options.rigs, "moved": options.moved}
        raw["first_start"] = await bench.first_start()
        profile = options.out / "operator.prof" if options.profile else None
        raw["cold_starts"] = []
        for _ in range(_COLD_STARTS - 1):
            with bench.operator() as operator:
                raw["cold_starts"].append(await bench.cold_start(operator))
                raw["cold_starts"][-1]["stop_seconds"] = await bench.stop(operator)
        with bench.operator(profile=profile) as operator:
            raw["cold_starts"].append(await bench.cold_start(operator))
            await bench.quiet(operator)
            raw["rest"] = await bench.measure(operator, seconds=_STEADY_SECONDS)
            raw["reporting"] = await bench.measure(
                operator, seconds=_REPORTING_SECONDS, report_every=_REPORT_EVERY_SECONDS
            )
            if profile is None:
                raw["switches"] = [await bench.switch(operator, number) for number in range(options.samples)]
            raw["end"] = dataclasses.asdict(operator.usage())
            raw["cold_starts"][-1]["stop_seconds"] = await bench.stop(operator)
        if profile is not None:
            _show(profile)
    asked = (options.rigs, options.moved, options.samples, options.profile)
    return report.Section(
        name=NAME,
        title=f"{options.rigs:,} rigs",
        how=tuple(
            paragraph.format(
                rigs=f"{options.rigs:,}",
                sites=options.samples + 1,
                moved=options.moved,
                samples=options.samples,
                every=_REPORT_EVERY_SECONDS,
                age=_PLAN_AGE_SECONDS,
            )
            for paragraph in _HOW
        ),
        figures=tuple(_figures(raw)),
        raw=raw,
        machine={**bench.machine, "others_percent": busy.others_percent()},
        tried=asked != (_RIGS, _MOVED, _SAMPLES, False),
    )


class _Bench:
    """The farm, set up, and the measurements on it."""

    def __init__(
        self,
        *,
        control_plane: ControlPlane,
        played: agents.Agents,
        prices: dict[str, float],
        machine: dict[str, Any],
        options: argparse.Namespace,
        say: Callable[[str], None],
    ) -> None:
        self.machine = machine
        self._control_plane = control_plane
        self._agents = played
        self._prices = prices
        self._options = options
        self._say = say

    def operator(self, *, profile: Path | None = None) -> OperatorProcess:
        """A fresh one, not yet started."""
        return OperatorProcess(
            kubeconfig=self._control_plane.kubeconfig, log=self._options.out / "operator.log", profile=profile
        )

    async def stop(self, operator: OperatorProcess) -> float:
        """As Kubernetes does: SIGTERM, and SIGKILL after 30 s. Returns the seconds until it has ended."""
        started = time.monotonic()
        try:
            status = await asyncio.to_thread(operator.signal, signal.SIGTERM, wait_seconds=30)
        except ProcessError:
            self._say("the operator did not end within 30 s of SIGTERM and is killed")
            status = await asyncio.to_thread(operator.signal, signal.SIGKILL, wait_seconds=10)
        if status != 0:
            self._say(f"the operator ended with status {status}")
        return time.monotonic() - started

    async def first_start(self) -> dict[str, Any]:
        """The very first one: nothing is known of any rig."""
        self._say("the first operator registers the rigs and sets them to work")
        count = self._options.rigs
        with self.operator() as operator:
            ready = await asyncio.to_thread(operator.wait_ready, timeout_seconds=120)
            await self._until(
                f"{count} rigs mine {farm.BEFORE}",
                lambda: sum(_mines(sight, farm.BEFORE) for sight in self._agents.sights.values()),
                count,
                operator,
            )
            all_mine = time.monotonic() - operator.started_at
            self._say(f"first plan after {ready:.1f} s, all rigs mine after {all_mine:.1f} s")
            await self.quiet(operator)
            metrics = await asyncio.to_thread(operator.metrics)
            found = {
                "ready_seconds": ready,
                "all_mine_seconds": all_mine,
                "commands": _commands(metrics),
                **dataclasses.asdict(operator.usage()),
            }
            await self.stop(operator)
        return found

    async def cold_start(self, operator: OperatorProcess) -> dict[str, Any]:
        """A fresh operator on a farm that runs."""
        ready = await asyncio.to_thread(operator.wait_ready, timeout_seconds=120)
        usage, metrics = operator.usage(), await asyncio.to_thread(operator.metrics)
        self._say(f"cold start: first plan after {ready:.2f} s, {usage.cpu_seconds:.2f} s of CPU")
        return {
            "ready_seconds": ready,
            "plan_seconds": _mean(metrics, "switchyard_plan_duration_seconds"),
            **dataclasses.asdict(usage),
        }

    async def measure(
        self, operator: OperatorProcess, *, seconds: float, report_every: float | None = None
    ) -> dict[str, Any]:
        """CPU, memory and writes while the farm rests, or while all that happens is that agents repeat themselves."""
        reporting = f", agents report every {report_every:.0f} s" if report_every else ""
        self._say(f"at rest for {seconds:.0f} s{reporting}")
        before, metrics_before = operator.usage(), await asyncio.to_thread(operator.metrics)
        started = time.monotonic()
        reports = 0
        if report_every:
            reports = await self._agents.repeat(every_seconds=report_every, for_seconds=seconds)
        else:
            await asyncio.sleep(seconds)
        after, passed = operator.usage(), time.monotonic() - started
        metrics = await asyncio.to_thread(operator.metrics)
        found = {
            "seconds": passed,
            "cpu_percent": 100 * (after.cpu_seconds - before.cpu_seconds) / passed,
            "resident_mib": after.resident_mib,
            "peak_mib": after.peak_mib,
            "writes": _sum(metrics, "switchyard_commands_total") - _sum(metrics_before, "switchyard_commands_total"),
            "plans": _sum(metrics, "switchyard_plan_duration_seconds_count")
            - _sum(metrics_before, "switchyard_plan_duration_seconds_count"),
            "plan_seconds": _mean(metrics, "switchyard_plan_duration_seconds", since=metrics_before),
            "agent_reports": reports,
            "loop_lag_mean_seconds": _mean(metrics, "switchyard_loop_lag_seconds", since=metrics_before),
        }
        self._say(
            f"{found['cpu_percent']:.2f} % of a core, {found['resident_mib']:.0f} MiB, "
            f"{found['writes']:.0f} writes, {found['plans']:.0f} plans"
        )
        return found

    async def switch(self, operator: OperatorProcess, number: int) -> dict[str, Any]:
        """From a new price to the last of the rigs that it moves."""
        site = farm.barn(number)
        moved = {f"rig-{rig:04d}" for rig in range(number * self._options.moved, (number + 1) * self._options.moved)}
        await self._plan_age(operator)
        locked: dict[str, float] = {}
        settled: dict[str, float] = {}
        steps: dict[str, list[float]] = {}
        stray: set[str] = set()

        def note(name: str, sight: agents.Sight, moment: float) -> None:
            if name not in moved:
                stray.add(name)
                return
            steps.setdefault(sight.step, []).append(moment - started)
            if _mines(sight, farm.AFTER):
                settled.setdefault(name, moment)
            elif sight.state == "switching":
                locked.setdefault(name, moment)

        before, metrics_before = self._cpu(operator), await asyncio.to_thread(operator.metrics)
        started = time.monotonic()
        self._agents.seen = note
        self._prices[site] = farm.SPIKE
        await self._until(f"{len(moved)} rigs of {site} have switched", lambda: len(settled), len(moved), operator)
        after, metrics = self._cpu(operator), await asyncio.to_thread(operator.metrics)
        first, last_locked = min(locked.values()) - started, max(locked.values()) - started
        each = sorted(settled[name] - locked[name] for name in moved)
        found = {
            "first_patch_seconds": first,
            "last_first_patch_seconds": last_locked,
            "median_settled_seconds": statistics.median(settled.values()) - started,
            "last_settled_seconds": max(settled.values()) - started,
            "one_rig_median_seconds": statistics.median(each),
            "one_rig_most_seconds": each[-1],
            "others_that_moved": len(stray),
            "cpu_seconds": {name: round(after[name] - seconds, 2) for name, seconds in before.items()},
            "writes": _sum(metrics, "switchyard_commands_total") - _sum(metrics_before, "switchyard_commands_total"),
            "conflicts": _sum(metrics, "switchyard_commands_total", outcome="conflict")
            - _sum(metrics_before, "switchyard_commands_total", outcome="conflict"),
            "commands": _commands(metrics, since=metrics_before),
            "steps": {step: {"first": min(at), "last": max(at)} for step, at in steps.items()},
        }
        self._say(
            f"first Node locked after {first:.2f} s, the {len(moved)}th after {last_locked:.2f} s, "
            f"all switched after {found['last_settled_seconds']:.2f} s ({found['writes']:.0f} writes)"
        )
        self._agents.seen = lambda name, sight, moment: None
        return found

    def _cpu(self, operator: OperatorProcess) -> dict[str, float]:
        """CPU seconds so far of everybody who has a part in it."""
        pids = {**self._control_plane.pids(), "operator": operator.pid, "bench": os.getpid()}
        return {name: cpu_seconds(pid) for name, pid in pids.items()}

    async def _plan_age(self, operator: OperatorProcess) -> None:
        """Wait until the last plan is as old as the benchmark's prices want it."""
        key = "switchyard_plan_age_seconds"
        self._say(f"waiting until the last plan is {_PLAN_AGE_SECONDS:.0f} s old")
        for _ in range(10):
            age = _sum(await asyncio.to_thread(operator.metrics), key)
            if _PLAN_AGE_SECONDS <= age < _PLAN_AGE_SECONDS + 5:
                return
            # Beyond that, the next plan is near.
            await asyncio.sleep(max(1.0, _PLAN_AGE_SECONDS + 0.2 - age) if age < _PLAN_AGE_SECONDS else 3.0)
        raise TimeoutError(f"never {_PLAN_AGE_SECONDS:.0f} s without a plan")

    async def quiet(self, operator: OperatorProcess) -> None:
        """Wait until the operator writes nothing more."""
        last, since = -1.0, time.monotonic()
        deadline = since + 120
        while time.monotonic() < deadline:
            count = _sum(await asyncio.to_thread(operator.metrics), "switchyard_commands_total")
            if count != last:
                last, since = count, time.monotonic()
            elif time.monotonic() - since >= 5:
                return
            await asyncio.sleep(1)
        self._say("it has not stopped writing within 120 s")

    async def _until(self, what: str, count: Callable[[], int], wanted: int, operator: OperatorProcess) -> None:
        deadline, told = time.monotonic() + 300, time.monotonic()
        while (now := count()) < wanted:
            operator.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within 300 s: {what} ({now} of {wanted})")
            if time.monotonic() - told >= 10:
                self._say(f"{now} of {wanted}: {what}")
                told = time.monotonic()
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _opened(options: argparse.Namespace, say: Callable[[str], None]) -> AsyncIterator[_Bench]:
    """Control plane, Nodes, kinds, the farm's objects, prices and agents."""
    rigs = farm.rigs(count=options.rigs, barns=options.samples, of_barn=options.moved)
    prices = {farm.barn(number): farm.QUIET for number in range(options.samples)}
    say(f"starting a control plane with {len(rigs)} nodes (load of the machine: {os.getloadavg()[0]:.1f})")
    machine = report.machine(kubernetes="")
    with contextlib.ExitStack() as stack:
        control_plane = ControlPlane(lean=True, logs_dir=options.out / "logs")
        await asyncio.to_thread(stack.enter_context, control_plane)
        machine["kubernetes"] = control_plane.api.get("/version")["gitVersion"]
        await asyncio.to_thread(control_plane.create_nodes, [rig.node() for rig in rigs], timeout_seconds=300)
        async with _served(prices) as address:
            await asyncio.to_thread(manifests.apply, control_plane, [_ROOT / "crds"])
            whole = yaml.safe_dump_all(farm.objects(barns=options.samples, prices=address))
            await asyncio.to_thread(control_plane.kubectl, "apply", "-f", "-", input=whole)
            found = credentials.from_kubeconfig(str(control_plane.kubeconfig))
            async with kube.Client(credentials=found, user_agent="switchyard-bench") as client:
                played = agents.Agents(client=client, rigs=rigs)
                playing = asyncio.create_task(played.run())
                try:
                    await played.watch.synced.wait()
                    yield _Bench(
                        control_plane=control_plane,
                        played=played,
                        prices=prices,
                        machine=machine,
                        options=options,
                        say=say,
                    )
                finally:
                    playing.cancel()
                    await asyncio.gather(playing, return_exceptions=True)


@contextlib.asynccontextmanager
async def _served(prices: Mapping[str, float]) -> AsyncIterator[str]:
    """A web server that tells the price of power at each site; yields its address."""

    async def tell(request: web.Request) -> web.Response:
        return web.json_response({"price": prices[request.match_info["site"]]})

    application = web.Application()
    application.router.add_get("/{site}", tell)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _sum(metrics: Mapping[Sample, float], name: str, **labels: str) -> float:
    return sum(
        value for (sample, found), value in metrics.items() if sample == name and labels.items() <= dict(found).items()
    )


def _mean(metrics: Mapping[Sample, float], name: str, *, since: Mapping[Sample, float] | None = None) -> float | None:
    before = since or {}
    count = _sum(metrics, f"{name}_count") - _sum(before, f"{name}_count")
    total = _sum(metrics, f"{name}_sum") - _sum(before, f"{name}_sum")
    return total / count if count else None


def _commands(
    metrics: Mapping[Sample, float], *, since: Mapping[Sample, float] | None = None
) -> dict[str, dict[str, float]]:
    """How many commands of each kind, and how long one took on average."""
    name = "switchyard_command_duration_seconds"
    kinds = {dict(found)["kind"] for sample, found in metrics if sample == f"{name}_count"}
    found = {}
    for kind in sorted(kinds):
        count, total = (
            _sum(metrics, f"{name}_{what}", kind=kind) - _sum(since or {}, f"{name}_{what}", kind=kind)
            for what in ("count", "sum")
        )
        found[kind] = {"count": count, "mean_seconds": total / count if count else 0.0}
    return found


def _mines(sight: agents.Sight, coin: str) -> bool:
    return sight.state == "mining" and sight.profile == f"mining.{coin}"


def _show(profile: Path) -> None:
    figures = pstats.Stats(str(profile))
    figures.sort_stats("tottime").print_stats(30)
    figures.sort_stats("cumulative").print_stats(45)


def _figures(raw: Mapping[str, Any]) -> list[report.Figure]:
    first, cold, rest, reporting = raw["first_start"], raw["cold_starts"], raw["rest"], raw["reporting"]
    rigs, moved = f"{raw['rigs']:,}", raw["moved"]
    figures = [
        report.Figure(
            what=f"from nothing: {rigs} Nodes registered, claimed and all mining",
            value=f"{first['all_mine_seconds']:.0f} s",
        ),
        report.Figure(
            what="cold start on that farm: start of the process to first plan",
            value=", ".join(f"{start['ready_seconds']:.1f} s" for start in cold),
        ),
        report.Figure(what="CPU until then", value=", ".join(f"{start['cpu_seconds']:.1f} s" for start in cold)),
        report.Figure(
            what="SIGTERM to its end",
            value=", ".join(f"{start['stop_seconds']:.1f} s" for start in cold),
        ),
        report.Figure(
            what=f"at rest, {rest['seconds']:.0f} s: CPU", value=f"{rest['cpu_percent']:.1f} % of a core", goal="< 2 %"
        ),
        report.Figure(
            what="at rest: memory now, peak since start",
            value=f"{rest['resident_mib']:.0f} MiB, {rest['peak_mib']:.0f} MiB",
            goal="< 200 MB",
        ),
        report.Figure(
            what=f"memory, peak while all {rigs} rigs were set to work at once", value=f"{first['peak_mib']:.0f} MiB"
        ),
        report.Figure(what="at rest: writes to the API server", value=f"{rest['writes']:.0f}"),
        report.Figure(
            what=f"with {reporting['agent_reports'] / reporting['seconds']:.0f} agent reports a second: CPU",
            value=f"{reporting['cpu_percent']:.1f} % of a core",
        ),
    ]
    if rest["plan_seconds"] is not None:
        figures.append(report.Figure(what="one plan", value=f"{1000 * rest['plan_seconds']:.0f} ms"))
    if switches := raw.get("switches"):
        figures += [
            report.Figure(what=what, value=", ".join(f"{switch[key]:.1f} s" for switch in switches))
            for what, key in (
                ("price change to the first Node locked", "first_patch_seconds"),
                (f"price change to the {moved}th Node locked", "last_first_patch_seconds"),
                (f"price change to the {moved}th rig at work again", "last_settled_seconds"),
                ("one rig, locked to at work again, median", "one_rig_median_seconds"),
            )
        ]
        figures.append(
            report.Figure(
                what="CPU meanwhile: API server; operator",
                value="; ".join(
                    ", ".join(f"{switch['cpu_seconds'][name]:.1f} s" for switch in switches)
                    for name in ("kube-apiserver", "operator")
                ),
            )
        )
    return figures
