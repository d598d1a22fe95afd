from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.api import feedunit
from switchyard.market import quotes, units

PRICES = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)
HASHING = [rate for rate in units.HASH_RATES if rate != "Sol/s"]


def test_the_set_of_units_is_the_published_one() -> None:
    assert set(units.UNITS) == {str(unit) for unit in feedunit.FeedUnit}
    assert {str(known) for known in quotes.Quantity} == {str(known) for known in feedunit.Quantity}
    by_quantity = {
        quantity: {text for text, known in units.UNITS.items() if known.quantity == quantity}
        for quantity in quotes.Quantity
    }
    assert by_quantity[quotes.Quantity.COIN_REVENUE] == {
        f"USD/({rate})/{span}" for rate in ("kH/s", "MH/s", "GH/s", "Sol/s") for span in ("day", "hour")
    }
    assert {"USD/kWh", "USD/MWh", "EUR/MWh", "ct/kWh", "p/kWh"} < by_quantity[quotes.Quantity.ELECTRICITY_PRICE]
    assert by_quantity[quotes.Quantity.EXCHANGE_RATE] == {f"USD/{money}" for money in units.CURRENCIES}


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("USD/kWh", Fraction(1)),
        ("USD/MWh", Fraction(1, 1000)),
        ("EUR/MWh", Fraction(1, 1000)),
        ("ct/kWh", Fraction(1, 100)),
        ("p/kWh", Fraction(1, 100)),
        ("USD/EUR", Fraction(1)),
        ("USD/coin", Fraction(1)),
        ("H/s", Fraction(1, 10**9)),
        ("MH/s", Fraction(1, 1000)),
        ("TH/s", Fraction(1000)),
        ("EH/s", Fraction(10**9)),
        ("MSol/s", Fraction(10**6)),
        ("difficulty", Fraction(1)),
        ("USD/(kH/s)/day", Fraction(1_000_000, 24)),
        ("USD/(MH/s)/day", Fraction(1000, 24)),
        ("USD/(GH/s)/day", Fraction(1, 24)),
        ("USD/(Sol/s)/day", Fraction(1, 24)),
        ("USD/(kH/s)/hour", Fraction(1_000_000)),
        ("USD/(MH/s)/hour", Fraction(1000)),
        ("USD/(GH/s)/hour", Fraction(1)),
        ("USD/(Sol/s)/hour", Fraction(1)),
    ],
)
@given(value=PRICES)
def test_conversion_agrees_with_exact_arithmetic(text: str, factor: Fraction, value: float) -> None:
    exact = Fraction(value) * factor
    assert units.UNITS[text].to_canonical(value) == pytest.approx(float(exact), rel=1e-14, abs=1e-300)


def test_the_canonical_units_convert_to_themselves() -> None:
    for unit in units.UNITS.values():
        canonical = units.unit(unit.canonical, quantity=unit.quantity)
        assert canonical.canonical == unit.canonical
        assert canonical.to_canonical(0.123) == 0.123


@given(value=PRICES, unit=st.sampled_from(sorted(units.UNITS)))
def test_there_and_back_again(value: float, unit: str) -> None:
    known = units.UNITS[unit]
    assert known.from_canonical(known.to_canonical(value)) == pytest.approx(value, rel=1e-12, abs=1e-300)


def test_a_currency_stays_its_own_until_somebody_knows_its_rate() -> None:
    assert (units.UNITS["ct/kWh"].canonical, units.UNITS["ct/kWh"].currency) == ("EUR/kWh", "EUR")
    assert (units.UNITS["p/kWh"].canonical, units.UNITS["p/kWh"].currency) == ("GBP/kWh", "GBP")
    assert {unit.currency for unit in units.UNITS.values() if unit.text.startswith("USD")} == {""}


def test_solutions_stay_solutions() -> None:
    assert units.UNITS["USD/(Sol/s)/day"].canonical == "USD/(Sol/s)/hour"
    assert units.UNITS["USD/(MH/s)/day"].canonical == "USD/(GH/s)/hour"


@given(rate=st.floats(min_value=1e-3, max_value=1e6), price=st.floats(min_value=1e-9, max_value=10))
def test_a_rig_earns_the_same_whatever_units_say_it(rate: float, price: float) -> None:
    # `rate` MH/s at `price` USD per MH/s and day, against the same in GH/s and hours.
    canonical = units.UNITS["USD/(MH/s)/day"].to_canonical(price)
    ghs = units.convert_hash_rate(rate, given="MH/s", wanted="GH/s")
    assert canonical * ghs == pytest.approx(rate * price / 24, rel=1e-12)


@given(value=st.floats(min_value=1e-6, max_value=1e15), one=st.sampled_from(HASHING), other=st.sampled_from(HASHING))
def test_hash_rates_convert_there_and_back(value: float, one: str, other: str) -> None:
    there = units.convert_hash_rate(value, given=one, wanted=other)
    assert units.convert_hash_rate(there, given=other, wanted=one) == pytest.approx(value, rel=1e-14)


def test_hash_rates_by_example() -> None:
    assert units.convert_hash_rate(98.5, given="MH/s", wanted="GH/s") == pytest.approx(0.0985)
    assert units.convert_hash_rate(2, given="kH/s", wanted="H/s") == 2000
    assert units.convert_hash_rate(700, given="Sol/s", wanted="Sol/s") == 700


@pytest.mark.parametrize(("one", "other"), [("Sol/s", "GH/s"), ("H/s", "Sol/s")])
def test_solutions_and_hashes_do_not_mix(one: str, other: str) -> None:
    with pytest.raises(ValueError, match="solutions and hashes"):
        units.convert_hash_rate(1, given=one, wanted=other)


def test_mismatches_are_told_plainly() -> None:
    with pytest.raises(ValueError, match="USD/MWh is a unit of ElectricityPrice, not of CoinRevenue"):
        units.unit("USD/MWh", quantity=quotes.Quantity.COIN_REVENUE)
    with pytest.raises(ValueError, match="'EUR/GJ' is no unit of ElectricityPrice: it is one of USD/kWh, EUR"):
        units.unit("EUR/GJ", quantity=quotes.Quantity.ELECTRICITY_PRICE)
    with pytest.raises(ValueError, match="'mh/s' is no unit of hash rate"):
        units.convert_hash_rate(1, given="mh/s", wanted="GH/s")
