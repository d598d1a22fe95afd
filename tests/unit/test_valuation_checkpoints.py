"""The best checkpoint interval."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.valuation import checkpoints
from switchyard.valuation import learned as learning

TIMES = st.floats(min_value=1.0, max_value=1e7)


def waste(period: float, mu: float, cost: float) -> float:
    """Daly's exact share of time that is lost with exponential stops: mu (e^((P + C) / mu) - 1) per period."""
    return mu * math.expm1((period + cost) / mu) / period


def test_the_worked_case() -> None:
    found = checkpoints.best_interval(between_stops_seconds=6 * 3600, checkpoint_seconds=60)
    # sqrt(2 * 21600 * 60) = 1610 s; x (1 + 0.0373 / 3 + 0.0014 / 9) - 60
    assert found == pytest.approx(1570.2, abs=0.1)


@given(mu=TIMES, share=st.floats(min_value=1e-4, max_value=0.1))
def test_no_other_interval_wastes_much_less(mu: float, share: float) -> None:
    cost = mu * share
    found = checkpoints.best_interval(between_stops_seconds=mu, checkpoint_seconds=cost)
    least = min(waste(found * factor, mu, cost) for factor in (0.25, 0.5, 0.8, 0.9, 1.1, 1.25, 2.0, 4.0))
    assert waste(found, mu, cost) <= least


@given(mu=TIMES, cost=TIMES)
def test_an_interval_is_always_above_nothing(mu: float, cost: float) -> None:
    assert 0 < checkpoints.best_interval(between_stops_seconds=mu, checkpoint_seconds=cost) < math.inf


def test_beyond_twice_the_time_between_stops_it_is_that_time() -> None:
    assert checkpoints.best_interval(between_stops_seconds=50, checkpoint_seconds=100) == 50


@pytest.mark.parametrize(("mu", "cost"), [(0.0, 60.0), (60.0, 0.0), (math.inf, 60.0), (math.nan, 60.0), (60.0, -1.0)])
def test_times_that_are_none_are_refused(mu: float, cost: float) -> None:
    with pytest.raises(ValueError, match="above 0 and finite"):
        checkpoints.best_interval(between_stops_seconds=mu, checkpoint_seconds=cost)


def test_a_class_that_crashes_saves_more_often_and_one_that_saves_slowly_less() -> None:
    usual = checkpoints.interval_seconds(learning.NOTHING, "Batch")
    rough = learning.Learned(stops=learning.Stops().observed("Batch", ran_seconds=36000.0, stops=10))
    slow = learning.Phases()
    for _ in range(20):
        slow = slow.observed(checkpoints.key("Batch"), 240.0, checkpoints.CHECKPOINT_SECONDS)
    assert checkpoints.interval_seconds(rough, "Batch") < 0.7 * usual
    assert checkpoints.interval_seconds(learning.Learned(phases=slow), "Batch") > 1.3 * usual
    assert checkpoints.interval_seconds(rough, "HPC") == usual
    assert checkpoints.unsaved_seconds(learning.NOTHING, "Batch") == usual / 2
