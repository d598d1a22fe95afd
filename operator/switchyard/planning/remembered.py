"""What the plan remembers of a line of rigs: rigs of one class under one pin, which see the same prices.

Arrays are never changed in place: what is remembered is made anew at every tick.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model
from switchyard.planning import demand
from switchyard.valuation import values

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """A look-ahead that has been solved; see `switchyard.planning.lookahead`.

    Attributes:
        at: when.
        ends_hours: [T], ends of its steps, from `at`.
        worth_usd: [T, S, R, L] from the end of each step on.
        outlook: prices of power that it was solved for, from `at` on; another is due when they turn out far off.
        revenue: [S] $/h that it was solved for; likewise.
        key: modes, ranks and states that it is about.
    """

    at: datetime.datetime
    ends_hours: Floats
    worth_usd: Floats
    outlook: values.Outlook
    revenue: tuple[float, ...]
    key: object


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Costs:
    """Costs of moves between the modes of a line, as long as they come from the same source.

    Attributes:
        source: the mapping that they were read from.
        modes: of the line.
        seconds: [K, K] without earnings.
        usd: [K, K] everything else.
        metric: [K, K] in $, where no seconds have to be valued; None where they have.
    """

    source: Mapping[Any, Any]
    modes: tuple[model.Mode, ...]
    seconds: Floats
    usd: Floats
    metric: Floats | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """A line's memory. K modes, B rows: ranks that stand for all.

    Attributes:
        modes: what the columns are.
        ranks: [B], 1 for the rig that is wanted first.
        work_usd: [B, K], the work function.
        coins_usd: [K], the work function of coins among themselves.
        coin: column of the coin that rigs mine if they mine; -1 without one.
        revenue: [K], $/h after fees, smoothed.
        shadows: by expert, [B]: the column in which it would stand.
        scores: by expert, $ of profit on the whole line, fading.
        leader: whose word is followed.
        work_usd_per_hour: what a rig at work has brought in lately, $/h; None before there was work.
        tally: of the level of demand; None while there was none.
        rewards: [B, K] $/h as they were seen at the tick; not kept over a restart.
        table: the look-ahead; likewise.
        costs: likewise.
    """

    modes: tuple[model.Mode, ...]
    ranks: Ints
    work_usd: Floats
    coins_usd: Floats
    coin: int
    revenue: Floats
    shadows: Mapping[str, Ints]
    scores: Mapping[str, float]
    leader: str
    work_usd_per_hour: float | None = None
    tally: demand.Tally | None = None
    rewards: Floats | None = None
    table: Table | None = None
    costs: Costs | None = None


def dump(line: Line) -> dict[str, Any]:
    """As JSON."""
    return {
        "modes": [str(mode) for mode in line.modes],
        "ranks": line.ranks.tolist(),
        "workUsd": np.round(line.work_usd, 6).tolist(),
        "coinsUsd": np.round(line.coins_usd, 6).tolist(),
        "coin": line.coin,
        "revenue": np.round(line.revenue, 6).tolist(),
        "shadows": {name: shadow.tolist() for name, shadow in sorted(line.shadows.items())},
        "scores": {name: round(score, 6) for name, score in sorted(line.scores.items())},
        "leader": line.leader,
        "workUsdPerHour": line.work_usd_per_hour,
        "demand": None if line.tally is None else demand.dump(line.tally),
    }


def load(found: Mapping[str, Any]) -> Line:
    """What `dump` wrote. Raises KeyError, TypeError, ValueError or IndexError for anything else."""
    modes = tuple(model.Mode.parse(text) for text in found["modes"])
    ranks = np.array(found["ranks"], dtype=np.int64)
    line = Line(
        modes=modes,
        ranks=ranks,
        work_usd=_array(found["workUsd"], (len(ranks), len(modes))),
        coins_usd=_array(found["coinsUsd"], (len(modes),)),
        coin=int(found["coin"]),
        revenue=_array(found["revenue"], (len(modes),)),
        shadows={str(name): _places(shadow, len(ranks), len(modes)) for name, shadow in found["shadows"].items()},
        scores={str(name): float(score) for name, score in found["scores"].items()},
        leader=str(found["leader"]),
        work_usd_per_hour=None if found["workUsdPerHour"] is None else float(found["workUsdPerHour"]),
        tally=None if found["demand"] is None else demand.load(found["demand"]),
    )
    if not -1 <= line.coin < len(modes) or len(ranks) == 0 or line.leader not in line.scores:
        raise ValueError("a line that does not fit together")
    return line


def _array(given: Sequence[Any], shape: tuple[int, ...]) -> Floats:
    found = np.array(given, dtype=np.float64)
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(f"{shape} finite numbers expected")
    return found


def _places(given: Sequence[Any], rows: int, modes: int) -> Ints:
    found = np.array(given, dtype=np.int64)
    if found.shape != (rows,) or found.min() < 0 or found.max() >= modes:
        raise ValueError(f"{rows} columns below {modes} expected")
    return found
