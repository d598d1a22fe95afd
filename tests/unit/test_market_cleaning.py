from __future__ import annotations

import datetime
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.market import cleaning, quotes, units

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
POWER = cleaning.Settings(
    feed="ercot", unit=units.UNITS["USD/MWh"], fresh_seconds=600, dead_seconds=3600, minimum=-250, maximum=5000
)
COIN = cleaning.Settings(feed="kas", unit=units.UNITS["USD/(GH/s)/day"], fresh_seconds=600, dead_seconds=3600)
AGES = st.floats(min_value=-1e5, max_value=1e5)
SPANS = st.tuples(st.floats(min_value=0, max_value=1e4), st.floats(min_value=0, max_value=1e4))


def ago(**span: float) -> datetime.datetime:
    return NOW - datetime.timedelta(**span)


def clean(
    value: object,
    *,
    settings: cleaning.Settings = POWER,
    as_of: datetime.datetime | None = NOW,
    after: datetime.datetime | None = None,
) -> quotes.Quote | cleaning.Trouble:
    reading = cleaning.Reading(value=value, as_of=as_of, origin="prices.csv:7")
    return cleaning.clean(reading, settings=settings, now=NOW, after=after)


def good(value: object, **settings: Any) -> quotes.Quote:
    quote = clean(value, **settings)
    assert isinstance(quote, quotes.Quote)
    return quote


def refused(value: object, **settings: Any) -> cleaning.Trouble:
    trouble = clean(value, **settings)
    assert isinstance(trouble, cleaning.Trouble)
    return trouble


def test_a_good_value_becomes_a_quote_in_the_canonical_unit() -> None:
    assert good(42.5) == quotes.Quote(
        feed="ercot",
        quantity=quotes.Quantity.ELECTRICITY_PRICE,
        value=0.0425,
        as_of=NOW,
        trust=1.0,
        unit="USD/kWh",
    )


def test_a_source_that_tells_no_time_speaks_of_now() -> None:
    assert good(1, as_of=None).as_of == NOW


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "nan is not"),
        (math.inf, "inf is not"),
        (-math.inf, "-inf is not"),
        ("42.5", "the text '42.5' is not"),
        (True, "true is not"),
        (None, "null is not"),
        ([1], "a list is not"),
        ({"a": 1}, "a JSON object is not"),
        (10**400, "too many digits is not"),
    ],
)
def test_what_is_no_number_is_refused(value: object, shown: str) -> None:
    trouble = refused(value)
    assert trouble.reason == "NotANumber"
    assert trouble.message.startswith("prices.csv:7: ")
    assert shown in trouble.message


def test_what_is_out_of_bounds_is_refused_with_value_bounds_and_unit() -> None:
    trouble = refused(90000)
    assert trouble.reason == "OutOfBounds"
    assert trouble.message == "prices.csv:7: 90000 USD/MWh is above 5000 USD/MWh; the bounds are -250 to 5000 USD/MWh"
    assert "-251 USD/MWh is below -250 USD/MWh" in refused(-251).message
    assert good(5000).value == 5
    assert good(-250).value == -0.25


def test_electricity_may_cost_less_than_nothing_but_mining_cannot_earn_it() -> None:
    assert good(-20).value == -0.02
    assert good(0, settings=COIN).value == 0
    trouble = refused(-0.1, settings=COIN)
    assert trouble.reason == "NegativeRevenue"
    assert "-0.1 USD/(GH/s)/day is negative" in trouble.message


def test_a_value_too_large_to_convert_is_no_number() -> None:
    assert (
        refused(
            1e308,
            settings=cleaning.Settings(feed="x", unit=units.UNITS["USD/(kH/s)/hour"], fresh_seconds=1, dead_seconds=2),
        ).reason
        == "NotANumber"
    )


def test_the_future_is_refused_beyond_a_tolerance() -> None:
    assert good(1, as_of=ago(seconds=-60)).trust == 1
    trouble = refused(1, as_of=ago(seconds=-61))
    assert trouble.reason == "FromTheFuture"
    assert "2026-03-01T12:01:01Z" in trouble.message


def test_an_older_value_than_the_one_at_hand_is_ignored() -> None:
    assert refused(1, as_of=ago(seconds=2), after=ago(seconds=1)).reason == "OutOfOrder"
    assert good(1, as_of=ago(seconds=1), after=ago(seconds=1)).value == 0.001


def test_a_value_from_before_our_clock_was_set_back_does_not_block_the_feed() -> None:
    assert good(1, after=ago(hours=-5)).trust == 1


def test_trouble_of_the_source_passes_through() -> None:
    reading = cleaning.Reading.failed("HttpStatus", "http://x answered 500")
    assert cleaning.clean(reading, settings=POWER, now=NOW) == reading.trouble


def test_an_old_value_is_a_quote_without_trust() -> None:
    quote = good(1, as_of=ago(days=365))
    assert quote.trust == 0
    assert quote.reason == "Stale"
    assert "2025-03-01T12:00:00Z" in quote.message


def test_trust_by_example() -> None:
    minutes = {0: 1.0, 10: 1.0, 20: 0.944, 35: 0.828, 50: 0.608, 59: 0.175, 60: 0.0, 1000: 0.0}
    for age, expected in minutes.items():
        assert cleaning.trust(age * 60, fresh_seconds=600, dead_seconds=3600) == pytest.approx(expected, abs=5e-4)


@given(ages=st.tuples(AGES, AGES), spans=SPANS)
def test_trust_never_rises_with_age_and_stays_between_0_and_1(
    ages: tuple[float, float], spans: tuple[float, float]
) -> None:
    fresh, dead = sorted(spans)
    young, old = (cleaning.trust(age, fresh_seconds=fresh, dead_seconds=dead) for age in sorted(ages))
    assert 0 <= old <= young <= 1


@given(age=AGES, spans=SPANS)
def test_trust_is_whole_while_fresh_and_gone_when_dead(age: float, spans: tuple[float, float]) -> None:
    fresh, dead = sorted(spans)
    trust = cleaning.trust(age, fresh_seconds=fresh, dead_seconds=dead)
    if age >= dead:
        assert trust == 0
    elif age <= fresh:
        assert trust == 1
    else:
        assert 0 <= trust <= 1


@given(age=st.floats(min_value=0, max_value=3700))
def test_trust_has_no_jump(age: float) -> None:
    # The steepest second is the last one before death: 49/3000 of ln(50).
    one, next_ = (cleaning.trust(at, fresh_seconds=600, dead_seconds=3600) for at in (age, age + 1))
    assert one - next_ < 0.005


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2)
)


@given(
    value=ANYTHING,
    age=st.integers(min_value=-10_000, max_value=10_000),
    last=st.none() | st.integers(min_value=-10_000, max_value=10_000),
    settings=st.sampled_from([POWER, COIN]),
)
def test_whatever_comes_in_a_quote_that_leaves_is_sane(
    value: object, age: int, last: int | None, settings: cleaning.Settings
) -> None:
    after = None if last is None else ago(seconds=last)
    result = clean(value, settings=settings, as_of=ago(seconds=age), after=after)
    if isinstance(result, cleaning.Trouble):
        assert result.reason.isalnum()
        assert result.message
        return
    assert math.isfinite(result.value)
    assert type(value) in (int, float)
    assert age >= -60
    assert (result.trust == 1.0) == (result.reason == "")
    assert (result.reason == "") == (result.message == "")
    if settings is COIN:
        assert result.value >= 0
    else:
        assert -0.25 <= result.value <= 5


def test_a_quote_ages_and_says_what_stands_in_the_way() -> None:
    quote = good(50)
    trouble = cleaning.Trouble(reason="HttpStatus", message="it answered 500")
    fresh = cleaning.aged(quote, settings=POWER, now=NOW + datetime.timedelta(minutes=9), trouble=trouble)
    assert (fresh.trust, fresh.reason) == (1.0, "")
    late = cleaning.aged(quote, settings=POWER, now=NOW + datetime.timedelta(minutes=35), trouble=trouble)
    assert late.value == 0.05
    assert late.trust == pytest.approx(0.828, abs=1e-3)
    assert (late.reason, late.message) == ("HttpStatus", "it answered 500")
    dead = cleaning.aged(quote, settings=POWER, now=NOW + datetime.timedelta(minutes=60), trouble=trouble)
    assert dead.trust == 0


def test_a_text_about_age_stays_the_same_as_time_passes() -> None:
    quote = good(50)
    texts = {
        cleaning.aged(quote, settings=POWER, now=NOW + datetime.timedelta(minutes=minutes)).message
        for minutes in range(11, 100)
    }
    assert len(texts) == 1


def test_a_value_of_a_time_yet_to_come_is_not_trusted_after_the_clock_was_set_back() -> None:
    quote = cleaning.aged(good(50), settings=POWER, now=ago(hours=2))
    assert (quote.trust, quote.reason) == (0.0, "FromTheFuture")
