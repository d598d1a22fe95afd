"""The price of power at a moment, on the Site's own clocks."""

from __future__ import annotations

import datetime

import pytest

import sample_farm as sample
from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.valuation import power

WEEKDAYS = (0, 1, 2, 3, 4)
NIGHT = model.TariffWindow(days=WEEKDAYS, start=datetime.time(22), end=datetime.time(6), usd_per_kwh=0.03)
PEAK = model.TariffWindow(days=WEEKDAYS, start=datetime.time(16), end=datetime.time(20), usd_per_kwh=0.25)
TARIFF = model.TimeOfUseTariff(windows=(NIGHT, PEAK), otherwise_usd_per_kwh=0.10)


def at(text: str, tariff: model.Tariff = TARIFF) -> float | None:
    site = sample.site(tariff=tariff)
    now = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    return power.price(site=site, market=sample.market(), now=now).usd_per_kwh


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-07-01T16:00:00-05:00", 0.25),  # a Wednesday, Chicago summer time
        ("2026-07-01T15:59:59-05:00", 0.10),
        ("2026-07-01T20:00:00-05:00", 0.10),
        ("2026-07-01T22:00:00-05:00", 0.03),
        ("2026-07-04T05:59:00-05:00", 0.03),  # Saturday morning: Friday's window runs on
        ("2026-07-04T22:30:00-05:00", 0.10),  # Saturday evening starts none
        ("2026-07-06T05:59:00-05:00", 0.10),  # Monday morning: Sunday had none
        ("2026-01-07T16:30:00-06:00", 0.25),  # winter time: the wall counts, not UTC
    ],
)
def test_windows_follow_the_sites_clocks(moment: str, expected: float) -> None:
    assert at(moment) == expected


def test_an_hour_that_happens_twice_is_in_its_window_twice() -> None:
    tariff = model.TimeOfUseTariff(
        windows=(model.TariffWindow(days=(6,), start=datetime.time(1), end=datetime.time(2), usd_per_kwh=0.5),),
        otherwise_usd_per_kwh=0.1,
    )
    # 2026-11-01: 02:00 CDT becomes 01:00 CST.
    assert [at(f"2026-11-01T0{hour}:30:00+00:00", tariff) for hour in (5, 6, 7, 8)] == [0.1, 0.5, 0.5, 0.1]


def test_an_hour_that_never_happens_has_no_window() -> None:
    tariff = model.TimeOfUseTariff(
        windows=(model.TariffWindow(days=(6,), start=datetime.time(2), end=datetime.time(3), usd_per_kwh=0.5),),
        otherwise_usd_per_kwh=0.1,
    )
    # 2026-03-08: 02:00 CST becomes 03:00 CDT.
    assert [at(f"2026-03-08T0{hour}:30:00+00:00", tariff) for hour in (7, 8, 9)] == [0.1, 0.1, 0.1]


def test_a_window_from_midnight_to_midnight_is_the_whole_day() -> None:
    tariff = model.TimeOfUseTariff(
        windows=(model.TariffWindow(days=(2,), start=datetime.time(0), end=datetime.time(0), usd_per_kwh=0.5),),
        otherwise_usd_per_kwh=0.1,
    )
    assert at("2026-07-01T00:00:00-05:00", tariff) == 0.5
    assert at("2026-07-01T23:59:59-05:00", tariff) == 0.5
    assert at("2026-07-02T00:00:00-05:00", tariff) == 0.1


def feed_market(value: float, trust: float) -> quotes.Market:
    quote = quotes.Quote(
        feed="ercot",
        quantity=quotes.Quantity.ELECTRICITY_PRICE,
        value=value,
        as_of=sample.NOW,
        trust=trust,
        reason="" if trust else "Stale",
        message="" if trust else "last good value is 75 min old",
    )
    return quotes.Market(at=sample.NOW, quotes={"ercot": quote})


def test_a_feed_pays_the_adder_too_and_hands_on_its_trust() -> None:
    site = sample.site(tariff=model.FeedTariff(feed="ercot", adder_usd_per_kwh=0.02))
    price = power.price(site=site, market=feed_market(-0.05, 0.5), now=sample.NOW)
    assert price.usd_per_kwh == pytest.approx(-0.03)
    assert price.trust == 0.5


def test_no_price_where_the_feed_is_dead_or_unknown() -> None:
    site = sample.site(tariff=model.FeedTariff(feed="ercot", adder_usd_per_kwh=0.02))
    dead = power.price(site=site, market=feed_market(0.05, 0.0), now=sample.NOW)
    assert dead.usd_per_kwh is None
    assert "75 min old" in dead.missing
    unknown = power.price(site=site, market=sample.market(), now=sample.NOW)
    assert unknown.usd_per_kwh is None
    assert "ercot" in unknown.missing


def test_an_unknown_time_zone_is_no_price_not_a_crash() -> None:
    site = sample.site(tariff=TARIFF, time_zone="Texas/Nowhere")
    price = power.price(site=site, market=sample.market(), now=sample.NOW)
    assert price.usd_per_kwh is None
    assert "Texas/Nowhere" in price.missing
