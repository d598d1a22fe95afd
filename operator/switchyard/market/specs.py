"""From a PriceFeed's spec to what the feeds need of it."""

from __future__ import annotations

import dataclasses
import datetime
import zoneinfo
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pydantic

from switchyard.api import pricefeed
from switchyard.market import cleaning, quotes, units
from switchyard.market.sources import file, http, prometheus, source, static, table


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A spec that makes sense.

    Attributes:
        settings: what is expected of the values.
        interval_seconds: between two attempts, in farm time.
        source: makes the source; called each time the feed starts.
    """

    settings: cleaning.Settings
    interval_seconds: float
    source: Callable[[aiohttp.ClientSession], source.Source]


def read(name: str, spec: Mapping[str, Any], *, created: datetime.datetime, folder: Path | None) -> Parsed:
    """Make sense of a spec.

    Args:
        name: of the PriceFeed.
        spec: as the API server has it.
        created: when the PriceFeed was created; replays are counted from there.
        folder: where price files are, None for anywhere.

    Raises:
        ValueError: the spec makes no sense; the message is for people.
    """
    try:
        given = pricefeed.PriceFeedSpec.model_validate(spec)
    except pydantic.ValidationError as problem:
        raise ValueError(_explain(problem)) from None
    return Parsed(
        settings=cleaning.Settings(
            feed=name,
            unit=units.unit(given.unit, quantity=quotes.Quantity(given.quantity)),
            fresh_seconds=given.freshness.fresh,
            dead_seconds=given.freshness.dead,
            minimum=given.bounds.min if given.bounds else None,
            maximum=given.bounds.max if given.bounds else None,
        ),
        interval_seconds=given.interval,
        source=_source(given.source, created=created, folder=folder),
    )


def _source(
    given: pricefeed.Source, *, created: datetime.datetime, folder: Path | None
) -> Callable[[aiohttp.ClientSession], source.Source]:
    match given:
        case pricefeed.Source(static=pricefeed.StaticSource() as fixed, file=None, http=None, prometheus=None):
            return lambda session: static.Static(fixed.value)
        case pricefeed.Source(static=None, file=pricefeed.FileSource() as listed, http=None, prometheus=None):
            prices = _file(listed, created=created, folder=folder)
            return lambda session: prices
        case pricefeed.Source(static=None, file=None, http=pricefeed.HttpSource() as web, prometheus=None):
            return lambda session: http.Http(
                session=session,
                url=web.url,
                pointer=web.pointer,
                time_pointer=web.time_pointer,
                timeout_seconds=web.timeout,
            )
        case pricefeed.Source(static=None, file=None, http=None, prometheus=pricefeed.PrometheusSource() as asked):
            return lambda session: prometheus.Prometheus(
                session=session, url=asked.url, query=asked.query, timeout_seconds=asked.timeout
            )
    raise ValueError("source must have exactly one of static, file, http and prometheus")


def _file(given: pricefeed.FileSource, *, created: datetime.datetime, folder: Path | None) -> file.File:
    replay = None
    if given.replay is not None:
        if given.replay.start.tzinfo is None:
            raise ValueError("source.file.replay.start needs a time zone: write it with Z or an offset such as -05:00")
        replay = file.Replay(start=given.replay.start, created=created, speed=given.replay.speed)
    return file.File(
        path=Path(given.path),
        layout=table.Layout(
            json_lines=given.format == pricefeed.FileFormat.JSON_LINES,
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
