"""When gangs at work make room, and which of them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.planning import bidprice


def stakes(**over: float | None) -> bidprice.Stakes:
    figures = {
        "usd_per_hour": 2.0,
        "scarcity_usd_per_hour": 1.5,
        "hours": 10.0,
        "start_usd": 0.4,
        "stop_usd": 0.3,
        "patience_hours": 0.0,
        **over,
    }
    return bidprice.Stakes(
        **{name: None if figure is None else np.array([figure]) for name, figure in figures.items()}  # type: ignore[arg-type]
    )


def loss(found: bidprice.Stakes, hours: float) -> float:
    return float(found.losses_usd(hours)[0])


def test_a_gang_that_goes_loses_what_it_pays_beyond_the_price() -> None:
    assert loss(stakes(), 4.0) == pytest.approx(0.5 * 10 + 0.3)


def test_a_gang_that_can_wait_comes_back_if_that_loses_less() -> None:
    patient = stakes(patience_hours=5.0)
    assert loss(patient, 1.0) == pytest.approx(2.0 * 1 + 0.4 + 0.3)
    assert loss(patient, 4.0) == pytest.approx(0.5 * 10 + 0.3)
    assert loss(patient, 6.0) == loss(stakes(), 6.0)


def test_a_gang_below_the_price_loses_only_its_stop() -> None:
    assert loss(stakes(usd_per_hour=1.0), 4.0) == pytest.approx(0.3)


def test_without_prices_a_gang_is_taken_to_come_back() -> None:
    unpriced = dataclasses.replace(stakes(), scarcity_usd_per_hour=None)
    assert loss(unpriced, 4.0) == pytest.approx(2.0 * 4 + 0.4 + 0.3)
    assert loss(unpriced, 40.0) == pytest.approx(2.0 * 10 + 0.4 + 0.3)


def victims(losses: list[float], places: list[int], needed: int) -> list[int]:
    return bidprice.least_victims(np.array(losses), np.array(places), needed=needed)


def test_the_cheapest_per_replica_make_room() -> None:
    assert victims([1.0, 2.0, 1.5], [1, 4, 1], 1) == [0]
    assert sorted(victims([1.0, 3.0, 1.5], [1, 4, 1], 2)) == [0, 2]
    assert victims([1.0, 2.0, 1.5], [1, 4, 1], 4) == [1]
    assert victims([1.0, 2.0], [1, 1], 3) == []
    assert victims([np.inf, 2.0], [4, 1], 2) == []


def test_who_turns_out_superfluous_stays() -> None:
    # Per replica the small ones come first; with the large one all that is needed is there without them.
    assert victims([0.1, 0.2, 3.0], [1, 1, 8], 8) == [2]


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 8)), min_size=1, max_size=6),
    st.integers(1, 12),
)
def test_room_is_made_whole_and_nobody_is_stopped_for_nothing(gangs: list[tuple[float, int]], needed: int) -> None:
    losses, places = [usd for usd, _ in gangs], [count for _, count in gangs]
    found = victims(losses, places, needed)
    if sum(places) < needed:
        assert not found
        return
    held = sum(places[number] for number in found)
    assert held >= needed
    assert all(held - places[number] < needed for number in found)
    best = min(
        sum(losses[number] for number in some)
        for size in range(1, len(gangs) + 1)
        for some in itertools.combinations(range(len(gangs)), size)
        if sum(places[number] for number in some) >= needed
    )
    # Greedy by loss per replica pays for what is not needed of the last gang, never more than as much again.
    assert sum(losses[number] for number in found) <= 2 * best + 1e-9
