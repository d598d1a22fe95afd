"""A GPUPool's status: what its rigs do, what that earns, and what is held back."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Collection, Mapping
from typing import Any, Final

from switchyard.fleet import model
from switchyard.handover import record as records
from switchyard.planning import budgets, request
from switchyard.status import conditions, figures
from switchyard.valuation import values

KNOWN: Final = ("Ready", "PlanCurrent", "PlannerReady", "CoinsKnown", "RigsMatched")

PLAN_STALE_AFTER: Final = datetime.timedelta(minutes=5)
"""A plan older than this (farm time) is not current: five planning ticks were missed."""

MOST_EXPERTS: Final = 64
"""Experts shown, those that most rigs follow."""

_FIELDS: Final = {
    model.ModeKind.MINING: "mining",
    model.ModeKind.AI: "ai",
    model.ModeKind.IDLE: "idle",
    model.ModeKind.OFF: "off",
}


def status(
    pool: model.Pool,
    *,
    now: datetime.datetime,
    rigs: Collection[str],
    records: Mapping[str, records.Record],
    valuation: values.Valuation | None,
    decisions: Mapping[str, request.Decision],
    planned_at: datetime.datetime | None,
    coins: Collection[str],
    contested: Mapping[str, tuple[str, ...]],
    problem: str = "",
    solver: tuple[str, str] = ("", ""),
    plan_stale_after: datetime.timedelta = PLAN_STALE_AFTER,
) -> dict[str, Any]:
    """A GPUPool's whole status.

    Args:
        pool: the pool, with its status as it stands.
        now: farm time.
        rigs: names of the pool's rigs.
        records: hand-over records by rig, of this pool's rigs or of all; a rig without one is held by nobody.
        valuation: of the last plan.
        decisions: of the last plan, by rig.
        planned_at: when it was made, farm time.
        coins: names of the coins that exist.
        contested: by rig, the other pools that select it too (`Farm.contested`).
        problem: why the spec could not be read, "" where it could.
        solver: why the last plan did without bid prices, and that for people; empty where it did not.
        plan_stale_after: farm time after which a plan is not current.
    """
    counts = _counts(rigs, records)
    ours = [decisions[name] for name in rigs if name in decisions]
    plan = _plan(ours, planned_at=planned_at, now=now, stale_after=plan_stale_after, rigs=len(rigs))
    known = _coins(pool, coins)
    matched = _matched(pool, rigs, contested)
    built: dict[str, Any] = {
        "observedGeneration": pool.generation,
        "conditions": conditions.merge(
            pool.status,
            [_ready(problem, plan, known, matched), plan, _planner(planned_at, *solver), known, matched],
            known=KNOWN,
            generation=pool.generation,
            now=now,
        ),
        "rigs": counts,
        "netUsdPerHour": figures.usd(net_usd_per_hour(rigs, records=records, valuation=valuation)),
        "pending": sum(1 for decision in ours if decision.held_by),
    }
    followed = collections.Counter(decision.expert for decision in ours if decision.expert)
    if followed:
        ranked = sorted(followed.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_EXPERTS]
        built["followed"] = [{"expert": expert, "rigs": count} for expert, count in ranked]
    if pool.shares:
        built["shares"] = [_share(budgets.share(pool, asked, len(rigs)), rigs, records) for asked in pool.shares]
    return built


def _share(share: request.Share, rigs: Collection[str], records: Mapping[str, records.Record]) -> dict[str, Any]:
    there = sum(1 for name in rigs if name in records and records[name].mode.kind is share.kind)
    built: dict[str, Any] = {"kind": str(share.kind), "floor": share.floor, "rigs": there}
    if share.most is not None:
        built["most"] = share.most
    return built


def net_usd_per_hour(
    rigs: Collection[str], *, records: Mapping[str, records.Record], valuation: values.Valuation | None
) -> float:
    """What the rigs earn now, $/h: each the worth of the mode it is settled in. One in a hand-over earns nothing."""
    total = 0.0
    for name in rigs:
        record = records.get(name)
        if record is None or not record.settled or valuation is None:
            continue
        found = valuation.classes.get(valuation.class_of.get(name, ""))
        worth = found.worths.get(record.mode) if found is not None else None
        total += worth.net_usd_per_hour if worth is not None else 0.0
    return total


def _counts(rigs: Collection[str], records: Mapping[str, records.Record]) -> dict[str, int]:
    counts = {"total": len(rigs), **dict.fromkeys(_FIELDS.values(), 0), "switching": 0}
    for name in rigs:
        record = records.get(name)
        if record is not None:
            counts[_FIELDS[record.mode.kind] if record.settled else "switching"] += 1
    return counts


def _plan(
    decisions: list[request.Decision],
    *,
    planned_at: datetime.datetime | None,
    now: datetime.datetime,
    stale_after: datetime.timedelta,
    rigs: int,
) -> conditions.Finding:
    if planned_at is None:
        return conditions.unknown("PlanCurrent", "NotYetPlanned", "No plan has been made yet.")
    if now - planned_at > stale_after:
        return conditions.false("PlanCurrent", "PlanOverdue", f"The last plan is of {conditions.moment(planned_at)}.")
    untrusted = sum(1 for decision in decisions if decision.reason == "NoTrustedPrice")
    if untrusted:
        which = "No rig has" if untrusted == rigs else f"{untrusted} of {rigs} rigs have no"
        return conditions.false(
            "PlanCurrent", "NoTrustedPrice", f"{which} trusted price to plan with: they keep what they do."
        )
    return conditions.true("PlanCurrent", "Planned", "The plan is current.")


def _planner(planned_at: datetime.datetime | None, reason: str, message: str) -> conditions.Finding:
    if planned_at is None:
        return conditions.unknown("PlannerReady", "NotYetPlanned", "No plan has been made yet.")
    if reason:
        text = f"There are no bid prices: {message}. AIJobs are weighed by their bids alone; it is tried again."
        return conditions.false("PlannerReady", reason, text)
    return conditions.true("PlannerReady", "AsExpected", "Every part of the plan can be worked out.")


def _coins(pool: model.Pool, coins: Collection[str]) -> conditions.Finding:
    missing = sorted(set(pool.coins) - set(coins))
    if missing:
        there = figures.some(sorted(coins)) or "none at all"
        return conditions.false(
            "CoinsKnown",
            "CoinMissing",
            f"There is no Coin called {figures.some(missing)}. Known coins: {there}. The others are mined meanwhile.",
        )
    if not pool.coins:
        return conditions.true("CoinsKnown", "NoCoins", "The pool mines nothing.")
    return conditions.true("CoinsKnown", "AllKnown", f"Mines {figures.some(list(pool.coins), most=8)}.")


def _matched(pool: model.Pool, rigs: Collection[str], contested: Mapping[str, tuple[str, ...]]) -> conditions.Finding:
    # Two sides of one quarrel: rigs of ours that others select too, and rigs we select that went to another pool.
    ours = {name: contested[name] for name in rigs if name in contested}
    lost = sorted(name for name, others in contested.items() if pool.name in others and name not in ours)
    if lost:
        return conditions.false(
            "RigsMatched", "Contested", f"Other pools hold what this one selects too: {figures.some(lost)}."
        )
    if ours:
        others = sorted({other for names in ours.values() for other in names} - {pool.name})
        return conditions.false(
            "RigsMatched",
            "Contested",
            f"Held here, but also selected by {figures.some(others)}: {figures.some(sorted(ours))}.",
        )
    if not rigs:
        return conditions.false("RigsMatched", "NoRigMatches", "The rigSelector matches no Rig.")
    return conditions.true("RigsMatched", "Matched", "Every rig it selects is its own.")


def _ready(problem: str, *findings: conditions.Finding) -> conditions.Finding:
    if problem:
        return conditions.false("Ready", "InvalidSpec", problem)
    for finding in findings:
        # A contested rig or a coin too many hinders none of the others.
        if finding.status != conditions.TRUE and finding.reason not in ("Contested", "CoinMissing"):
            return conditions.Finding("Ready", finding.status, finding.reason, finding.message)
    return conditions.true("Ready", "AsPlanned", "Its rigs do what the plan says, or are on their way.")
