"""What a kilowatt-hour costs a Site at a moment, and what drawing watts costs."""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import functools
import itertools
import zoneinfo

from switchyard.fleet import model
from switchyard.market import forecast, quotes
from switchyard.valuation import values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of power at a Site. Negative prices are real: then drawing power earns.

    Attributes:
        usd_per_kwh: the tariff, before PUE; None where there is no trusted price.
        trust: of the quote behind it; 1.0 for tariffs that people wrote down.
        missing: "" or, with no price, why: for people.
    """

    usd_per_kwh: float | None
    trust: float = 1.0
    missing: str = ""


def price(*, site: model.Site, market: quotes.Market, now: datetime.datetime) -> Price:
    """The Site's price at `now` (aware)."""
    tariff = site.tariff
    match tariff:
        case model.FixedTariff():
            return Price(usd_per_kwh=tariff.usd_per_kwh)
        case model.TimeOfUseTariff():
            try:
                zone = zoneinfo.ZoneInfo(site.time_zone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError):
                return Price(usd_per_kwh=None, trust=0.0, missing=f"unknown time zone {site.time_zone!r}")
            return Price(usd_per_kwh=time_of_use(tariff, now.astimezone(zone)))
        case model.FeedTariff():
            quote = market.trusted(tariff.feed)
            if quote is None:
                return Price(usd_per_kwh=None, trust=0.0, missing=untrusted(market, tariff.feed))
            if quote.quantity != quotes.Quantity.ELECTRICITY_PRICE:
                missing = f"PriceFeed {tariff.feed} quotes {quote.quantity}, not ElectricityPrice"
                return Price(usd_per_kwh=None, trust=0.0, missing=missing)
            return Price(usd_per_kwh=quote.value + tariff.adder_usd_per_kwh, trust=quote.trust)


def outlook(*, site: model.Site, market: quotes.Market, now: datetime.datetime, price: Price) -> values.Outlook | None:
    """What power will cost the Site from `now` on; `price` is what `price()` said. None with no trusted price.

    A fixed tariff stays. A tariff by time of use is known: an entry for each change. A feed's price is foretold by its
    curve, its habits, or persistence (see `forecast.path`), plus the adder. Classes of the same Site share one answer.
    """
    if price.usd_per_kwh is None:
        return None
    tariff = site.tariff
    match tariff:
        case model.FixedTariff():
            return values.Outlook(price.usd_per_kwh)
        case model.TimeOfUseTariff():
            return _by_the_clock(price.usd_per_kwh, tariff, site.time_zone, now.astimezone(datetime.UTC))
        case model.FeedTariff():
            return _by_feed(
                price.usd_per_kwh,
                tariff.adder_usd_per_kwh,
                now,
                market.curves.get(tariff.feed),
                market.profiles.get(tariff.feed),
            )


@functools.lru_cache(maxsize=256)
def _by_feed(
    usd_per_kwh: float,
    adder_usd_per_kwh: float,
    now: datetime.datetime,
    curve: quotes.Curve | None,
    profile: quotes.Profile | None,
) -> values.Outlook:
    def tell() -> forecast.Path:
        found = forecast.path(value=usd_per_kwh - adder_usd_per_kwh, now=now, curve=curve, profile=profile)
        later = (value + adder_usd_per_kwh for value in found.values[1:])
        return dataclasses.replace(found, values=(usd_per_kwh, *later))

    return values.Outlook(usd_per_kwh, tell)


@functools.lru_cache(maxsize=256)
def _by_the_clock(
    usd_per_kwh: float, tariff: model.TimeOfUseTariff, time_zone: str, now: datetime.datetime
) -> values.Outlook:
    def tell() -> forecast.Path:
        unix = now.timestamp()
        moments, prices = _changes(tariff, time_zone, now.date())
        first = bisect.bisect_right(moments, unix)
        end = unix + forecast.LONG_HORIZON_SECONDS
        last = bisect.bisect_right(moments, end)
        # Nobody should count on the price of one hour for ever: after a week, the mean of that week.
        starts = (unix, *moments[first:last])
        spans = [later - start for start, later in zip(starts, (*starts[1:], end), strict=True)]
        told = prices[first - 1 : last]
        mean = sum(price * span for price, span in zip(told, spans, strict=True)) / forecast.LONG_HORIZON_SECONDS
        ahead = (*((moment - unix) / 3600 for moment in starts[1:]), forecast.LONG_HORIZON_SECONDS / 3600)
        return forecast.Path(hours=(0.0, *ahead), values=(*told, mean))

    return values.Outlook(usd_per_kwh, tell)


@functools.lru_cache(maxsize=64)
def _changes(
    tariff: model.TimeOfUseTariff, time_zone: str, day: datetime.date
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """When the price changes in the eight days from a day's begin in UTC (Unix seconds), and to what.

    The first entry is the day's begin.
    """
    zone = zoneinfo.ZoneInfo(time_zone)
    start = datetime.datetime.combine(day, datetime.time(), tzinfo=datetime.UTC)
    hours = [start + datetime.timedelta(hours=hour) for hour in range(8 * 24 + 1)]
    walls = {wall for window in tariff.windows for wall in (window.start, window.end)} | {datetime.time()}
    first, days = hours[0].astimezone(zone).date(), range(-1, 10)
    moments = {hours[0]}
    for date in (first + datetime.timedelta(days=ahead) for ahead in days):
        for wall in walls:
            local = datetime.datetime.combine(date, wall, tzinfo=zone)
            moments |= {local.replace(fold=fold).astimezone(datetime.UTC) for fold in (0, 1)}
    # Where clocks are turned, the wall may leap into or out of a window without passing its edge.
    moments |= {
        _turn(one, two, zone) for one, two in itertools.pairwise(hours) if _offset(one, zone) != _offset(two, zone)
    }
    found: list[tuple[float, float]] = []
    for moment in sorted(moment for moment in moments if hours[0] <= moment <= hours[-1]):
        price = time_of_use(tariff, moment.astimezone(zone))
        if not found or found[-1][1] != price:
            found.append((moment.timestamp(), price))
    return tuple(moment for moment, _ in found), tuple(price for _, price in found)


def _turn(before: datetime.datetime, after: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """The moment between two at which clocks are turned, to the second."""
    low, high = int(before.timestamp()), int(after.timestamp())
    old = _offset(before, zone)
    while high - low > 1:
        middle = (low + high) // 2
        moment = datetime.datetime.fromtimestamp(middle, tz=datetime.UTC)
        low, high = (middle, high) if _offset(moment, zone) == old else (low, middle)
    return datetime.datetime.fromtimestamp(high, tz=datetime.UTC)


def _offset(moment: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.timedelta | None:
    return moment.astimezone(zone).utcoffset()


def time_of_use(tariff: model.TimeOfUseTariff, local: datetime.datetime) -> float:
    """The price in USD/kWh when the Site's clocks on the wall show `local`.

    Only wall time is compared, never durations, so days of 23 and 25 hours need no care: an hour that happens twice is
    in its window twice. A window past midnight belongs to the day on which it starts.
    """
    today, moment = local.weekday(), local.time()
    yesterday = (today - 1) % 7
    for window in tariff.windows:
        if window.end > window.start:
            held = today in window.days and window.start <= moment < window.end
        else:
            held = (today in window.days and moment >= window.start) or (
                yesterday in window.days and moment < window.end
            )
        if held:
            return window.usd_per_kwh
    return tariff.otherwise_usd_per_kwh


def untrusted(market: quotes.Market, feed: str) -> str:
    """Why a feed gives no trusted value, for people."""
    quote = market.quotes.get(feed)
    if quote is None:
        return f"PriceFeed {feed} has not given a good value yet"
    why = quote.message or quote.reason or "too old"
    return f"PriceFeed {feed} is not trusted: {why}"


def usd_per_watt_hour(*, usd_per_kwh: float, pue: float) -> float:
    """What one watt at the rig costs per hour, with what cooling and losses add."""
    return usd_per_kwh * pue / 1000
