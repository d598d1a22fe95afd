"""From a PriceFeed's spec to what the feeds need of it."""

from __future__ import annotations

import dataclasses
import datetime
import zoneinfo
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import pydantic

from switchyard.api import feedsource, pricefeed
from switchyard.market import cleaning, curves, exchange, network, outliers, quotes, units
from switchyard.market.sources import file, http, listed, prometheus, source, static, table

Look = Callable[[str, datetime.datetime], quotes.Quote | None]
"""Gives another feed's quote at a moment, None where it has none."""

_LUCK_SECONDS: Final = {feedsource.Payout.PPLNS: 24 * 3600.0, feedsource.Payout.PPS: 600.0}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What a spec says of prices to come.

    Attributes:
        settings: what is expected of the rows.
        publication: when a day's prices become known.
        interval_seconds: between two readings.
        source: makes the source of rows.
    """

    settings: cleaning.Settings
    publication: curves.Publication
    interval_seconds: float
    source: Callable[[aiohttp.ClientSession], source.Rows]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A spec that makes sense.

    Attributes:
        settings: what is expected of the values.
        interval_seconds: between two attempts, in farm time.
        source: makes the source; called each time the feed starts.
        guard: makes the guard against outliers; None where every value is believed.
        exchange: of the feed's currency; None for US dollars and for what is no price.
        ahead: prices to come, None where nobody publishes them.
    """

    settings: cleaning.Settings
    interval_seconds: float
    source: Callable[[aiohttp.ClientSession], source.Source]
    guard: Callable[[], outliers.Guard] | None = None
    exchange: exchange.Exchange | None = None
    ahead: Ahead | None = None


def read(name: str, spec: Mapping[str, Any], *, created: datetime.datetime, folder: Path | None, look: Look) -> Parsed:
    """Make sense of a spec.

    Args:
        name: of the PriceFeed.
        spec: as the API server has it.
        created: when the PriceFeed was created; replays are counted from there.
        folder: where price files are, None for anywhere.
        look: where a feed that is worked out from others finds them.

    Raises:
        ValueError: the spec makes no sense; the message is for people.
    """
    try:
        given = pricefeed.PriceFeedSpec.model_validate(spec)
    except pydantic.ValidationError as problem:
        raise ValueError(_explain(problem)) from None
    settings = cleaning.Settings(
        feed=name,
        unit=units.unit(given.unit, quantity=quotes.Quantity(given.quantity)),
        fresh_seconds=given.freshness.fresh,
        dead_seconds=given.freshness.dead,
        minimum=given.bounds.min if given.bounds else None,
        maximum=given.bounds.max if given.bounds else None,
    )
    return Parsed(
        settings=settings,
        interval_seconds=given.interval,
        source=_source(given.source, settings=settings, created=created, folder=folder, look=look),
        guard=_guard(given, quantity=settings.unit.quantity),
        exchange=_exchange(given.exchange, unit=settings.unit),
        ahead=_ahead(given.forecast, settings=settings, created=created, folder=folder) if given.forecast else None,
    )


def _source(
    given: feedsource.Source,
    *,
    settings: cleaning.Settings,
    created: datetime.datetime,
    folder: Path | None,
    look: Look,
) -> Callable[[aiohttp.ClientSession], source.Source]:
    asked = [given.static, given.file, given.http, given.prometheus, given.network]
    match [one for one in asked if one is not None]:
        case [feedsource.StaticSource() as fixed]:
            return lambda session: static.Static(fixed.value)
        case [feedsource.FileSource() as rows]:
            prices = _file(rows, created=created, folder=folder)
            return lambda session: prices
        case [feedsource.HttpSource() as web]:
            return lambda session: http.Http(
                session=session,
                url=web.url,
                pointer=web.pointer,
                time_pointer=web.time_pointer,
                timeout_seconds=web.timeout,
            )
        case [feedsource.PrometheusSource() as query]:
            return lambda session: prometheus.Prometheus(
                session=session, url=query.url, query=query.query, timeout_seconds=query.timeout
            )
        case [feedsource.NetworkSource() as paid]:
            formula = _formula(paid)
            return lambda session: network.Network(formula=formula, unit=settings.unit, look=look)
    raise ValueError(f"source must have {feedsource.ONE_SOURCE}")


def _formula(given: feedsource.NetworkSource) -> network.Formula:
    coins_per_hour: float | None = None
    hashes_per_coin: float | None = None
    half_life = given.luck_half_life or _LUCK_SECONDS[given.payout]
    match given:
        case feedsource.NetworkSource(hashrate_feed=None, difficulty_feed=str(feed)):
            if given.reward_per_block is None or given.hashes_per_difficulty is None:
                raise ValueError("source.network: difficultyFeed needs rewardPerBlock and hashesPerDifficulty")
            hashes_per_coin = given.hashes_per_difficulty / given.reward_per_block
        case feedsource.NetworkSource(hashrate_feed=str(feed), difficulty_feed=None):
            if given.coins_per_day is not None and given.reward_per_block is None:
                coins_per_hour = given.coins_per_day / 24
            elif given.coins_per_day is None and given.reward_per_block is not None and given.block_seconds is not None:
                coins_per_hour = given.reward_per_block * 3600 / given.block_seconds
            else:
                raise ValueError("source.network: hashrateFeed needs coinsPerDay, or rewardPerBlock and blockSeconds")
        case _:
            raise ValueError("source.network must have exactly one of hashrateFeed and difficultyFeed")
    return network.Formula(
        coin_price_feed=given.coin_price_feed,
        network_feed=feed,
        coins_per_hour=coins_per_hour,
        hashes_per_coin=hashes_per_coin,
        half_life_seconds=half_life,
    )


def _guard(given: pricefeed.PriceFeedSpec, *, quantity: quotes.Quantity) -> Callable[[], outliers.Guard] | None:
    # What people write down themselves is meant, however far it is from what they wrote before.
    if given.outliers.action is pricefeed.Action.ACCEPT or given.source.static is not None:
        return None
    settings = outliers.Settings(
        sigma=given.outliers.sigma,
        window_seconds=given.outliers.window,
        persist_seconds=given.outliers.persist,
        floor=outliers.FLOORS[quantity],
    )
    return lambda: outliers.Guard(settings)


def _exchange(given: pricefeed.Exchange | None, *, unit: units.Unit) -> exchange.Exchange | None:
    if not unit.currency:
        if given is not None:
            raise ValueError(f"exchange is for prices in another currency than US dollars, not for {unit.text}")
        return None
    if given is None or (given.price_feed is None) == (given.rate is None):
        raise ValueError(f"a price in {unit.text} needs exchange, with exactly one of priceFeed and rate")
    return exchange.Exchange(currency=unit.currency, feed=given.price_feed or "", usd=given.rate)


def _ahead(
    given: pricefeed.Forecast, *, settings: cleaning.Settings, created: datetime.datetime, folder: Path | None
) -> Ahead:
    if settings.unit.quantity != quotes.Quantity.ELECTRICITY_PRICE:
        raise ValueError("only an ElectricityPrice has a forecast")
    unit = units.unit(given.unit, quantity=settings.unit.quantity) if given.unit else settings.unit
    if unit.currency != settings.unit.currency:
        raise ValueError(f"forecast.unit: {unit.text} is of another currency than {settings.unit.text}")
    shift = datetime.timedelta(0)
    match given.source:
        case feedsource.ListSource(file=feedsource.FileSource() as rows, http=None):
            prices = _file(rows, created=created, folder=folder)
            if rows.replay is not None:
                if rows.replay.speed != 1:
                    raise ValueError("forecast.source.file.replay.speed must be 1")
                shift = created - rows.replay.start
            made: Callable[[aiohttp.ClientSession], source.Rows] = lambda session: prices  # noqa: E731
        case feedsource.ListSource(file=None, http=feedsource.HttpListSource() as web):
            made = lambda session: listed.HttpRows(  # noqa: E731
                session=session,
                url=web.url,
                pointer=web.pointer,
                time_pointer=web.time_pointer,
                value_pointer=web.value_pointer,
                timeout_seconds=web.timeout,
            )
        case _:
            raise ValueError("forecast.source must have exactly one of file and http")
    # Bounds are written in the feed's unit, and rows may come in another.
    scale = settings.unit.to_canonical(1.0) / unit.to_canonical(1.0)
    return Ahead(
        settings=dataclasses.replace(
            settings,
            unit=unit,
            minimum=None if settings.minimum is None else settings.minimum * scale,
            maximum=None if settings.maximum is None else settings.maximum * scale,
        ),
        publication=curves.Publication(hour=given.published_at, zone=zoneinfo.ZoneInfo(given.time_zone), shift=shift),
        interval_seconds=given.interval,
        source=made,
    )


def _file(given: feedsource.FileSource, *, created: datetime.datetime, folder: Path | None) -> file.File:
    replay = None
    if given.replay is not None:
        if given.replay.start.tzinfo is None:
            raise ValueError("source.file.replay.start needs a time zone: write it with Z or an offset such as -05:00")
        replay = file.Replay(start=given.replay.start, created=created, speed=given.replay.speed)
    return file.File(
        path=Path(given.path),
        layout=table.Layout(
            json_lines=given.format == feedsource.FileFormat.JSON_LINES,
            time_column=given.time_column,
            value_column=given.value_column,
            where=given.where,
            zone=zoneinfo.ZoneInfo(given.time_zone) if given.time_zone else None,
        ),
        replay=replay,
        folder=folder,
    )


def _explain(problem: pydantic.ValidationError) -> str:
    """The first few errors, each with the field it is about. What was written there is left out: URLs hold keys."""
    errors = problem.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, error['loc'])) or 'spec'}: {error['msg']}" for error in errors[:3])
