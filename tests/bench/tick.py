"""A whole tick of the planner on a large farm: values, costs, the request, the plan, and what people are told."""

from __future__ import annotations

import dataclasses
import datetime
import gc
import itertools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import immutables
import numpy as np

import sample_farm
import sample_world
from bench import report
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import records
from switchyard.market import quotes
from switchyard.planning import compose, policy
from switchyard.planning import request as planning
from switchyard.status import rig as rig_status
from switchyard.valuation import switching_cost, values, worth

SIZES: Final = ((2_500, 1_000, 0.5), (12_500, 3_000, 1.0))
"""Rigs of 8 GPUs, gangs (waiting and at work), and the seconds hoped for."""

HOW: Final = (
    "**A whole tick.** Rigs of 8 GPUs of four kinds on two Sites, each with its own price of power and its forecast, "
    "a pool and a circuit for every 250 rigs; four coins. Gangs are at work on three fifths of the rigs, the others "
    "wait: 1 to 32 replicas with 1, 4 or 8 GPUs, log-normal bids and lengths as above. Rigs are on their Nodes with "
    "the records of their hand-overs, as the operator finds them. Between two ticks a minute passes, prices move by "
    "2 %, and one rig in ten has been written to. Measured on one thread: classes and worths, costs of moves, the "
    "request, the plan (`policy.plan`); apart from it the statuses of all rigs, which the operator writes afterwards "
    "and little by little. In the first tick bid prices are asked for (the linear program above); the median is of "
    "those after it, which have them.",
)

_STAGES: Final = ("values", "request", "plan", "statuses")
_NOW: Final = datetime.datetime(2026, 7, 1, 12, 0, tzinfo=datetime.UTC)
_GPUS: Final = {
    "RTX 3070": (130, 120, 8),
    "RTX 3080": (220, 210, 10),
    "RTX 3090": (280, 270, 24),
    "A10": (150, 140, 24),
}
"""Watts at mining and at AI work, and GiB of memory."""
_COINS: Final = {"kas": 0.060, "rvn": 0.055, "erg": 0.052, "etc": 0.050}
"""$ per hour and 0.03 GH/s."""
_RIGS_PER_CIRCUIT: Final = 250


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """One tick: seconds by stage on the clock and of CPU time, and what came of it."""

    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    reply: planning.PlanReply


def _sum(stages: dict[str, float]) -> float:
    """All but statuses."""
    return sum(seconds for stage, seconds in stages.items() if stage != "statuses")


def measure(*, rigs: int, gangs: int, ticks: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Ticks of one farm, as raw figures."""
    found = farm(rigs=rigs, gangs=gangs)
    # As the operator does once it knows the farm.
    gc.collect()
    gc.freeze()
    ticked = play(found, ticks=ticks)
    gc.unfreeze()
    later = ticked[1:] or ticked
    waiting = sum(job.state is model.JobState.PENDING for job in found.jobs.values())
    figures: dict[str, Any] = {
        "rigs": rigs,
        "gangs": gangs,
        "waiting": waiting,
        "first_seconds": _sum(ticked[0].seconds),
        "first_cpu_seconds": _sum(ticked[0].cpu_seconds),
        "seconds": [_sum(each.seconds) for each in later],
        "cpu_seconds": [_sum(each.cpu_seconds) for each in later],
        "stages": {stage: statistics.median(each.seconds[stage] for each in later) for stage in _STAGES},
        "stages_cpu": {stage: statistics.median(each.cpu_seconds[stage] for each in later) for stage in _STAGES},
        "admitted": [len(each.reply.admissions) for each in ticked],
        "moves": [len(each.reply.moves) for each in ticked],
    }
    say(f"{rigs:,} rigs, {gangs:,} gangs: {_told(figures)}; first {figures['first_seconds']:.2f} s")
    return figures


def figures(row: dict[str, Any]) -> tuple[report.Figure, ...]:
    """Lines of the table, from what `measure` gave."""
    what = f"whole tick: {row['rigs']:,} rigs of 8 GPUs, {row['gangs']:,} gangs, {row['waiting']:,} of them waiting"
    stages = row["stages_cpu"]
    return (
        report.Figure(what=what, value=_told(row), goal=f"{row['goal_seconds']} s"),
        report.Figure(
            what="of it CPU: values; request; plan", value="; ".join(f"{stages[each]:.2f} s" for each in _STAGES[:3])
        ),
        report.Figure(
            what="a tick in which bid prices are asked for (every 2.5 h)",
            value=f"{row['first_seconds']:.2f} s ({row['first_cpu_seconds']:.2f} s of CPU)",
        ),
        report.Figure(
            what="statuses of all rigs", value=f"{row['stages']['statuses']:.2f} s ({stages['statuses']:.2f} s of CPU)"
        ),
    )


def _told(row: dict[str, Any]) -> str:
    return f"{statistics.median(row['seconds']):.2f} s ({statistics.median(row['cpu_seconds']):.2f} s of CPU)"


def play(found: model.Farm, *, ticks: int) -> list[Ticked]:
    """Ticks a minute apart; nothing is carried out, so every one has as much to decide as the first."""
    chance = np.random.default_rng(7)
    memory, classes, ticked = planning.Memory(), None, []
    for tick in range(ticks):
        now = _NOW + datetime.timedelta(minutes=tick)
        market = _market(chance, now)
        marks, spent = [time.perf_counter()], [time.process_time()]

        def mark(marks: list[float] = marks, spent: list[float] = spent) -> None:
            marks.append(time.perf_counter())
            spent.append(time.process_time())

        classes = worth.classify(found, classes)
        valuation = worth.appraise(found, classes, market, now)
        mark()
        costs = switching_cost.costs(found, valuation)
        request = compose.request(found, valuation, costs, memory, now)
        mark()
        reply = policy.plan(request)
        mark()
        _tell(found, valuation, reply, now)
        mark()
        ticked.append(Ticked(seconds=_stages(marks), cpu_seconds=_stages(spent), reply=reply))
        memory = reply.memory
        found = _written(found, chance)
    return ticked


def _stages(marks: list[float]) -> dict[str, float]:
    return {stage: end - begin for stage, (begin, end) in zip(_STAGES, itertools.pairwise(marks), strict=True)}


def _tell(found: model.Farm, valuation: values.Valuation, reply: planning.PlanReply, now: datetime.datetime) -> None:
    for name, rig in found.rigs.items():
        node = found.nodes[rig.node_name]
        rig_status.status(
            rig,
            now=now,
            node=node,
            pool=found.pools[found.pool_of[name]],
            record=records.read(node),
            decision=reply.decisions[name],
            unvalued=valuation.unvalued.get(name),
            circuits=found.sites[rig.site].circuits,
        )


def _written(found: model.Farm, chance: np.random.Generator) -> model.Farm:
    """A tenth of the rigs as they come back from the API server after a write: like before, and other objects."""
    changes = found.rigs.mutate()
    for name in sorted(found.rigs):
        if chance.random() < 0.1:
            changes[name] = dataclasses.replace(found.rigs[name], resource_version="2")
    return dataclasses.replace(found, rigs=changes.finish())


def farm(*, rigs: int, gangs: int) -> model.Farm:
    """Rigs, Nodes with records, and gangs at work on three fifths of them."""
    chance = np.random.default_rng(20171005)
    sites = {name: _site(name, rigs // 2 // _RIGS_PER_CIRCUIT + 1) for name in ("north", "south")}
    rig_of: dict[str, model.Rig] = {}
    for number in range(rigs):
        site = ("north", "south")[number % 2]
        name = f"{site}-{number:05d}"
        circuit = f"c{number // 2 // _RIGS_PER_CIRCUIT}"
        rig_of[name] = _rig(name, site, tuple(_GPUS)[number // 2 % 4], circuit)
    modes = {name: model.mining("kas") for name in rig_of}
    jobs: dict[str, model.Job] = {}
    free = sorted(rig_of, key=lambda name: (rig_of[name].hardware.gpus[0].model, name))
    left = int(rigs * 0.6)
    for number in range(gangs):
        job = _job(chance, f"job-{number:04d}")
        needed = math.ceil(job.replicas * job.gpus_per_replica / 8)
        if left >= needed and number % 8 < 5:
            left -= needed
            taken, free = free[:needed], free[needed:]
            per_rig = 8 // job.gpus_per_replica
            counts = [min(per_rig, job.replicas - at * per_rig) for at in range(needed)]
            job = _working(
                job, [model.Placement(rig=rig, replicas=held) for rig, held in zip(taken, counts, strict=True)]
            )
            modes.update(dict.fromkeys(taken, job.mode))
        jobs[job.key] = job
    nodes = {name: _node(name, rig_of[name].hardware, modes[name], number) for number, name in enumerate(rig_of)}
    return model.Farm(
        sites=immutables.Map(sites),
        pools=immutables.Map({name: _pool(name) for name in sites}),
        coins=immutables.Map({name: _coin(name) for name in _COINS}),
        rigs=immutables.Map(rig_of),
        nodes=immutables.Map(nodes),
        jobs=immutables.Map(jobs),
        pool_of=immutables.Map({name: rig.site for name, rig in rig_of.items()}),
    )


def _market(chance: np.random.Generator, now: datetime.datetime) -> quotes.Market:
    start = now.replace(hour=0, minute=0)
    day = tuple(0.05 + 0.02 * math.sin(hour / 24 * 2 * math.pi) for hour in range(48))
    found = {
        f"power-{site}": quotes.Quote(
            feed=f"power-{site}",
            quantity=quotes.Quantity.ELECTRICITY_PRICE,
            value=day[now.hour] * float(chance.normal(1.0, 0.02)),
            as_of=now,
            trust=1.0,
        )
        for site in ("north", "south")
    }
    curve = quotes.Curve(start=start, interval_seconds=3600, values=day, published_at=start)
    found |= {
        f"{coin}-usd": quotes.Quote(
            feed=f"{coin}-usd",
            quantity=quotes.Quantity.COIN_REVENUE,
            value=usd / 0.03 * float(chance.normal(1.0, 0.02)),
            as_of=now,
            trust=1.0,
        )
        for coin, usd in _COINS.items()
    }
    return quotes.Market(at=now, quotes=found, curves={f"power-{site}": curve for site in ("north", "south")})


def _site(name: str, circuits: int) -> model.Site:
    return sample_farm.site(
        name,
        jurisdiction="NO",
        time_zone="UTC",
        tariff=model.FeedTariff(feed=f"power-{name}", adder_usd_per_kwh=0.01),
        pue=1.1,
        circuits={
            f"c{number}": model.Circuit(name=f"c{number}", limit_watts=_RIGS_PER_CIRCUIT * 2_600)
            for number in range(circuits)
        },
    )


def _pool(name: str) -> model.Pool:
    return sample_farm.pool(
        name,
        coins=tuple(_COINS),
        power={gpu: model.PowerProfile(ai_watts=watts[1], idle_watts=12) for gpu, watts in _GPUS.items()},
        off_watts=10,
    )


def _coin(name: str) -> model.Coin:
    return sample_farm.coin(
        name,
        algorithm=name,
        unit="GH/s",
        dev_fee=0.0,
        min_gpu_memory_mib=4096,
        benchmarks={gpu: model.Benchmark(hashrate=0.03, watts=watts[0]) for gpu, watts in _GPUS.items()},
    )


def _rig(name: str, site: str, gpu: str, circuit: str) -> model.Rig:
    gpus = tuple(
        model.Gpu(model=gpu, memory_mib=_GPUS[gpu][2] * 1024, compute_capability=(8, 6), uuid=f"GPU-{name}-{slot}")
        for slot in range(8)
    )
    return sample_farm.rig(
        name,
        site=site,
        labels={},
        base_watts=120,
        hardware=model.Hardware(gpus=gpus, host_memory_mib=32_768, cpu_cores=8),
        circuit=circuit,
    )


def _node(name: str, hardware: model.Hardware, mode: model.Mode, number: int) -> model.Node:
    held = sample_world.settled(mode, since=_NOW - datetime.timedelta(hours=2, seconds=number % 3600))
    return sample_farm.node(
        name, annotations={names.ANNOTATION_HANDOVER: records.write(held)}, gpus_allocatable=8, hardware=hardware
    )


def _job(chance: np.random.Generator, name: str) -> model.Job:
    return sample_farm.job(
        name,
        namespace=f"tenant-{int(chance.integers(20))}",
        created_at=_NOW - datetime.timedelta(minutes=int(chance.integers(1, 300))),
        replicas=int(chance.choice((1, 1, 1, 1, 2, 2, 4, 8, 16, 32))),
        gpus_per_replica=int(chance.choice((1, 4, 8))),
        bid_usd_per_gpu_hour=float(chance.lognormal(math.log(0.25), 0.5)),
        duration_seconds=3600 * float(chance.lognormal(0.5, 1.5)),
        requirements=model.Requirements(gpu_memory_mib=int(chance.choice((0, 6, 9, 20))) * 1024),
        preemptible=bool(chance.random() < 0.8),
    )


def _working(job: model.Job, placement: list[model.Placement]) -> model.Job:
    began = _NOW - datetime.timedelta(hours=1)
    return dataclasses.replace(
        job,
        requirements=model.Requirements(),
        state=model.JobState.ADMITTED,
        placement=tuple(placement),
        admitted_at=began,
        started_at=began,
        attempts=1,
        progress=0.3,
    )
