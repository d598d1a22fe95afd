"""Rigs in lines: who stands where, what each place earns, and where the leading expert wants it to be.

A line is all rigs of one class under one pin. AI work wants its first rigs; who is at work stands in front, then who is
called most cheaply. What holds for a rank holds for whoever stands there, so a line is worked out for a few ranks that
stand for all, however many rigs there are.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model
from switchyard.planning import (
    crews,
    demand,
    experts,
    fitting,
    lookahead,
    moving,
    positions,
    remembered,
    standing,
    work_function,
)
from switchyard.planning import request as planning
from switchyard.valuation import values

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SMOOTHING_HOURS: Final = 4.0
"""Half-life of what the look-ahead takes a coin to earn: shorter swings are noise to it."""

STATES: Final = (model.ModeKind.MINING, model.ModeKind.AI, model.ModeKind.IDLE, model.ModeKind.OFF)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """AI work on a line: how many of its rigs are wanted, and what one earns then.

    `mode` is a demand's, or `standing.OVER` where gangs are sent here: those come by themselves.
    """

    mode: model.Mode
    rigs: float
    revenue_usd_per_hour: float
    eviction_usd: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """A line after the tick.

    Attributes:
        modes: columns.
        rewards: [B, K] $/h.
        moves_usd: [K, K].
        views: rigs that stand in the line, by name.
        rows: [n] their rows.
        columns: [n] their columns.
        leader: whose word counts.
        advanced: the work functions.
        ahead: the look-ahead, None without a price of power to look ahead on.
        memory: to be remembered.
        targets: the leader's word.
        wanted: AI work on the line.
        seat: column for rigs at rest of a line that is seen for the first time; None for others.
    """

    modes: tuple[model.Mode, ...]
    rewards: Floats
    moves_usd: Floats
    metric: Floats
    views: Sequence[planning.RigView]
    rows: Ints
    columns: Ints
    leader: str
    advanced: work_function.Advance
    ahead: lookahead.Ahead | None
    memory: remembered.Line
    targets: experts.Targets
    wanted: Wanted | None = None
    seat: int | None = None

    @property
    def lead_usd(self) -> float | None:
        """How far the leader's score is ahead of the best other one; None where there is no other."""
        scores = self.memory.scores
        others = [score for name, score in scores.items() if name != self.leader]
        return scores[self.leader] - max(others) if others and self.leader in scores else None

    def missing(self, row: int, column: int, chosen: model.Mode | None = None) -> Mapping[model.Mode, float]:
        """By mode, the $ that it still lacks, for a rig of this row in this column, until it is wanted.

        Until the leader wants it more than `chosen`; None: more than staying. Of a leader that always stays, what the
        work function lacks.
        """
        to = column if chosen is None or chosen not in self.modes else self.modes.index(chosen)
        if self.leader == experts.LOOK_AHEAD and self.ahead is not None:
            states = self.ahead.view.state_of
            if states[column] >= 0 and states[to] >= 0:
                price = self.ahead.priced(rows=np.array([row]), states=states[[column]])[0]
                coins = self._regret(self.memory.coins_usd, column, to)
                return {
                    mode: coins[place]
                    if states[place] == states[to]
                    else max(0.0, float(price[states[to]] - price[states[place]]))
                    for place, mode in enumerate(self.modes)
                    if states[place] >= 0
                }
        return dict(zip(self.modes, self._regret(self.advanced.work[row], column, to), strict=True))

    def _regret(self, work_usd: Floats, column: int, to: int) -> list[float]:
        """[K] $ that a work function has still to build up until it sends a rig of this column there, not to `to`."""
        price = work_usd + self.metric[:, column]
        found: list[float] = np.maximum(price - price[to], 0.0).tolist()
        return found


def worked_out(
    desk: standing.Desk,
    *,
    value: values.ClassValue,
    pin: model.Pin,
    crew: crews.Crew,
    wanted: Wanted | None,
    busy: int,
    before: remembered.Line | None,
    names: frozenset[str],
) -> Told | None:
    """One tick of a line; None where there is no mode to be in.

    Args:
        desk: the request.
        value: of the line's class.
        pin: of its rigs.
        crew: rigs that the plan may move singly.
        wanted: AI work on it.
        busy: rigs of the class that gangs hold: they stand in front.
        before: what is remembered.
        names: of the experts that are played.
    """
    local = standing.within_pin(pin, standing.choices(value))
    modes = (*local, wanted.mode) if wanted is not None else tuple(local)
    if not local or not crew.kinds:
        return None
    costs = moving.costs(desk, value, modes, before.costs if before is not None else None)
    rate = wanted.revenue_usd_per_hour if wanted is not None else None
    moves = costs.usd if costs.metric is not None else moving.dollars(costs, value, modes, rate)
    metric = costs.metric if costs.metric is not None else work_function.metric(moves)
    occupied = {kind.view.mode for kind in crew.kinds}
    line = _Line(desk, value, modes, moves, metric, costs, wanted)
    ranks = positions.ranks(len(crew) + busy) if wanted is not None else np.ones(1, dtype=np.int64)
    rewards = line.rewards(ranks, occupied)
    memory = fitting.recalled(before, line.frame(ranks, rewards, occupied))
    work = len(local) if wanted is not None else -1
    placed = positions.placed(crew, ranks, busy=busy, modes=modes, moves_usd=moves, work=work)
    told = line.tick(memory, ranks, rewards, placed, names)
    if fitting.fresh(before, modes):
        return dataclasses.replace(told, seat=int(memory.shadows[experts.WORK_FUNCTION][0]))
    return told


class _Line:
    def __init__(
        self,
        desk: standing.Desk,
        value: values.ClassValue,
        modes: tuple[model.Mode, ...],
        moves: Floats,
        metric: Floats,
        costs: remembered.Costs,
        wanted: Wanted | None,
    ) -> None:
        self._desk = desk
        self._value = value
        self._modes = modes
        self._moves = moves
        self._metric = metric
        self._costs = costs
        self._wanted = wanted
        self._work = len(modes) - 1 if wanted is not None else -1
        self._revenue = self._earned()

    def rewards(self, ranks: Ints, occupied: set[model.Mode]) -> Floats:
        """[B, K]; a mode that no rig is in counts with a haircut for what its quotes cannot be trusted."""
        value, wanted = self._value, self._wanted
        local = self._modes[: len(self._modes) - (wanted is not None)]
        nets = [
            value.worths[mode].net_usd_per_hour
            if mode in occupied
            else standing.haircut(value.worths[mode], standing.resting_net(value))
            for mode in local
        ]
        found = np.empty((len(ranks), len(self._modes)))
        found[:, : len(nets)] = nets
        if wanted is not None:
            share = positions.share(wanted.rigs, ranks)
            resting = standing.resting_net(value)
            working = wanted.revenue_usd_per_hour - value.ai_watts * value.usd_per_watt_hour
            found[:, -1] = resting + share * (working - resting)
        return found

    def frame(self, ranks: Ints, rewards: Floats, occupied: set[model.Mode]) -> fitting.Frame:
        """The line today, for its memory to be fitted to."""
        return fitting.Frame(
            modes=self._modes,
            work=self._work,
            ranks=ranks,
            rewards=rewards,
            revenue=self._revenue,
            moves_usd=self._moves,
            metric=self._metric,
            occupied=occupied,
        )

    def _earned(self) -> Floats:
        found = np.zeros(len(self._modes))
        for place, mode in enumerate(self._modes):
            worth = self._value.worths.get(mode)
            if worth is not None and place != self._work:
                found[place] = worth.revenue_usd_per_hour - worth.fees_usd_per_hour
        return found

    def tick(
        self, memory: remembered.Line, ranks: Ints, rewards: Floats, placed: positions.Placed, names: frozenset[str]
    ) -> Told:
        """Experts advance, shadows are played, and one leads."""
        desk, hours = self._desk, self._desk.hours
        advanced = work_function.advance(work=memory.work_usd, rewards=rewards, hours=hours, d=self._metric)
        coin, coins = self._coin(memory, rewards, hours)
        fresh = self._revenue
        revenue = fresh + (memory.revenue - fresh) * 0.5 ** (hours / _SMOOTHING_HOURS)
        tally = memory.tally
        if self._wanted is not None:
            tally = demand.look(tally, wanted_rigs=self._wanted.rigs, rigs=int(ranks[-1]), now=desk.now)
        playing: dict[str, experts.Targets | int] = {}
        if experts.WORK_FUNCTION in names:
            playing[experts.WORK_FUNCTION] = lambda rows, here: work_function.targets(
                advanced, rewards=rewards, d=self._metric, rows=rows, current=here
            )
        ahead, table = None, memory.table
        if experts.LOOK_AHEAD in names and self._value.outlook is not None:
            view = self._view(ranks, revenue, coin, tally)
            ahead, table = lookahead.look(view, memory.table, now=desk.now)
            told = ahead
            playing[experts.LOOK_AHEAD] = lambda rows, here: told.targets(rows=rows, current=here)
        if experts.STAY in names:
            playing |= _stays(self._modes)
        # What was earned since the last tick is what was seen then: by today's prices an expert would be praised for
        # moves that it could not know to be good.
        earned = memory.rewards
        stage = experts.Stage(
            rewards=earned if earned is not None and earned.shape == rewards.shape else rewards,
            moves_usd=self._moves,
            lost_usd=self._lost(ranks),
            weights=positions.weights(ranks),
            hours=hours,
        )
        shadows, scores = experts.played(stage, experts=playing, shadows=memory.shadows, scores=memory.scores)
        lead = experts.leader(stage, before=memory.leader, shadows=shadows, scores=scores)
        return Told(
            modes=self._modes,
            rewards=rewards,
            moves_usd=self._moves,
            metric=self._metric,
            views=placed.views,
            rows=placed.rows,
            columns=placed.columns,
            leader=lead,
            advanced=advanced,
            ahead=ahead,
            targets=lambda rows, here: experts.asked(playing[lead], rows=rows, current=here),
            wanted=self._wanted,
            memory=dataclasses.replace(
                memory,
                work_usd=advanced.work,
                coins_usd=coins,
                coin=coin,
                revenue=revenue,
                shadows={**memory.shadows, **shadows},
                scores=scores,
                leader=lead,
                work_usd_per_hour=self._wanted.revenue_usd_per_hour if self._wanted is not None else None,
                tally=tally,
                rewards=rewards,
                table=table,
                costs=self._costs,
            ),
        )

    def _coin(self, memory: remembered.Line, rewards: Floats, hours: float) -> tuple[int, Floats]:
        """The coin to mine by the work function among coins, and that work function."""
        among = _layout(self._modes).coins
        if memory.coin < 0 or among.start == among.stop:
            return -1, memory.coins_usd
        d, earned = self._metric[among, among], rewards[:1, among]
        found = work_function.advance(work=memory.coins_usd[None, among], rewards=earned, hours=hours, d=d)
        here = experts.still(memory.coin - among.start, 1)
        place = work_function.targets(found, rewards=earned, d=d, rows=experts.every(1), current=here)
        coins = memory.coins_usd.copy()
        coins[among] = found.work[0]
        return int(place[0]) + among.start, coins

    def _lost(self, ranks: Ints) -> Floats:
        found = np.zeros((len(ranks), len(self._modes)))
        if self._wanted is not None:
            found[:, -1] = positions.share(self._wanted.rigs, ranks) * self._wanted.eviction_usd
        return found

    def _view(self, ranks: Ints, revenue: Floats, coin: int, tally: demand.Tally | None) -> lookahead.View:
        value, wanted = self._value, self._wanted
        layout = _layout(self._modes)
        columns = [coin if place is None else place for place in layout.columns]
        state_of = layout.state_of
        earned = revenue[columns]
        watts = np.array(
            [value.worths[self._modes[place]].watts if place != self._work else value.ai_watts for place in columns]
        )
        work = layout.columns.index(self._work) if wanted is not None else -1
        if wanted is not None:
            earned[work] = wanted.revenue_usd_per_hour
        return lookahead.View(
            columns=tuple(columns),
            state_of=state_of,
            revenue=earned,
            watts=watts,
            rest_watts=value.rest_watts,
            moves_usd=self._moves[np.array(columns)[:, None], columns],
            eviction_usd=wanted.eviction_usd if wanted is not None else 0.0,
            work=work,
            tally=tally,
            wanted_rigs=wanted.rigs if wanted is not None else 0.0,
            ranks=ranks,
            outlook=value.outlook or values.Outlook(0.0),
            pue=value.pue,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layout:
    """Where the kinds of modes are.

    Attributes:
        coins: columns of coins: modes are in order of their kinds.
        columns: for each state of the look-ahead its first column; None for mining, which is whichever coin.
        state_of: [K] the state of each mode.
    """

    coins: slice
    columns: tuple[int | None, ...]
    state_of: Ints


@functools.lru_cache(maxsize=256)
def _layout(modes: tuple[model.Mode, ...]) -> _Layout:
    columns: list[int | None] = []
    state_of = np.full(len(modes), -1, dtype=np.int64)
    coins = slice(0, 0)
    for kind in STATES:
        places = [place for place, mode in enumerate(modes) if mode.kind is kind]
        if places:
            state_of[places] = len(columns)
            columns.append(None if kind is model.ModeKind.MINING else places[0])
            if kind is model.ModeKind.MINING:
                coins = slice(places[0], places[-1] + 1)
    return _Layout(coins=coins, columns=tuple(columns), state_of=state_of)


@functools.lru_cache(maxsize=256)
def _stays(modes: tuple[model.Mode, ...]) -> Mapping[str, int]:
    """The experts that stay, by name."""
    return {f"{experts.STAY}{mode}": place for place, mode in enumerate(modes)}
