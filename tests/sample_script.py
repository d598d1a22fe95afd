"""Small scenarios for tests of the back-test: prices that wander, demand that comes and goes, now and then jobs."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from switchyard.backtest import script as scripts
from switchyard.fleet import model

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
Floats = npt.NDArray[np.float64]

_KINDS = model.ModeKind


def switching(**over: Any) -> scripts.Switching:
    """Minutes at 0.20 $/h, wear, and five cents for an eviction: the costs that policies were compared with."""
    seconds = {
        (_KINDS.MINING, _KINDS.MINING): (180.0, 0.0005),
        (_KINDS.MINING, _KINDS.AI): (480.0, 0.003),
        (_KINDS.IDLE, _KINDS.AI): (480.0, 0.003),
        (_KINDS.AI, _KINDS.AI): (480.0, 0.003),
        (_KINDS.AI, _KINDS.MINING): (120.0, 0.003),
        (_KINDS.AI, _KINDS.IDLE): (120.0, 0.003),
        (_KINDS.AI, _KINDS.OFF): (120.0, 0.003),
        (_KINDS.OFF, _KINDS.MINING): (360.0, 0.003),
        (_KINDS.OFF, _KINDS.AI): (840.0, 0.003),
        (_KINDS.OFF, _KINDS.IDLE): (360.0, 0.003),
        (_KINDS.MINING, _KINDS.OFF): (0.0, 0.003),
        (_KINDS.IDLE, _KINDS.MINING): (180.0, 0.003),
    }
    given: dict[str, Any] = {
        "moves": {pair: scripts.MoveCost(seconds=cost[0], usd=cost[1]) for pair, cost in seconds.items()},
        "reference_usd_per_gpu_hour": 0.20,
        "eviction_usd_per_gpu": 0.05,
    }
    return scripts.Switching(**{**given, **over})


def group(name: str = "shed", **over: Any) -> scripts.GroupScript:
    given: dict[str, Any] = {
        "name": name,
        "site": "barn",
        "rigs": 4,
        "gpu": "RTX 3070",
        "yields": {
            "kas": scripts.Yield(hashrate=1.0, watts=130.0),
            "rvn": scripts.Yield(hashrate=0.02, watts=160.0),
        },
        "ai_watts": 180.0,
        "idle_watts": 12.0,
        "base_watts": 20.0,
        "off_watts": 2.0,
    }
    return scripts.GroupScript(**{**given, **over})


def wander(chance: np.random.Generator, steps: int, *, mean: float, sigma: float, kept: float = 0.97) -> Floats:
    """A walk: exp of an AR(1) process about log(mean)."""
    found, deviation = [], 0.0
    for shock in chance.standard_normal(steps):
        deviation = kept * deviation + sigma * float(shock)
        found.append(mean * float(np.exp(deviation)))
    return np.array(found)


def bursts(chance: np.random.Generator, steps: int, *, most: int, length: float = 12.0) -> npt.NDArray[np.int64]:
    """Demand that stays for `length` steps in the mean and then is another."""
    found, now = [], int(chance.integers(0, most + 1))
    for _ in range(steps):
        if chance.random() < 1 / length:
            now = int(chance.integers(0, most + 1))
        found.append(now)
    return np.array(found, dtype=np.int64)


def script(seed: int = 0, *, steps: int = 300, demand: bool = True, **over: Any) -> scripts.Script:
    chance = np.random.default_rng(seed)
    groups = over.pop("groups", (group(),))
    gpus = groups[0].rigs * groups[0].gpus_per_rig
    given: dict[str, Any] = {
        "name": "sample",
        "start": START,
        "step_seconds": 600,
        "steps": steps,
        "sites": (scripts.SiteScript(name="barn", usd_per_kwh=wander(chance, steps, mean=0.10, sigma=0.15), pue=1.1),),
        "coins": (
            scripts.CoinScript(name="kas", usd_per_unit_hour=wander(chance, steps, mean=0.03, sigma=0.08), fee=0.02),
            scripts.CoinScript(name="rvn", usd_per_unit_hour=wander(chance, steps, mean=1.6, sigma=0.08), fee=0.01),
        ),
        "groups": groups,
        "demands": (
            scripts.DemandScript(
                name="market",
                group=groups[0].name,
                usd_per_gpu_hour=np.full(steps, 0.09),
                gpus_wanted=bursts(chance, steps, most=gpus),
            ),
        )
        if demand
        else (),
        "switching": switching(),
    }
    return scripts.Script(**{**given, **over})


def jobs(
    seed: int = 0, *, count: int = 60, steps: int = 300, over: Mapping[str, Any] | None = None
) -> tuple[scripts.JobScript, ...]:
    """Gangs of one or two replicas whose bids are spread widely."""
    chance = np.random.default_rng(seed + 1000)
    found = []
    for number in range(count):
        given: dict[str, Any] = {
            "key": f"job-{number}",
            "arrival_seconds": float(chance.integers(0, steps * 600)),
            "replicas": int(chance.integers(1, 3)),
            "gpus_per_replica": 1,
            "duration_seconds": float(chance.integers(600, 4 * 3600)),
            "bid_usd_per_gpu_hour": float(0.08 * np.exp(0.6 * chance.standard_normal())),
            "patience_seconds": 3600.0,
        }
        found.append(scripts.JobScript(**{**given, **(over or {})}))
    return tuple(found)
