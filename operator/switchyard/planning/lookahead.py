"""The look-ahead of one line: its problem put together, solved when that is due, and asked what to do.

States are fewer than modes: mining (whichever coin), work, idle, off. The coins are chosen by a work function among
themselves, which does not run after the noise of their prices.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.planning import demand, positions, ranks, remembered
from switchyard.valuation import values

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESOLVE_HOURS: Final = 3.0
"""A look-ahead serves this long; its steps have told by then what was expected."""
_RANKS: Final = 20
"""Ranks that are looked ahead for; between them the worth is interpolated."""
_SURPRISE: Final = 0.15
"""Or until a price is this share away from what was expected."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What the look-ahead has to know of a line now.

    Attributes:
        columns: [S] the mode (column) that stands for each state.
        state_of: [K] the state of each mode; -1 for none.
        revenue: [S] $/h after fees of each state; of work: where it is wanted.
        watts: [S] of a rig in each state; of work: where it is wanted.
        rest_watts: of a rig at work that is not wanted.
        moves_usd: [S, S].
        eviction_usd: for leaving work that is wanted.
        work: index of the state of work, -1 without one.
        tally: of demand; None without work.
        wanted_rigs: now.
        ranks: [B] see `remembered.Line`.
        outlook: of the price of power.
        pue: of the Site.
    """

    columns: tuple[int, ...]
    state_of: Ints
    revenue: Floats
    watts: Floats
    rest_watts: float
    moves_usd: Floats
    eviction_usd: float
    work: int
    tally: demand.Tally | None
    wanted_rigs: float
    ranks: Ints
    outlook: values.Outlook
    pue: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ahead:
    """The present seen with the look-ahead.

    Attributes:
        usd: [S, B] what being in each state is worth from now on, $, for each row.
        view: what it was worked out from.
        wanted: [B] share of each row's rig that is wanted.
        columns: [S, B] where to be, for each state and row.
    """

    usd: Floats
    view: View
    wanted: Floats
    columns: Ints

    def targets(self, *, rows: Ints, current: Ints) -> Ints:
        """Columns to be in, for askers in columns `current` of rows `rows`; where no state is known, they stay."""
        states = self.view.state_of[current]
        # One coin stands for all: who mines another goes over to it without leaving the state.
        found: Ints = np.where(states < 0, current, self.columns[states, rows])
        return current if (found == current).all() else found

    def priced(self, *, rows: Ints, states: Ints) -> Floats:
        """[n, S]: what each state is worth to askers in `states`, less the way there."""
        return _priced(self.usd, self.view, self.wanted)[states, rows]


def _priced(usd: Floats, view: View, wanted: Floats) -> Floats:
    """[S, B, S]: what each state is worth to each row's rig in each state, less the way there."""
    price: Floats = usd.T[None] - view.moves_usd[:, None, :]
    if view.work >= 0 and view.eviction_usd:
        lost = wanted * view.eviction_usd
        price[view.work] -= lost[:, None]
        price[view.work, :, view.work] += lost
    here = np.arange(len(usd))
    # Who is as well off where it stands stays.
    price[here, :, here] += 1e-9
    return price


def look(view: View, table: remembered.Table | None, *, now: datetime.datetime) -> tuple[Ahead, remembered.Table]:
    """The present seen with the look-ahead, which is solved anew where that is due."""
    price = view.outlook.now_usd_per_kwh
    key = view.columns, view.work, view.ranks.tobytes(), None if view.tally is None else view.tally.base_seconds
    if table is None or table.key != key or _due(table, view, price=price, now=now):
        table = _solved(view, now=now, key=key)
    passed = (now - table.at).total_seconds() / 3600
    step = min(int(np.searchsorted(table.ends_hours, passed, side="right")), len(table.ends_hours) - 1)
    hours = table.ends_hours[step] - (table.ends_hours[step - 1] if step else 0.0)
    rate = price * view.pue / 1000
    earns = view.revenue - view.watts * rate
    wanted = positions.share(view.wanted_rigs, view.ranks)
    level = 0
    if view.tally is not None:
        level = demand.bin_of(view.wanted_rigs, rigs=view.tally.rigs)
    usd = _between(table.worth_usd[step, :, :, level], view.ranks) + (earns * hours)[:, None]
    if view.work >= 0:
        resting = -view.rest_watts * rate
        usd[view.work] += (resting - earns[view.work]) * hours * (1 - wanted)
    columns = np.array(view.columns)[_priced(usd, view, wanted).argmax(axis=2)]
    return Ahead(usd=usd, view=view, wanted=wanted, columns=columns), table


def _some(all_ranks: Ints) -> Ints:
    """Places of the ranks that are looked ahead for: the first, the last, and evenly between."""
    count = len(all_ranks)
    return np.unique(np.round(np.linspace(0, count - 1, min(count, _RANKS))).astype(np.int64))


def _between(worth: Floats, all_ranks: Ints) -> Floats:
    """[S, B] from [S, R]."""
    between = _shares(all_ranks.tobytes())
    if between is None:
        return worth
    left, right, share = between
    found: Floats = worth[:, left] * (1 - share) + worth[:, right] * share
    return found


@functools.lru_cache(maxsize=64)
def _shares(all_ranks: bytes) -> tuple[Ints, Ints, Floats] | None:
    """Left and right of each rank among those that are looked ahead for, and the share of the right one."""
    found = np.frombuffer(all_ranks, dtype=np.int64)
    some = _some(found)
    if len(some) == len(found):
        return None
    right = np.clip(np.searchsorted(some, np.arange(len(found))), 1, len(some) - 1)
    left = right - 1
    share = (found - found[some[left]]) / (found[some[right]] - found[some[left]])
    return left, right, share


def _due(table: remembered.Table, view: View, *, price: float, now: datetime.datetime) -> bool:
    passed = (now - table.at).total_seconds() / 3600
    if passed >= RESOLVE_HOURS:
        return True
    expected = (table.outlook.at(passed), *table.revenue)
    return any(
        abs(seen - told) > _SURPRISE * max(abs(told), 1e-6)
        for seen, told in zip((price, *view.revenue.tolist()), expected, strict=True)
    )


def _solved(view: View, *, now: datetime.datetime, key: object) -> remembered.Table:
    base = demand.BASE_SECONDS if view.tally is None else view.tally.base_seconds
    hours, starts, counts = _grid(base)
    rates = view.outlook.means(np.append(starts, starts[-1] + hours[-1])) * view.pue / 1000
    rates[0] = view.outlook.now_usd_per_kwh * view.pue / 1000
    earns = view.revenue[None, :] - rates[:, None] * view.watts[None, :]
    kernels: list[Floats] = []
    some = view.ranks[_some(view.ranks)]
    wanted = np.zeros((1, len(some)))
    if view.work >= 0 and view.tally is not None:
        kernels = ranks.powers(demand.kernel(view.tally), counts)
        level = np.arange(demand.levels(view.tally.rigs)) * view.tally.rigs_per_level
        wanted = np.clip(level[:, None] - (some[None, :] - 1), 0.0, 1.0)
    worth = ranks.solve(
        ranks.Problem(
            hours=hours,
            earns=earns,
            unwanted=-rates * view.rest_watts,
            moves_usd=view.moves_usd,
            eviction_usd=view.eviction_usd,
            work=view.work,
            wanted=wanted,
            kernels=kernels,
        )
    )
    return remembered.Table(
        at=now,
        ends_hours=np.cumsum(hours),
        worth_usd=worth,
        outlook=view.outlook,
        revenue=tuple(view.revenue.tolist()),
        key=key,
    )


@functools.lru_cache(maxsize=8)
def _grid(base_seconds: float) -> tuple[Floats, Floats, tuple[int, ...]]:
    """Lengths and starts of the steps in hours, and their lengths in base steps."""
    counts: list[int] = []
    hours = 0.0
    for length in ranks.STEPS:
        # Where looks are further apart than the first steps are long, those steps come together.
        if hours <= 0 or (length * demand.BASE_SECONDS) >= base_seconds or not counts:
            counts.append(max(1, round(length * demand.BASE_SECONDS / base_seconds)))
        hours += length * demand.BASE_SECONDS / 3600
    lengths = np.array(counts) * base_seconds / 3600
    return lengths, np.concatenate([[0.0], np.cumsum(lengths)[:-1]]), tuple(counts)
