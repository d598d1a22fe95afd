"""When a gang at work makes room, and which rigs a gang takes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.planning import bidprice

OLD = bidprice.Stake(usd_per_hour=2.0, scarcity_usd_per_hour=1.5, hours=10.0, start_usd=0.4, stop_usd=0.3)
NEW = bidprice.Stake(usd_per_hour=4.0, scarcity_usd_per_hour=1.5, hours=4.0, start_usd=0.4)


def test_a_gang_that_goes_loses_what_it_pays_beyond_the_price() -> None:
    assert bidprice.loss_usd(OLD, hours=4.0) == pytest.approx(0.5 * 10 + 0.3)


def test_a_gang_that_can_wait_comes_back_if_that_loses_less() -> None:
    patient = dataclasses.replace(OLD, patience_hours=5.0)
    assert bidprice.loss_usd(patient, hours=1.0) == pytest.approx(2.0 * 1 + 0.4 + 0.3)
    assert bidprice.loss_usd(patient, hours=4.0) == pytest.approx(0.5 * 10 + 0.3)
    assert bidprice.loss_usd(patient, hours=6.0) == bidprice.loss_usd(OLD, hours=6.0)


def test_a_gang_below_the_price_loses_only_its_stop() -> None:
    poor = dataclasses.replace(OLD, usd_per_hour=1.0)
    assert bidprice.loss_usd(poor, hours=4.0) == pytest.approx(0.3)


def test_a_better_bid_displaces_and_the_margin_counts() -> None:
    assert bidprice.gain_usd(NEW) == pytest.approx(9.6)
    assert bidprice.displaces(NEW, (OLD,))
    assert not bidprice.displaces(NEW, (OLD,), margin=2.0)
    assert not bidprice.displaces(NEW, (OLD, OLD))


def test_a_gang_that_does_not_pay_displaces_nobody() -> None:
    assert not bidprice.displaces(dataclasses.replace(NEW, usd_per_hour=1.0), ())


def test_small_gangs_leave_whole_rigs_whole() -> None:
    assert bidprice.best_fit({"a": 8, "b": 3, "c": 5}, gpus=2, replicas=1) == {"b": 1}
    assert bidprice.best_fit({"a": 8, "b": 3, "c": 5}, gpus=2, replicas=4) == {"a": 1, "b": 1, "c": 2}
    assert bidprice.best_fit({"a": 8, "b": 3}, gpus=8, replicas=2) is None


@given(
    st.dictionaries(st.text("abcdef", min_size=1), st.integers(0, 8), max_size=6), st.integers(1, 8), st.integers(1, 6)
)
def test_a_gang_fits_whole_or_not_at_all(free: dict[str, int], gpus: int, replicas: int) -> None:
    found = bidprice.best_fit(free, gpus=gpus, replicas=replicas)
    if found is None:
        assert sum(count // gpus for count in free.values()) < replicas
    else:
        assert sum(found.values()) == replicas
        assert all(count * gpus <= free[rig] for rig, count in found.items())
