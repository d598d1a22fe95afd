"""Outliers: what is held back, for how long, and what passes."""

from __future__ import annotations

import csv
import datetime
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.market import outliers, quotes

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
POWER = outliers.FLOORS[quotes.Quantity.ELECTRICITY_PRICE]


def settings(**over: float) -> outliers.Settings:
    given = {"sigma": 3.0, "window_seconds": 4 * 3600.0, "persist_seconds": 600.0, **over}
    return outliers.Settings(floor=POWER, **given)


def minutes(count: float) -> datetime.datetime:
    return NOW + datetime.timedelta(minutes=count)


def calm(value: float = 0.05, *, until: int = 240, every: int = 1, **over: float) -> outliers.Guard:
    guard = outliers.Guard(settings(**over))
    for minute in range(0, until, every):
        assert guard.judge(value, now=minutes(minute)) is None
    return guard


def test_a_spike_is_held_until_it_has_lasted() -> None:
    guard = calm()
    held = guard.judge(0.5, now=minutes(240))
    assert held is not None
    assert (held.since, held.until) == (minutes(240), minutes(250))
    assert held.mean == pytest.approx(0.05)
    assert held.sigma == pytest.approx(0.0125)
    assert guard.judge(0.52, now=minutes(249)) is not None
    assert guard.judge(0.51, now=minutes(250)) is None
    # From then on it is the price, and so is what it returns to.
    assert guard.judge(0.51, now=minutes(251)) is None
    assert guard.judge(0.05, now=minutes(252)) is None


def test_a_spike_that_passes_leaves_nothing_behind() -> None:
    guard = calm()
    assert guard.judge(0.5, now=minutes(240)) is not None
    assert guard.judge(0.05, now=minutes(241)) is None
    # Another one waits its own time.
    assert guard.judge(0.5, now=minutes(251)) is not None
    assert guard.judge(0.5, now=minutes(260)) is not None
    assert guard.judge(0.5, now=minutes(261)) is None


def test_a_feed_that_leaps_up_and_down_is_never_believed() -> None:
    guard = calm()
    for minute in range(240, 400):
        assert guard.judge(9.0 if minute % 2 else -9.0, now=minutes(minute)) is not None


def test_one_reading_alone_is_never_enough() -> None:
    guard = calm(until=240, every=20)
    assert guard.judge(0.5, now=minutes(240)) is not None
    assert guard.judge(0.5, now=minutes(260)) is None


def test_a_calm_feed_may_move_by_its_floor() -> None:
    guard = calm(0.10)
    assert guard.judge(0.17, now=minutes(240)) is None
    assert calm(0.10).judge(0.18, now=minutes(240)) is not None
    assert calm(0.001).judge(0.03, now=minutes(240)) is None


def test_a_lively_feed_may_move_by_what_it_is_used_to() -> None:
    guard = outliers.Guard(settings())
    for minute in range(240):
        assert guard.judge(0.02 if minute % 2 else 0.10, now=minutes(minute)) is None
    assert guard.judge(0.17, now=minutes(240)) is None
    assert guard.judge(0.40, now=minutes(241)) is not None


def test_a_price_that_climbs_by_steps_is_followed() -> None:
    guard = calm()
    for step in range(20):
        assert guard.judge(0.05 + 0.03 * step, now=minutes(240 + step)) is None


def test_what_was_expected_of_the_hour_is_no_outlier() -> None:
    assert calm().judge(0.5, now=minutes(240), expected=[0.49]) is None
    assert calm().judge(0.5, now=minutes(240), expected=[0.30]) is not None


def test_with_little_seen_all_is_believed() -> None:
    guard = outliers.Guard(settings())
    for minute, value in enumerate([0.05, 5.0, 0.0, 0.05, 0.05, 0.05, 3.0]):
        assert guard.judge(value, now=minutes(minute)) is None
    # An hour of a four hours' window is enough.
    assert calm(until=61).judge(0.5, now=minutes(61)) is not None
    assert calm(until=59).judge(0.5, now=minutes(59)) is None


def test_after_a_start_the_last_value_of_before_is_what_counts() -> None:
    guard = outliers.Guard(settings())
    guard.recall(0.05, minutes(-20))
    assert guard.judge(0.5, now=NOW) is not None
    assert guard.judge(0.06, now=minutes(1)) is None
    assert guard.judge(0.5, now=minutes(2)) is not None
    assert guard.judge(0.5, now=minutes(12)) is None


def test_what_is_recalled_from_long_ago_counts_for_nothing() -> None:
    guard = outliers.Guard(settings())
    guard.recall(0.05, minutes(-300))
    assert guard.judge(0.5, now=NOW) is None


def test_a_clock_that_was_set_back_forgets_instead_of_blocking() -> None:
    guard = calm()
    assert guard.judge(0.5, now=minutes(-600)) is None


def test_without_persistence_outliers_pass_at_once() -> None:
    assert calm(persist_seconds=0).judge(0.5, now=minutes(240)) is None


@given(
    values=st.lists(st.floats(min_value=-1, max_value=20, allow_nan=False), min_size=1, max_size=120),
    last=st.floats(min_value=-1, max_value=20, allow_nan=False),
)
def test_whatever_came_before_a_level_that_lasts_is_believed(values: list[float], last: float) -> None:
    guard = outliers.Guard(settings())
    for minute, value in enumerate(values):
        guard.judge(value, now=minutes(2 * minute))
    began = 2 * len(values)
    judged = [guard.judge(last, now=minutes(began + minute)) for minute in range(12)]
    # Ten minutes and the reading after them; and once believed it stays so.
    assert judged[-1] is None
    first = next(index for index, one in enumerate(judged) if one is None)
    assert all(one is None for one in judged[first:])


@given(st.lists(st.floats(min_value=-1, max_value=20, allow_nan=False), min_size=1, max_size=60))
def test_what_is_held_is_told_sanely(values: list[float]) -> None:
    guard = calm(until=61)
    for minute, value in enumerate(values):
        held = guard.judge(value, now=minutes(61 + minute))
        if held is not None:
            assert held.sigma >= POWER.least
            assert held.since <= minutes(61 + minute) < held.until
            assert abs(value - held.mean) > 3 * held.sigma


TRACES = Path(os.environ.get("SWITCHYARD_TRACES", Path(__file__).parents[3] / "shared" / "traces"))


@pytest.mark.parametrize("market", ["PJM", "NP", "BE", "FR", "DE"])
def test_real_prices_are_hardly_ever_held_and_never_for_long(market: str) -> None:
    trace = TRACES / "elec_epf_hourly_with_forecasts.csv"
    if not trace.exists():
        pytest.skip("the trace of hourly power prices is not here: set SWITCHYARD_TRACES to its folder")
    with trace.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["market"] == market]
    # The half year with the steepest hours: those are what must come through.
    prices = [float(row["price"]) / 1000 for row in rows]
    steepest = max(range(1, len(prices)), key=lambda index: abs(prices[index] - prices[index - 1]))
    start = max(0, min(steepest - 24 * 90, len(prices) - 24 * 180))
    prices = prices[start : start + 24 * 180]
    guard = outliers.Guard(settings())
    held_hours = 0
    for hour, price in enumerate(prices):
        believed = [guard.judge(price, now=minutes(60 * hour + minute)) is None for minute in range(0, 60, 5)]
        held_hours += not all(believed)
        # However wild: from the tenth minute of the hour on it counts.
        assert all(believed[2:])
    assert held_hours / len(prices) < 0.005
