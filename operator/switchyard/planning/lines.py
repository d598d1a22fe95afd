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
from switchyard.planning import crews, demand, experts, lookahead, remembered, standing, work_function
from switchyard.planning import request as planning
from switchyard.valuation import values

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RANKS: Final = 128
"""Ranks that are worked out for a line with AI work, at most."""

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
    costs = _costs(desk, value, modes, before.costs if before is not None else None)
    moves = costs.usd if costs.metric is not None else _dollars(costs, value, modes, wanted)
    metric = costs.metric if costs.metric is not None else work_function.metric(moves)
    occupied = {kind.view.mode for kind in crew.kinds}
    line = _Line(desk, value, modes, moves, metric, costs, wanted)
    ranks = _ranks(len(crew) + busy) if wanted is not None else np.ones(1, dtype=np.int64)
    rewards = line.rewards(ranks, occupied)
    memory = line.recalled(before, ranks, rewards, occupied)
    told = line.tick(memory, ranks, rewards, _placed(crew, ranks, busy, modes, moves, wanted), names)
    if line.fresh(before):
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
            share = _share(wanted, ranks)
            resting = standing.resting_net(value)
            working = wanted.revenue_usd_per_hour - value.ai_watts * value.usd_per_watt_hour
            found[:, -1] = resting + share * (working - resting)
        return found

    def fresh(self, before: remembered.Line | None) -> bool:
        """Whether nothing is known of the line: it is new, or there was no coin to mine at a known price so far."""
        if before is None or not any(mode in self._modes for mode in before.modes):
            return True
        mining = model.ModeKind.MINING
        return any(mode.kind is mining for mode in self._modes) and all(
            mode.kind is not mining for mode in before.modes
        )

    def recalled(
        self, before: remembered.Line | None, ranks: Ints, rewards: Floats, occupied: set[model.Mode]
    ) -> remembered.Line:
        """The memory in today's columns and rows."""
        size, rows = len(self._modes), len(ranks)
        if before is None or self.fresh(before):
            seat = self._seat(rewards[0], occupied)
            start = np.full(rows, seat, dtype=np.int64)
            coins = [place for place, mode in enumerate(self._modes) if mode.kind is model.ModeKind.MINING]
            coin = seat if seat in coins else max(coins, key=lambda place: rewards[0, place], default=-1)
            return remembered.Line(
                modes=self._modes,
                ranks=ranks,
                work_usd=np.tile(self._seeds(seat, occupied), (rows, 1)),
                coins_usd=self._metric[coin].copy() if coin >= 0 else np.zeros(size),
                coin=coin,
                revenue=self._revenue(),
                shadows=dict.fromkeys(self._names(), start),
                scores=dict.fromkeys(self._names(), 0.0),
                leader=experts.FIRST,
            )
        if before.modes == self._modes and len(before.ranks) == rows and (before.ranks == ranks).all():
            return before
        return self._fitted(before, ranks, rewards)

    def _fitted(self, before: remembered.Line, ranks: Ints, rewards: Floats) -> remembered.Line:
        old = {mode: place for place, mode in enumerate(before.modes)}
        kept = [(place, old[mode]) for place, mode in enumerate(self._modes) if mode in old]
        new, was = np.array([pair[0] for pair in kept]), np.array([pair[1] for pair in kept])
        rows = np.abs(ranks[:, None] / ranks[-1] - before.ranks[None, :] / before.ranks[-1]).argmin(axis=1)
        # What is new stands where the known modes would get to it from.
        work = (before.work_usd[rows][:, was][:, :, None] + self._metric[new][None]).min(axis=1)
        coins = (before.coins_usd[was][:, None] + self._metric[new]).min(axis=0)
        work[:, new] = np.minimum(work[:, new], before.work_usd[rows][:, was])
        revenue = self._revenue()
        revenue[new] = before.revenue[was]
        place_of = np.full(len(before.modes), -1, dtype=np.int64)
        place_of[was] = new
        rest = self._seat(rewards[0], set())
        shadows = {}
        for name in self._names():
            told = before.shadows.get(name)
            if told is None:
                shadows[name] = np.full(len(ranks), rest, dtype=np.int64)
            else:
                moved = place_of[told[rows]]
                shadows[name] = np.where(moved < 0, rest, moved)
        coin = int(place_of[before.coin]) if before.coin >= 0 else -1
        if coin < 0:
            mined = [place for place, mode in enumerate(self._modes) if mode.kind is model.ModeKind.MINING]
            coin = max(mined, key=lambda place: rewards[0, place], default=-1)
        same = before.modes == self._modes
        return dataclasses.replace(
            before,
            modes=self._modes,
            ranks=ranks,
            work_usd=work - work.min(axis=1, keepdims=True),
            coins_usd=coins - coins.min(),
            coin=coin,
            revenue=revenue,
            shadows=shadows,
            scores={name: before.scores.get(name, min(before.scores.values())) for name in self._names()},
            leader=before.leader if before.leader in shadows else experts.FIRST,
            rewards=None,
            table=None,
            costs=before.costs if same else None,
        )

    def _names(self) -> list[str]:
        return [experts.WORK_FUNCTION, experts.LOOK_AHEAD, *(f"{experts.STAY}{mode}" for mode in self._modes)]

    def _seat(self, rewards: Floats, occupied: set[model.Mode]) -> int:
        """Where a line begins: what pays for its start within the hour, from rest; else rest, or wherever it is."""
        rest = next((place for place, mode in enumerate(self._modes) if mode == model.IDLE), None)
        local = [place for place in range(len(self._modes)) if place != self._work]
        here = [place for place in local if self._modes[place] in occupied and place != rest]
        if here:
            return max(here, key=lambda place: rewards[place])
        if rest is None:
            return max(local, key=lambda place: rewards[place])
        return max(
            local, key=lambda place: (rewards[place] * standing.PAYBACK_HOURS - self._moves[rest, place], place == rest)
        )

    def _seeds(self, seat: int, occupied: set[model.Mode]) -> Floats:
        """The work function of a line that is seen for the first time: elsewhere costs the way there."""
        here = [place for place, mode in enumerate(self._modes) if mode in occupied and mode != model.IDLE]
        found: Floats = self._metric[[seat, *here]].min(axis=0)
        return found

    def _revenue(self) -> Floats:
        found = np.zeros(len(self._modes))
        for place, mode in enumerate(self._modes):
            worth = self._value.worths.get(mode)
            if worth is not None and place != self._work:
                found[place] = worth.revenue_usd_per_hour - worth.fees_usd_per_hour
        return found

    def tick(
        self, memory: remembered.Line, ranks: Ints, rewards: Floats, placed: _Placed, names: frozenset[str]
    ) -> Told:
        """Experts advance, shadows are played, and one leads."""
        desk, hours = self._desk, self._desk.hours
        advanced = work_function.advance(work=memory.work_usd, rewards=rewards, hours=hours, d=self._metric)
        coin, coins = self._coin(memory, rewards, hours)
        fresh = self._revenue()
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
            weights=_weights(ranks),
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
            found[:, -1] = _share(self._wanted, ranks) * self._wanted.eviction_usd
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
            outlook=value.outlook or values.Outlook(),
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


def _share(wanted: Wanted, ranks: Ints) -> Floats:
    """[B] how much of each rank's rig is wanted, 0 to 1."""
    found: Floats = np.minimum(np.maximum(wanted.rigs - (ranks - 1), 0.0), 1.0)
    return found


@functools.lru_cache(maxsize=64)
def _ranks(rigs: int) -> Ints:
    """Ranks that stand for all."""
    return np.unique(np.round(np.linspace(1, rigs, min(rigs, RANKS))).astype(np.int64))


def _weights(ranks: Ints) -> Floats:
    """How many rigs each rank stands for: those that are nearest."""
    return _weighed(ranks.tobytes())


@functools.lru_cache(maxsize=64)
def _weighed(told: bytes) -> Floats:
    ranks = np.frombuffer(told, dtype=np.int64)
    if len(ranks) == 1:
        return np.ones(1)
    edges = np.concatenate([[0.5], (ranks[1:] + ranks[:-1]) / 2, [ranks[-1] + 0.5]])
    return np.diff(edges)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Placed:
    """Rigs with their rows and columns, [n] each."""

    views: Sequence[planning.RigView]
    rows: Ints
    columns: Ints


def _placed(
    crew: crews.Crew,
    ranks: Ints,
    busy: int,
    modes: tuple[model.Mode, ...],
    moves: Floats,
    wanted: Wanted | None,
) -> _Placed:
    """Each rig's place: who is at work stands in front, then who is called most cheaply, then by name."""
    order = {mode: place for place, mode in enumerate(modes)}
    columns = np.empty(len(crew), dtype=np.int64)
    for kind in crew.kinds:
        columns[kind.places] = order[kind.view.mode]
    rows = np.zeros(len(crew), dtype=np.int64)
    if len(ranks) > 1 and wanted is not None:
        way = moves[:, order[wanted.mode]].copy()
        way[order[wanted.mode]] = -1.0
        line = np.argsort(way[columns], kind="stable")
        edges = (ranks[1:] + ranks[:-1]) / 2
        rows[line] = np.searchsorted(edges, np.arange(busy + 1, busy + len(line) + 1), side="left")
    return _Placed(views=crew.views, rows=rows, columns=columns)


def _costs(
    desk: standing.Desk,
    value: values.ClassValue,
    modes: tuple[model.Mode, ...],
    known: remembered.Costs | None,
) -> remembered.Costs:
    if known is not None and known.source is desk.request.costs and known.modes == modes:
        return known
    size = len(modes)
    seconds, usd = np.zeros((size, size)), np.zeros((size, size))
    for x, origin in enumerate(modes):
        for y, target in enumerate(modes):
            cost = desk.cost(value.rig_class.key, origin, target)
            seconds[x, y] = 0.0 if cost is None else cost.seconds
            usd[x, y] = standing.NEVER_USD if cost is None else cost.usd
    timed = bool(seconds.any())
    return remembered.Costs(
        source=desk.request.costs,
        modes=modes,
        seconds=seconds,
        usd=usd,
        metric=None if timed else work_function.metric(usd),
    )


def _dollars(
    costs: remembered.Costs, value: values.ClassValue, modes: tuple[model.Mode, ...], wanted: Wanted | None
) -> Floats:
    rates = np.array([standing.rate(value, mode) for mode in modes])
    if wanted is not None:
        rates[-1] = max(wanted.revenue_usd_per_hour, value.ai_watts * abs(value.usd_per_watt_hour))
    found: Floats = costs.seconds / 3600 * np.maximum(rates[:, None], rates[None, :]) + costs.usd
    return found
