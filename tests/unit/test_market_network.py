"""What a coin pays, worked out from its network; and prices in other currencies."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.market import cleaning, exchange, network, quotes, units

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
UNIT = units.UNITS["USD/(MH/s)/day"]
PRICE, RATE, HARD = quotes.Quantity.COIN_PRICE, quotes.Quantity.NETWORK_HASHRATE, quotes.Quantity.NETWORK_DIFFICULTY


def quote(quantity: quotes.Quantity, value: float, unit: str, **over: object) -> quotes.Quote:
    made = quotes.Quote(feed="f", quantity=quantity, value=value, as_of=NOW, trust=1.0, unit=unit)
    return dataclasses.replace(made, **over)  # type: ignore[arg-type]


def formula(**over: object) -> network.Formula:
    made = network.Formula(
        coin_price_feed="price",
        network_feed="net",
        coins_per_hour=2.048 * 3600 / 13,
        hashes_per_coin=None,
        half_life_seconds=86400.0,
    )
    return dataclasses.replace(made, **over)  # type: ignore[arg-type]


BY_DIFFICULTY: dict[str, Any] = {"coins_per_hour": None, "hashes_per_coin": 1 / 2.048}


class Feeds:
    def __init__(self, **known: quotes.Quote) -> None:
        self.known = known

    def look(self, name: str, now: datetime.datetime) -> quotes.Quote | None:
        return self.known.get(name)


def source(feeds: Feeds, unit: units.Unit = UNIT, **over: object) -> network.Network:
    return network.Network(formula=formula(**over), unit=unit, look=feeds.look)


GOOD = {"price": quote(PRICE, 20.0, "USD/coin"), "net": quote(RATE, 200_000.0, "GH/s")}


def test_by_hash_rate() -> None:
    # 200 TH/s of all share 2.048 coins of 20 $ every 13 s: 1 MH/s has 5e-9 of 272,226 $ a day.
    reading = source(Feeds(**GOOD)).work_out(NOW)
    assert reading.trouble is None
    assert reading.value == pytest.approx(2.048 * 86400 / 13 * 20 * 1e6 / 200e12)
    assert reading.as_of == NOW


def test_difficulty_and_hash_rate_agree() -> None:
    # At 13 s a block, a network of 200 TH/s has the difficulty 200e12 x 13.
    feeds = Feeds(price=GOOD["price"], net=quote(HARD, 200e12 * 13, "difficulty"))
    by_difficulty = source(feeds, **BY_DIFFICULTY).work_out(NOW)
    assert by_difficulty.value == pytest.approx(source(Feeds(**GOOD)).work_out(NOW).value)


def test_solutions_are_counted_as_solutions() -> None:
    unit = units.UNITS["USD/(Sol/s)/day"]
    feeds = Feeds(price=GOOD["price"], net=quote(RATE, 1e6, "Sol/s"))
    assert source(feeds, unit, coins_per_hour=100.0).work_out(NOW).value == pytest.approx(24 * 100 * 20 / 1e6)
    hard = Feeds(price=GOOD["price"], net=quote(HARD, 1e6 * 36, "difficulty"))
    assert source(hard, unit, coins_per_hour=None, hashes_per_coin=1.0).work_out(NOW).value == pytest.approx(
        24 * 100 * 20 / 1e6
    )


def test_it_is_as_old_as_the_older_of_its_parts() -> None:
    old = NOW - datetime.timedelta(minutes=25)
    feeds = Feeds(price=GOOD["price"], net=dataclasses.replace(GOOD["net"], as_of=old, trust=0.7))
    assert source(feeds).work_out(NOW).as_of == old


@pytest.mark.parametrize(
    ("known", "reason", "words"),
    [
        ({}, "InputMissing", "PriceFeed price"),
        ({"price": GOOD["price"]}, "InputMissing", "PriceFeed net"),
        ({**GOOD, "price": quote(RATE, 1.0, "GH/s")}, "WrongInput", "quotes NetworkHashrate, not CoinPrice"),
        ({**GOOD, "net": quote(HARD, 1.0, "difficulty")}, "WrongInput", "quotes NetworkDifficulty"),
        ({**GOOD, "net": quote(RATE, 1.0, "Sol/s")}, "UnitMismatch", "solutions and hashes"),
        ({**GOOD, "net": quote(RATE, 0.0, "GH/s")}, "NoNetwork", "nobody would be mining"),
        ({**GOOD, "net": quote(RATE, 1.0, "GH/s", trust=0.0, reason="Stale")}, "InputNotTrusted", "Stale"),
    ],
)
def test_what_is_missing_is_said(known: dict[str, quotes.Quote], reason: str, words: str) -> None:
    trouble = source(Feeds(**known)).work_out(NOW).trouble
    assert trouble is not None
    assert trouble.reason == reason
    assert words in trouble.message


def after(minutes: float) -> datetime.datetime:
    return NOW + datetime.timedelta(minutes=minutes)


def test_luck_is_averaged_and_the_price_is_not() -> None:
    feeds = Feeds(**GOOD)
    made = source(feeds, half_life_seconds=3600.0)
    first = made.work_out(NOW).value
    assert isinstance(first, float)
    for minute in range(1, 61):
        feeds.known["net"] = quote(RATE, 100_000.0, "GH/s", as_of=after(minute))
        half = made.work_out(after(minute)).value
    # A lucky hour looks like half the miners, so twice the pay; after one half-life it is believed to two thirds or so.
    assert isinstance(half, float)
    assert 1.3 * first < half < 2.0 * first
    feeds.known["price"] = quote(PRICE, 40.0, "USD/coin", as_of=after(61))
    feeds.known["net"] = quote(RATE, 100_000.0, "GH/s", as_of=after(60))
    assert made.work_out(after(61)).value == pytest.approx(2 * half)


def test_a_figure_read_again_is_no_new_one() -> None:
    feeds = Feeds(**GOOD)
    made = source(feeds, half_life_seconds=600.0)
    made.work_out(NOW)
    feeds.known["net"] = quote(RATE, 100_000.0, "GH/s", as_of=after(1))
    values = {made.work_out(after(minute)).value for minute in range(1, 60)}
    assert len(values) == 1


@given(
    values=st.lists(st.floats(min_value=0.1, max_value=10), min_size=1, max_size=50),
    half_life=st.floats(min_value=60, max_value=1e6),
)
def test_an_average_lies_between_what_it_is_of(values: list[float], half_life: float) -> None:
    luck = network.Luck(half_life)
    for minute, value in enumerate(values):
        average = luck.average(value, after(minute))
    assert min(values) * (1 - 1e-9) <= average <= max(values) * (1 + 1e-9)


@given(value=st.floats(min_value=0.1, max_value=10), half_life=st.floats(min_value=60, max_value=1e5))
def test_an_average_reaches_what_stays(value: float, half_life: float) -> None:
    luck = network.Luck(half_life)
    luck.average(1.0, NOW)
    luck.average(value, after(1))
    reached = luck.average(value, after(1) + datetime.timedelta(seconds=20 * half_life))
    assert reached == pytest.approx(value, rel=1e-3)


# --- other currencies ------------------------------------------------------------------------------------------

EURO = exchange.Exchange(currency="EUR", feed="eur")
POWER = quote(quotes.Quantity.ELECTRICITY_PRICE, 0.10, "EUR/kWh")
FX = quote(quotes.Quantity.EXCHANGE_RATE, 1.10, "USD/EUR")


def test_a_fixed_rate() -> None:
    fixed = exchange.Exchange(currency="EUR", usd=1.25)
    assert exchange.rate(fixed, None) == 1.25
    made = exchange.converted(POWER, usd=1.25, by=None)
    assert (made.value, made.unit, made.trust, made.as_of) == (0.125, "USD/kWh", 1.0, NOW)


@given(price_age=st.integers(0, 100), rate_age=st.integers(0, 100), trusts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_the_lesser_trust_and_the_older_time_count(price_age: int, rate_age: int, trusts: tuple[float, float]) -> None:
    price = dataclasses.replace(POWER, as_of=after(-price_age), trust=trusts[0], message="price")
    rate = dataclasses.replace(FX, as_of=after(-rate_age), trust=trusts[1], message="rate")
    made = exchange.converted(price, usd=rate.value, by=rate)
    assert made.value == pytest.approx(0.11)
    assert made.trust == min(trusts)
    assert made.as_of == after(-max(price_age, rate_age))
    assert made.message == ("rate of exchange: rate" if trusts[1] < trusts[0] else "price")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "NoExchangeRate"),
        (dataclasses.replace(FX, unit="USD/GBP"), "WrongExchangeRate"),
        (dataclasses.replace(FX, unit="USD/kWh"), "WrongExchangeRate"),
        (dataclasses.replace(FX, value=0.0), "WrongExchangeRate"),
    ],
)
def test_no_rate_is_no_guess(given: quotes.Quote | None, reason: str) -> None:
    trouble = exchange.rate(EURO, given)
    assert isinstance(trouble, cleaning.Trouble)
    assert trouble.reason == reason
    assert "eur" in trouble.message
