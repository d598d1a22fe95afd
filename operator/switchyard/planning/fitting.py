"""What is remembered of a line, fitted to the columns and rows it has today."""

from __future__ import annotations

import dataclasses
from collections.abc import Set as AbstractSet

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model
from switchyard.planning import experts, remembered, standing

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """A line today.

    Attributes:
        modes: [K] columns.
        work: column of AI work, -1 without.
        ranks: [B] rows.
        rewards: [B, K] $/h.
        revenue: [K] $/h before power; 0 for AI work and rest.
        moves_usd: [K, K].
        metric: [K, K] the same without detours that pay.
        occupied: modes that rigs are in.
    """

    modes: tuple[model.Mode, ...]
    work: int
    ranks: Ints
    rewards: Floats
    revenue: Floats
    moves_usd: Floats
    metric: Floats
    occupied: AbstractSet[model.Mode]


def fresh(before: remembered.Line | None, modes: tuple[model.Mode, ...]) -> bool:
    """Whether nothing is known of a line: it is new, or there was no coin to mine at a known price so far."""
    if before is None or not any(mode in modes for mode in before.modes):
        return True
    mining = model.ModeKind.MINING
    return any(mode.kind is mining for mode in modes) and all(mode.kind is not mining for mode in before.modes)


def recalled(before: remembered.Line | None, frame: Frame) -> remembered.Line:
    """The memory in today's columns and rows."""
    if before is None or fresh(before, frame.modes):
        return _begun(frame)
    rows = len(frame.ranks)
    if before.modes == frame.modes and len(before.ranks) == rows and (before.ranks == frame.ranks).all():
        return before
    return _fitted(before, frame)


def _begun(frame: Frame) -> remembered.Line:
    size, rows = len(frame.modes), len(frame.ranks)
    seat = _seat(frame, frame.occupied)
    start = np.full(rows, seat, dtype=np.int64)
    coin = seat if frame.modes[seat].kind is model.ModeKind.MINING else _best_coin(frame)
    return remembered.Line(
        modes=frame.modes,
        ranks=frame.ranks,
        work_usd=np.tile(_seeds(frame, seat), (rows, 1)),
        coins_usd=frame.metric[coin].copy() if coin >= 0 else np.zeros(size),
        coin=coin,
        revenue=frame.revenue,
        shadows=dict.fromkeys(_names(frame.modes), start),
        scores=dict.fromkeys(_names(frame.modes), 0.0),
        leader=experts.FIRST,
    )


def _fitted(before: remembered.Line, frame: Frame) -> remembered.Line:
    modes, ranks = frame.modes, frame.ranks
    old = {mode: place for place, mode in enumerate(before.modes)}
    kept = [(place, old[mode]) for place, mode in enumerate(modes) if mode in old]
    new, was = np.array([pair[0] for pair in kept]), np.array([pair[1] for pair in kept])
    rows = np.abs(ranks[:, None] / ranks[-1] - before.ranks[None, :] / before.ranks[-1]).argmin(axis=1)
    # What is new stands where the known modes would get to it from.
    work = (before.work_usd[rows][:, was][:, :, None] + frame.metric[new][None]).min(axis=1)
    coins = (before.coins_usd[was][:, None] + frame.metric[new]).min(axis=0)
    work[:, new] = np.minimum(work[:, new], before.work_usd[rows][:, was])
    revenue = frame.revenue.copy()
    revenue[new] = before.revenue[was]
    place_of = np.full(len(before.modes), -1, dtype=np.int64)
    place_of[was] = new
    rest = _seat(frame, frozenset())
    shadows = {}
    for name in _names(modes):
        told = before.shadows.get(name)
        if told is None:
            shadows[name] = np.full(len(ranks), rest, dtype=np.int64)
        else:
            moved = place_of[told[rows]]
            shadows[name] = np.where(moved < 0, rest, moved)
    coin = int(place_of[before.coin]) if before.coin >= 0 else -1
    return dataclasses.replace(
        before,
        modes=modes,
        ranks=ranks,
        work_usd=work - work.min(axis=1, keepdims=True),
        coins_usd=coins - coins.min(),
        coin=coin if coin >= 0 else _best_coin(frame),
        revenue=revenue,
        shadows=shadows,
        scores={name: before.scores.get(name, min(before.scores.values())) for name in _names(modes)},
        leader=before.leader if before.leader in shadows else experts.FIRST,
        rewards=None,
        table=None,
        costs=before.costs if before.modes == modes else None,
    )


def _names(modes: tuple[model.Mode, ...]) -> list[str]:
    return [experts.WORK_FUNCTION, experts.LOOK_AHEAD, *(f"{experts.STAY}{mode}" for mode in modes)]


def _best_coin(frame: Frame) -> int:
    coins = [place for place, mode in enumerate(frame.modes) if mode.kind is model.ModeKind.MINING]
    return max(coins, key=lambda place: frame.rewards[0, place], default=-1)


def _seat(frame: Frame, occupied: AbstractSet[model.Mode]) -> int:
    """Where a line begins: what pays for its start within the hour, from rest; else rest, or wherever it is."""
    modes, rewards = frame.modes, frame.rewards[0]
    rest = next((place for place, mode in enumerate(modes) if mode == model.IDLE), None)
    local = [place for place in range(len(modes)) if place != frame.work]
    here = [place for place in local if modes[place] in occupied and place != rest]
    if here:
        return max(here, key=lambda place: rewards[place])
    if rest is None:
        return max(local, key=lambda place: rewards[place])
    return max(
        local,
        key=lambda place: (rewards[place] * standing.PAYBACK_HOURS - frame.moves_usd[rest, place], place == rest),
    )


def _seeds(frame: Frame, seat: int) -> Floats:
    """The work function of a line that is seen for the first time: elsewhere costs the way there."""
    here = [place for place, mode in enumerate(frame.modes) if mode in frame.occupied and mode != model.IDLE]
    found: Floats = frame.metric[[seat, *here]].min(axis=0)
    return found
