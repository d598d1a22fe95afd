"""A small farm's market, made up and played by a few rules of thumb: results that look like those of a back-test.

The money is added up from the lanes themselves, so that what a report says can be checked against them.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from switchyard.backtest import result, script

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

START = datetime.datetime(2017, 10, 5, tzinfo=datetime.UTC)
STEP_SECONDS = 600
GPUS = 64
COINS = ("zec", "eth", "etc", "xmr", "rvn")
MODES = ("AI", *(f"mining {coin}" for coin in COINS), "idle", "off")
AI, OFF = 0, len(MODES) - 1
_MOVE_USD = 0.025
_AI_USD_PER_HOUR = 0.2

REPAIRS = (
    script.Repair(file="power.csv", kind="doubledHour", count=3, detail="the later one holds"),
    script.Repair(file="coins.csv", kind="a day twice, the later line taken", count=1),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class World:
    """$ per GPU and step of every mode, and GPUs wanted for AI work."""

    power_usd_per_kwh: Floats
    reward: Floats
    wanted: Ints


def world(*, days: int, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    steps = days * 86400 // STEP_SECONDS
    hours = np.arange(steps) * STEP_SECONDS / 3600
    daily = np.sin((hours % 24 - 9) / 24 * 2 * np.pi)
    spikes = np.where(rng.random(steps) < 0.002, rng.exponential(0.5, steps), 0.0)
    spikes = np.convolve(spikes, np.exp(-np.arange(18) / 5))[:steps]
    power = 0.034 + 0.012 * daily + _walk(rng, steps, 0.004, 0.995) + spikes
    gross = [
        level * np.exp(_walk(rng, steps, 0.012, 0.9995)) for level in (0.082, 0.078, 0.072, 0.070, 0.066)[: len(COINS)]
    ]
    kilowatts = (0.25, 0.19, *(0.21 for _ in COINS), 0.04, 0.004)
    earned = [np.full(steps, _AI_USD_PER_HOUR), *gross, np.zeros(steps), np.zeros(steps)]
    watts = (kilowatts[0], *kilowatts[2 : 2 + len(COINS)], *kilowatts[-2:])
    reward = np.stack([each - kilowatt * power for each, kilowatt in zip(earned, watts, strict=True)], axis=1)
    load = 26 + 14 * np.sin((hours % 168) / 168 * 2 * np.pi) + 60 * _walk(rng, steps, 0.05, 0.99)
    return World(
        power_usd_per_kwh=power,
        reward=reward * STEP_SECONDS / 3600,
        wanted=np.clip(load, 0, 90).round().astype(np.int64),
    )


def _walk(rng: np.random.Generator, steps: int, size: float, kept: float) -> Floats:
    noise = rng.normal(0, size, steps)
    walked = np.empty(steps)
    at = 0.0
    for index in range(steps):
        at = kept * at + noise[index]
        walked[index] = at
    return walked


def _plain(market: World, *, patience: float, static: int | None = None) -> tuple[Floats, Floats, int]:
    """GPUs by mode, $ of each step, and moves; a mode is left when regret has come to `patience` x the cost."""
    steps = len(market.wanted)
    counts = np.zeros((steps, len(MODES)))
    usd = np.empty(steps)
    moves, current, regret, served = 0, 1 if static in (None, AI) else static, 0.0, 0
    for index in range(steps):
        row = market.reward[index]
        if static is None:
            best = 1 + int(np.argmax(row[1:]))
            regret = max(0.0, regret + row[best] - row[current]) if best != current else 0.0
            if best != current and regret >= patience * _MOVE_USD:
                moves += GPUS - served
                current, regret = best, 0.0
        pays = static == AI or (static is None and row[AI] > row[current])
        wanted = min(int(market.wanted[index]), GPUS) if pays else 0
        if static is None and patience and abs(wanted - served) <= 3 * patience and pays:
            wanted = min(served, int(market.wanted[index]))
        cost = _MOVE_USD * abs(wanted - served)
        if static is None:
            moves += abs(wanted - served)
        served = wanted
        rest = len(MODES) - 2 if static == AI else current
        counts[index, AI] = served
        counts[index, rest] += GPUS - served
        usd[index] = counts[index] @ row - (0.0 if static is not None else cost)
    return counts, usd - (moves * _MOVE_USD / steps if static is None else 0.0), moves


def results(
    *,
    days: int = 60,
    warmup_days: int = 7,
    scenario: str = "coins-and-ai",
    cost_scale: float = 1.0,
    seed: int = 0,
    lanes: bool = True,
    policies: Mapping[str, float | str] | None = None,
    why: str = "work function: 0.31 $ of regret had paid for the move",
) -> list[result.Result]:
    """One play: by default six policies. A number is a rule's patience, a word the mode that is never left."""
    market = world(days=days, seed=seed)
    steps = len(market.wanted)
    warmup = warmup_days * 86400 // STEP_SECONDS
    chosen = policies or {
        "switchyard": 1.0,
        "wfa": 1.6,
        "threshold:10:1h": 4.0,
        "greedy": 0.0,
        "static:zec": "mining zec",
        "static:ai": "AI",
    }
    played = {
        name: _plain(
            market,
            patience=value * cost_scale if isinstance(value, float) else 0.0,
            static=MODES.index(value) if isinstance(value, str) else None,
        )
        for name, value in chosen.items()
    }
    ai = np.where(market.reward[:, AI] > market.reward[:, 1:].max(axis=1), np.minimum(market.wanted, GPUS), 0)
    counts = np.zeros((steps, len(MODES)))
    counts[:, AI] = ai
    counts[np.arange(steps), 1 + market.reward[:, 1:].argmax(axis=1)] = GPUS - ai
    played["clairvoyant"] = counts, (counts * market.reward).sum(axis=1) * 0.992, int(0.6 * GPUS * days)
    profits = {name: float(usd[warmup:].sum()) for name, (_, usd, _) in played.items()}
    static = max((profits[name] for name in profits if name.startswith("static")), default=0.0)
    top = profits["clairvoyant"]
    return [
        result.Result(
            scenario=scenario,
            policy=name,
            cost_scale=cost_scale,
            seed=seed,
            start=START,
            step_seconds=STEP_SECONDS,
            steps=steps,
            warmup_steps=warmup,
            gpus=GPUS,
            measures=result.Measures(
                profit_usd=profits[name],
                pct_of_clairvoyant=100 * profits[name] / top,
                capture=(profits[name] - static) / (top - static),
                regret_usd_per_gpu_year=(top - profits[name]) / GPUS / max(days - warmup_days, 1) * 365,
                switches_per_gpu_day=moves / GPUS / days,
                switching_cost_share=moves * _MOVE_USD / (moves * _MOVE_USD + max(profits[name], 1.0)),
                evictions=moves // 40,
                lost_gpu_hours=moves / 300,
                cap_violations=0,
                plan_seconds_p50=None if name == "clairvoyant" else 0.0021,
                plan_seconds_p99=None if name == "clairvoyant" else 0.0135,
            ),
            repairs=REPAIRS,
            lanes=_lanes(market, counts, usd, warmup=warmup, named=name == "switchyard", why=why) if lanes else None,
            description="64 cards of one kind, five coins, AI work by the hour and a power price with spikes.",
        )
        for name, (counts, usd, moves) in played.items()
    ]


def _lanes(market: World, counts: Floats, usd: Floats, *, warmup: int, named: bool, why: str) -> result.Lanes:
    hourly = market.reward * 3600 / STEP_SECONDS
    prices = {"power pjm, $/kWh": market.power_usd_per_kwh}
    prices |= {f"coin {coin}, $/GPU-h after power": hourly[:, 1 + index] for index, coin in enumerate(COINS)}
    prices["AI rental, $/GPU-h after power"] = hourly[:, AI]
    return result.Lanes(
        prices=prices,
        gpus_in_mode={label: counts[:, index] for index, label in enumerate(MODES)},
        gpus_wanted={"AI rental": market.wanted.astype(np.float64)},
        profit_usd=np.cumsum(usd),
        dearest=_dearest(counts, warmup=warmup, why=why) if named else (),
    )


def _dearest(counts: Floats, *, warmup: int, why: str) -> tuple[result.Decision, ...]:
    rest = counts[:, 1:].argmax(axis=1)
    turned = [int(index) for index in np.flatnonzero(np.diff(rest)) + 1 if index >= warmup]
    return tuple(
        result.Decision(
            at=START + datetime.timedelta(seconds=index * STEP_SECONDS),
            what=f"{int(counts[index, 1 + rest[index]])} GPUs from {MODES[1 + rest[index - 1]]} "
            f"to {MODES[1 + rest[index]]}",
            usd=31.7 / rank,
            why=why,
        )
        for rank, index in enumerate(turned[:: max(1, len(turned) // 10)][:10], start=1)
    )


def grid(
    *, scenarios: Sequence[str], scales: Sequence[float], seeds: Sequence[int] = (0,), days: int = 10
) -> list[result.Result]:
    """Several plays, without lanes."""
    return [
        each
        for scenario in scenarios
        for scale in scales
        for seed in seeds
        for each in results(
            days=days, warmup_days=2, scenario=scenario, cost_scale=scale, seed=seed + len(scenario), lanes=False
        )
    ]
