"""Sites of a scenario: prices of power, and forecasts of them as they are published."""

from __future__ import annotations

import datetime
import zoneinfo

import numpy as np

from switchyard.backtest import columns, markets, script, sources, timeline

Floats = timeline.Floats

_DAY = datetime.timedelta(days=1)


def sites(files: sources.Sources) -> tuple[script.SiteScript, ...]:
    """All sites. Raises ScenarioError and MissingDataError as `Sources` does."""
    return tuple(_site(files, name, site) for name, site in files.scene.sites.items())


def _site(files: sources.Sources, name: str, site: markets.Site) -> script.SiteScript:
    tariff = site.tariff
    zone = zoneinfo.ZoneInfo(site.time_zone)
    publications: tuple[script.Publication, ...] = ()
    if tariff.series is not None:
        prices = files.money(tariff.series)
        if tariff.forecast is not None:
            publications = _publications(files, tariff, tariff.series, tariff.forecast, zone=zone)
    elif tariff.time_of_use is not None:
        prices = _by_hour(files.axis, tariff.time_of_use, zone=zone)
    else:
        prices = np.full(files.axis.steps, tariff.fixed, dtype=np.float64)
    return script.SiteScript(
        name=name,
        usd_per_kwh=prices + tariff.adder_usd_per_kilowatt_hour,
        pue=site.pue,
        time_zone=site.time_zone,
        publications=publications,
        circuits=dict(site.circuits),
    )


def _by_hour(axis: timeline.Axis, tariff: markets.TimeOfUse, *, zone: zoneinfo.ZoneInfo) -> Floats:
    """The price in force at the beginning of each step: windows begin on whole minutes, steps are short."""
    prices = np.full(axis.steps, tariff.otherwise)
    windows = [(window, frozenset(day.weekday for day in window.days)) for window in tariff.windows]
    for step, moment in enumerate(axis.edges[:-1].tolist()):
        local = datetime.datetime.fromtimestamp(moment, tz=zone)
        for window, days in windows:
            if _within(window, days, local):
                prices[step] = window.usd_per_kilowatt_hour
                break
    return prices


def _within(window: markets.Window, days: frozenset[int], local: datetime.datetime) -> bool:
    clock, today = local.time(), local.weekday()
    if window.start < window.end:
        return today in days and window.start <= clock < window.end
    return (today in days and clock >= window.start) or ((today - 1) % 7 in days and clock < window.end)


def _publications(
    files: sources.Sources,
    tariff: markets.Tariff,
    prices: columns.MoneySeries,
    forecast: markets.Forecast,
    *,
    zone: zoneinfo.ZoneInfo,
) -> tuple[script.Publication, ...]:
    """One publication per local day that the scenario touches, and of the days after it that become known within it.

    Every forecast speaks of one local day (of 23, 24 or 25 hours), in the interval of its series.
    """
    axis = files.axis
    series = forecast.series
    if series is None:
        assert forecast.column is not None  # noqa: S101  the model demands one of both
        series = prices.model_copy(update={"column": forecast.column})
    first = datetime.datetime.fromtimestamp(axis.start, tz=zone).date()
    last = datetime.datetime.fromtimestamp(axis.end, tz=zone).date() + (1 + forecast.days_before) * _DAY
    line = files.line(series, reach=(_midnight(first, zone), _midnight(last + _DAY, zone)))
    lengths = np.diff(line.edges)
    interval = series.interval or (axis.step_seconds if series.until_next else float(np.median(lengths)))
    factors = files.dollars(series)
    found = []
    day = first
    while day <= last:
        known = datetime.datetime.combine(day - forecast.days_before * _DAY, forecast.published_at, tzinfo=zone)
        step = max(0, int(np.ceil((known.timestamp() - axis.start) / axis.step_seconds)))
        begin, end = _midnight(day, zone), _midnight(day + _DAY, zone)
        day += _DAY
        # The day's hours that the file has: it may begin or end with the scenario, in the middle of a day.
        skipped = max(0, int(np.ceil((line.edges[0] - begin) / interval - 1e-9)))
        begin += skipped * interval
        count = int(np.floor((min(end, float(line.edges[-1])) - begin) / interval + 1e-9))
        if step >= axis.steps or count < 1:
            continue
        values = line.on(timeline.Axis(start=begin, step_seconds=interval, steps=count))
        # Rates of currency are those of the moment of publication: later ones nobody knows.
        usd = values * factors[step] + tariff.adder_usd_per_kilowatt_hour
        found.append(
            script.Publication(
                step=step,
                start=datetime.datetime.fromtimestamp(begin, tz=datetime.UTC),
                interval_seconds=round(interval),
                usd_per_kwh=tuple(usd.tolist()),
            )
        )
    return tuple(found)


def _midnight(day: datetime.date, zone: zoneinfo.ZoneInfo) -> float:
    return datetime.datetime.combine(day, datetime.time(), tzinfo=zone).timestamp()
