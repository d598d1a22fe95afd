"""The work function against exact optima."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.planning import work_function

Rows = Sequence[Sequence[float]]


class Ticker:
    """One rig on one work function."""

    def __init__(self, d: work_function.Floats, current: int) -> None:
        self.d, self.current, self.shifted = d, current, 0.0
        self.work: list[float] = d[current].tolist()

    def tick(self, rewards: Sequence[float], hours: float = 1.0) -> None:
        now = np.array([rewards], dtype=np.float64)
        found = work_function.advance(work=np.array([self.work]), rewards=now, hours=hours, d=self.d)
        here = np.array([self.current])
        (target,) = work_function.targets(found, rewards=now, d=self.d, rows=np.zeros(1, np.int64), current=here)
        self.work, self.current = found.work[0].tolist(), int(target)
        self.shifted += float(found.shift[0])


amounts = st.floats(0, 1, allow_subnormal=False)


@st.composite
def instances(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]], int]:
    size = draw(st.integers(2, 5))
    row = st.lists(amounts, min_size=size, max_size=size)
    costs = draw(st.lists(row, min_size=size, max_size=size))
    ticks = draw(st.lists(row, min_size=1, max_size=40))
    return costs, ticks, draw(st.integers(0, size - 1))


def best_in_hindsight(ticks: Rows, d: work_function.Floats, start: int) -> float:
    """Least cost of any schedule that knows everything: moves first, then pays for the tick."""
    paid = list(d[start])
    for rewards in ticks:
        paid = [
            min(before + d[x][s] for x, before in enumerate(paid)) + max(rewards) - rewards[s] for s in range(len(paid))
        ]
    return float(min(paid))


def followed(ticks: Rows, d: work_function.Floats, start: int) -> tuple[float, list[int]]:
    """What the rule pays: for every tick in the mode that it chose on seeing it, as the theory has it."""
    rig, paid, visited = Ticker(d, start), 0.0, []
    for rewards in ticks:
        before = rig.current
        rig.tick(rewards)
        paid += d[before][rig.current] + max(rewards) - rewards[rig.current]
        visited.append(rig.current)
    return paid, visited


@given(instances())
@settings(max_examples=300, deadline=None)
def test_never_more_than_2k_minus_1_times_the_best_in_hindsight(
    instance: tuple[list[list[float]], list[list[float]], int],
) -> None:
    costs, ticks, start = instance
    d = work_function.metric(np.array(costs))
    size = len(d)
    paid, _ = followed(ticks, d, start)
    # The rule's additive constant: K times the diameter covers where the two stand at the end.
    slack = size * d.max() + 1e-6
    assert paid <= (2 * size - 1) * best_in_hindsight(ticks, d, start) + slack


@given(instances())
@settings(max_examples=200, deadline=None)
def test_the_work_function_is_what_the_cheapest_schedule_to_each_mode_has_paid(
    instance: tuple[list[list[float]], list[list[float]], int],
) -> None:
    costs, ticks, start = instance
    d = work_function.metric(np.array(costs))
    rig = Ticker(d, start)
    exact = list(d[start])
    for rewards in ticks:
        rig.tick(rewards)
        after = [cost + max(rewards) - reward for cost, reward in zip(exact, rewards, strict=True)]
        exact = [min(cost + d[x][s] for x, cost in enumerate(after)) for s in range(len(d))]
        assert min(rig.work) == 0.0
        assert all(abs(w + rig.shifted - e) < 1e-9 for w, e in zip(rig.work, exact, strict=True))


@given(instances())
@settings(max_examples=200, deadline=None)
def test_a_metric_is_symmetric_and_knows_no_shorter_detour(
    instance: tuple[list[list[float]], list[list[float]], int],
) -> None:
    d = work_function.metric(np.array(instance[0]))
    modes = range(len(d))
    for x, y, z in itertools.product(modes, repeat=3):
        assert d[x][x] == 0
        assert abs(d[x][y] - d[y][x]) < 1e-12
        assert d[x][z] <= d[x][y] + d[y][z] + 1e-12


@given(instances())
@settings(max_examples=200, deadline=None)
def test_constant_rewards_settle_on_the_best_and_stay(
    instance: tuple[list[list[float]], list[list[float]], int],
) -> None:
    costs, ticks, start = instance
    d = work_function.metric(np.array(costs))
    _, visited = followed([ticks[0]] * 600, d, start)
    assert len(set(visited[-50:])) == 1
    size = len(d)
    behind = max(ticks[0]) - ticks[0][visited[-1]]
    # 550 ticks of being behind would have paid for any move, twice.
    assert behind * 550 <= 4 * size * d.max() + 1e-9


@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=30))
def test_free_moves_follow_the_best_at_once(ticks: list[list[int]]) -> None:
    _, visited = followed(ticks, np.zeros((4, 4)), 0)
    assert all(rewards[mode] == max(rewards) for rewards, mode in zip(ticks, visited, strict=True))


def test_an_advantage_pays_for_the_way_there_and_back_before_it_is_taken() -> None:
    rig, ticks = Ticker(np.array([[0.0, 0.10], [0.10, 0.0]]), 0), 0
    while rig.current == 0:
        rig.tick([1.0, 1.6], hours=1 / 60)
        ticks += 1
    assert 20 <= ticks <= 21  # 0.01 $ forgone each minute, against 0.20 $


def test_an_hour_lost_in_an_empty_tick_costs_nothing() -> None:
    rig = Ticker(np.array([[0.0, 0.1], [0.1, 0.0]]), 0)
    rig.tick([0.0, 9.0], hours=0.0)
    assert rig.work == [0.0, 0.1]
    assert rig.current == 0
