"""The price of power at a moment, on the Site's own clocks."""

from __future__ import annotations

import dataclasses
import datetime
import time
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_farm as sample
from switchyard.fleet import model
from switchyard.market import forecast, quotes
from switchyard.valuation import power, values

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


# --- what it will be -------------------------------------------------------------------------------------------


def outlook(
    tariff: model.Tariff, *, now: datetime.datetime = sample.NOW, market: quotes.Market | None = None, zone: str = ""
) -> values.Outlook:
    site = sample.site(tariff=tariff, time_zone=zone or "America/Chicago")
    market = market or sample.market()
    found = power.outlook(site=site, market=market, now=now, price=power.price(site=site, market=market, now=now))
    assert found is not None
    return found


def told(given: values.Outlook, hours: float) -> float:
    return given.at(hours)


def test_a_fixed_tariff_stays() -> None:
    assert outlook(model.FixedTariff(usd_per_kwh=0.08)).told == forecast.Path(hours=(0.0,), values=(0.08,))


def test_a_tariff_by_time_of_use_is_known_to_the_minute() -> None:
    # A Wednesday, 07:00 in Chicago: the peak is from 16 to 20 h, the night from 22 to 6 h.
    found = outlook(TARIFF)
    assert found.told.hours[:6] == (0.0, 9.0, 13.0, 15.0, 23.0, 33.0)
    assert found.told.values[:6] == (0.10, 0.25, 0.10, 0.03, 0.10, 0.25)
    # Saturday evening has no peak; beyond the week, its mean: 5 x 4 h at 0.25, 5 x 8 at 0.03, the rest at 0.10.
    assert told(found, 3 * 24 + 10.0) == 0.10
    assert found.told.hours[-1] == 168.0
    assert found.told.values[-1] == pytest.approx((20 * 0.25 + 40 * 0.03 + 108 * 0.10) / 168)


@pytest.mark.parametrize("zone", ["America/Chicago", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
@given(minute=st.integers(0, 365 * 24 * 60), data=st.data())
def test_every_moment_of_a_tariff_by_time_of_use_is_told_as_it_will_be(
    zone: str, minute: int, data: st.DataObject
) -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(minutes=minute)
    window = model.TariffWindow(
        days=tuple(data.draw(st.sets(st.integers(0, 6), min_size=1))),
        start=data.draw(st.times()).replace(second=0, microsecond=0),
        end=data.draw(st.times()).replace(second=0, microsecond=0),
        usd_per_kwh=0.5,
    )
    tariff = model.TimeOfUseTariff(windows=(window, PEAK), otherwise_usd_per_kwh=0.1)
    found = outlook(tariff, now=now, zone=zone)
    for minutes in data.draw(st.lists(st.integers(0, 168 * 60 - 1), min_size=20, max_size=20)):
        moment = now + datetime.timedelta(minutes=minutes)
        assert told(found, minutes / 60 + 1e-9) == power.time_of_use(tariff, moment.astimezone(zoneinfo.ZoneInfo(zone)))


@pytest.mark.parametrize("turned", ["2026-03-08T08:00:00+00:00", "2026-11-01T07:00:00+00:00"])
def test_the_outlook_sees_clocks_being_turned(turned: str) -> None:
    tariff = model.TimeOfUseTariff(
        windows=(model.TariffWindow(days=(6,), start=datetime.time(1, 30), end=datetime.time(2, 30), usd_per_kwh=0.5),),
        otherwise_usd_per_kwh=0.1,
    )
    at = datetime.datetime.fromisoformat(turned)
    now = at - datetime.timedelta(hours=5)
    found = outlook(tariff, now=now)
    zone = zoneinfo.ZoneInfo("America/Chicago")
    for minutes in range(3 * 60, 8 * 60, 5):
        moment = now + datetime.timedelta(minutes=minutes)
        assert told(found, minutes / 60 + 1e-9) == power.time_of_use(tariff, moment.astimezone(zone))


CURVE = quotes.Curve(
    start=sample.NOW.replace(hour=0),
    interval_seconds=3600,
    values=tuple(0.01 * hour for hour in range(48)),
    published_at=sample.NOW,
)
FED = model.FeedTariff(feed="ercot", adder_usd_per_kwh=0.02)


def test_a_feeds_price_follows_its_curve_with_the_adder() -> None:
    market = dataclasses.replace(feed_market(0.12, 1.0), curves={"ercot": CURVE})
    found = outlook(FED, market=market)
    assert found.told.values[0] == pytest.approx(0.14)
    assert told(found, 5.0) == pytest.approx(0.17 + 0.02)
    assert found.told.hours[-1] == 48.0


def test_without_a_curve_its_habits_and_without_them_persistence() -> None:
    habit = quotes.Profile(means=tuple(0.01 * hour for hour in range(24)), weights=(1.0,) * 24)
    market = dataclasses.replace(feed_market(0.12, 1.0), profiles={"ercot": habit})
    assert told(outlook(FED, market=market), 5.0) == pytest.approx(0.17 + 0.02)
    assert outlook(FED, market=feed_market(0.12, 1.0)).told.values == pytest.approx((0.14,))


def test_no_price_now_is_no_outlook() -> None:
    site, market = sample.site(tariff=FED), feed_market(0.12, 0.0)
    price = power.price(site=site, market=market, now=sample.NOW)
    assert power.outlook(site=site, market=market, now=sample.NOW, price=price) is None


@pytest.mark.parametrize("tariff", [TARIFF, FED, model.FixedTariff(usd_per_kwh=0.1)])
def test_classes_of_a_site_share_one_outlook_cheaply(tariff: model.Tariff) -> None:
    site = sample.site(tariff=tariff)
    market = dataclasses.replace(feed_market(0.12, 1.0), curves={"ercot": CURVE})
    price = power.price(site=site, market=market, now=sample.NOW)
    runs = 2000
    power.outlook(site=site, market=market, now=sample.NOW, price=price)
    began = time.process_time()
    for _ in range(runs):
        power.outlook(site=site, market=market, now=sample.NOW, price=price)
    # Measured: 1 to 8 microseconds. The bound leaves room for slow machines.
    assert (time.process_time() - began) / runs < 100e-6


def test_a_feed_of_another_thing_is_no_price_of_power() -> None:
    site = sample.site(tariff=FED)
    market = feed_market(0.12, 1.0)
    rate = dataclasses.replace(market.quotes["ercot"], quantity=quotes.Quantity.EXCHANGE_RATE)
    price = power.price(site=site, market=dataclasses.replace(market, quotes={"ercot": rate}), now=sample.NOW)
    assert price.usd_per_kwh is None
    assert "quotes ExchangeRate, not ElectricityPrice" in price.missing
