"""The feeds at work: one task each asks its source, and together they are the Market."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from switchyard import clock as clocks
from switchyard.market import cleaning, quotes, specs
from switchyard.market.sources import source as sources

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """What is known of one feed.

    Attributes:
        last_good: the last good quote with its trust at the moment of asking; None where there never was one.
        value: the same value in the feed's own unit.
        unit: the feed's own unit; "" where the spec could not be read.
        reason: why the last attempt gave nothing, CamelCase; "" where it gave a value or is yet to come.
        message: the same for people.
        attempted_at: when the last finished attempt began, farm time; None before the first.
    """

    last_good: quotes.Quote | None
    value: float | None
    unit: str
    reason: str
    message: str
    attempted_at: datetime.datetime | None


@dataclasses.dataclass(slots=True, kw_only=True)
class _Feed:
    """One feed: what is asked of it, and what came of it so far. `parsed` is None where the spec could not be read."""

    spec: Mapping[str, Any]
    created: datetime.datetime
    parsed: specs.Parsed | None
    task: asyncio.Task[None] | None = None
    last_good: quotes.Quote | None = None
    value: float | None = None
    after: datetime.datetime | None = None
    trouble: cleaning.Trouble | None = None
    attempted_at: datetime.datetime | None = None


class Feeds:
    """Asks every feed's source at its interval, and tells what things are worth.

    Belongs to one event loop: all methods are called in it.

    Args:
        clock: tells farm time; intervals and ages are measured in it.
        session_factory: makes the one session for all web sources; it is closed when `run` ends.
        folder: where price files are: relative paths start from it and files outside are refused. None takes any path.

    Attributes:
        on_change: called with a feed's name when its value, or the reason why it has no new one, has changed.
    """

    def __init__(
        self,
        clock: clocks.Clock,
        session_factory: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession,
        *,
        folder: Path | None = None,
    ) -> None:
        self.on_change: Callable[[str], None] = _nobody
        self._clock = clock
        self._session_factory = session_factory
        self._folder = folder
        self._session: aiohttp.ClientSession | None = None
        self._feeds: dict[str, _Feed] = {}

    def set(self, name: str, spec: Mapping[str, Any], created: datetime.datetime) -> None:
        """Add a feed, or change one. The same again does nothing; a change restarts this feed alone.

        The last good value outlives a change of the spec, as long as the unit stays and the bounds allow it. A spec
        that cannot be read is a state of its own, InvalidSpec, and nothing is asked.

        Args:
            name: of the PriceFeed.
            spec: its spec as the API server has it.
            created: its creationTimestamp, from which replays are counted; another one is another feed.
        """
        old = self._feeds.get(name)
        spec = dict(spec)
        if old is not None and old.spec == spec and old.created == created:
            return
        try:
            parsed = specs.read(name, spec, created=created, folder=self._folder)
        except ValueError as problem:
            feed = _Feed(
                spec=spec,
                created=created,
                parsed=None,
                trouble=cleaning.Trouble(reason="InvalidSpec", message=str(problem)),
            )
        else:
            feed = _Feed(spec=spec, created=created, parsed=parsed)
            if old is not None and old.created == created:
                _keep(old, feed)
        self._stop(old)
        self._feeds[name] = feed
        self._start(name, feed)
        if feed.parsed is None:
            self._announce(name)

    def remove(self, name: str) -> None:
        """Forget a feed; an unknown one is no error."""
        self._stop(self._feeds.pop(name, None))

    def names(self) -> frozenset[str]:
        """Names of all feeds."""
        return frozenset(self._feeds)

    def asked(self) -> bool:
        """Whether every feed that can be asked has been: from then on silence means something."""
        return all(feed.parsed is None or feed.attempted_at is not None for feed in self._feeds.values())

    async def run(self) -> None:
        """Ask all feeds, those too that are set later, until cancelled."""
        async with self._session_factory() as session:
            self._session = session
            try:
                for name, feed in self._feeds.items():
                    self._start(name, feed)
                await asyncio.Event().wait()
            finally:
                self._session = None
                tasks = [feed.task for feed in self._feeds.values() if feed.task is not None]
                for feed in self._feeds.values():
                    self._stop(feed)
                await asyncio.gather(*tasks, return_exceptions=True)

    def market(self, now: datetime.datetime) -> quotes.Market:
        """All last good values with the trust they deserve at `now`."""
        return quotes.Market(
            at=now,
            quotes={
                name: cleaning.aged(feed.last_good, settings=feed.parsed.settings, now=now, trouble=feed.trouble)
                for name, feed in self._feeds.items()
                if feed.last_good is not None and feed.parsed is not None
            },
        )

    def state(self, name: str) -> FeedState | None:
        """What is known of a feed now; None for an unknown one."""
        feed = self._feeds.get(name)
        if feed is None:
            return None
        last_good = feed.last_good
        if last_good is not None and feed.parsed is not None:
            last_good = cleaning.aged(
                last_good, settings=feed.parsed.settings, now=self._clock.now(), trouble=feed.trouble
            )
        return FeedState(
            last_good=last_good,
            value=feed.value,
            unit=feed.parsed.settings.unit.text if feed.parsed is not None else "",
            reason=feed.trouble.reason if feed.trouble is not None else "",
            message=feed.trouble.message if feed.trouble is not None else "",
            attempted_at=feed.attempted_at,
        )

    def _start(self, name: str, feed: _Feed) -> None:
        if self._session is not None and feed.parsed is not None and feed.task is None:
            source = feed.parsed.source(self._session)
            feed.task = asyncio.create_task(
                self._poll(name, feed, parsed=feed.parsed, source=source), name=f"pricefeed/{name}"
            )

    def _stop(self, feed: _Feed | None) -> None:
        if feed is not None and feed.task is not None:
            feed.task.cancel()
            feed.task = None

    async def _poll(self, name: str, feed: _Feed, *, parsed: specs.Parsed, source: sources.Source) -> None:
        while True:
            # One `try` around all that one attempt does: nothing in it may end the feed for good.
            try:
                await self._attempt(name, feed, parsed=parsed, source=source)
            except Exception as problem:  # noqa: BLE001  whatever it is, the feed must be asked again
                self._crashed(name, feed, problem)
            await self._clock.sleep(parsed.interval_seconds)

    async def _attempt(self, name: str, feed: _Feed, *, parsed: specs.Parsed, source: sources.Source) -> None:
        now = self._clock.now()
        reading = await source.read(now=now)
        result = cleaning.clean(reading, settings=parsed.settings, now=now, after=feed.after)
        feed.attempted_at = now
        before, was = feed.trouble, feed.last_good
        if isinstance(result, cleaning.Trouble):
            feed.trouble = result
            self._tell(name, feed, before=before, news=False)
            return
        feed.trouble = None
        feed.last_good = result
        feed.value = cleaning.number(reading.value)
        feed.after = result.as_of
        # The same value again is news where the old one had begun to lose its weight.
        news = was is None or was.value != result.value or _trust(was, parsed, now=now) < result.trust
        self._tell(name, feed, before=before, news=news)

    def _tell(self, name: str, feed: _Feed, *, before: cleaning.Trouble | None, news: bool) -> None:
        """Log and announce what has changed. Only reasons count: a message may hold another number every time."""
        trouble = feed.trouble
        changed = (before.reason if before else "") != (trouble.reason if trouble else "")
        if changed and trouble is not None:
            _logger.warning("PriceFeed %s: %s: %s", name, trouble.reason, trouble.message)
        elif changed:
            _logger.info("PriceFeed %s gives values again", name)
        if changed or news:
            self._announce(name)

    def _announce(self, name: str) -> None:
        try:
            self.on_change(name)
        except Exception:
            # A listener's mistake is not the source's, and must not end the feed.
            _logger.exception("A listener to PriceFeed %s crashed", name)

    def _crashed(self, name: str, feed: _Feed, problem: Exception) -> None:
        before = feed.trouble
        feed.attempted_at = self._clock.now()
        # Statuses are read by many, and the text of an unforeseen error may hold anything: its kind must do.
        feed.trouble = cleaning.Trouble(reason="SourceCrashed", message=f"asking it failed: {type(problem).__name__}")
        if before is None or before.reason != "SourceCrashed":
            _logger.error("PriceFeed %s crashed and will be asked again", name, exc_info=problem)
            self._announce(name)


def _keep(old: _Feed, new: _Feed) -> None:
    """Carry the last good value over to a changed feed, if it still means the same and is still believable."""
    if old.parsed is None or new.parsed is None or old.value is None:
        return
    if old.parsed.settings.unit == new.parsed.settings.unit and cleaning.believable(
        old.value, settings=new.parsed.settings
    ):
        new.last_good, new.value = old.last_good, old.value
        new.trouble, new.attempted_at = old.trouble, old.attempted_at
        # Another source keeps another time; only within one does a value have to be newer than the last.
        new.after = old.after if old.spec.get("source") == new.spec.get("source") else None


def _trust(quote: quotes.Quote, parsed: specs.Parsed, *, now: datetime.datetime) -> float:
    return cleaning.aged(quote, settings=parsed.settings, now=now).trust


def _nobody(name: str) -> None:
    """Nobody listens yet."""
