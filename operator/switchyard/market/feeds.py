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
from switchyard.market import cleaning, exchange, network, quotes, specs
from switchyard.market import feed as feeding
from switchyard.market.sources import source as sources

_LOG = logging.getLogger(__name__)

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """What is known of one feed.

    Attributes:
        last_good: the last good quote with its trust at the moment of asking, in US dollars where it is a price; None
            where there never was one, or nobody knows the rate of exchange.
        value: the same value in the feed's own unit.
        unit: the feed's own unit; "" where the spec could not be read.
        reason: why the last attempt gave nothing, CamelCase; "" where it gave a value or is yet to come.
        message: the same for people.
        attempted_at: when the last finished attempt began, farm time; None before the first.
        ahead: what is known of prices to come; None where the spec asks for none.
    """

    last_good: quotes.Quote | None
    value: float | None
    unit: str
    reason: str
    message: str
    attempted_at: datetime.datetime | None
    ahead: feeding.Ahead | None = None


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
        self._feeds: dict[str, feeding.Feed] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._networks: dict[str, network.Network] = {}
        self._kept: dict[str, Any] = {}

    def set(
        self,
        name: str,
        spec: Mapping[str, Any],
        created: datetime.datetime,
        *,
        last_good: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a feed, or change one. The same again does nothing; a change restarts this feed alone.

        The last good value outlives a change of the spec, as long as the unit stays and the bounds allow it. A spec
        that cannot be read is a state of its own, InvalidSpec, and nothing is asked.

        Args:
            name: of the PriceFeed.
            spec: its spec as the API server has it.
            created: its creationTimestamp, from which replays are counted; another one is another feed.
            last_good: its status' last good value; it counts the first time a feed is seen, and never again.
        """
        old = self._feeds.get(name)
        spec = dict(spec)
        if old is not None and old.spec == spec and old.created == created:
            return
        try:
            parsed = specs.read(name, spec, created=created, folder=self._folder, look=self._quote)
        except ValueError as problem:
            trouble = cleaning.Trouble(reason="InvalidSpec", message=str(problem))
            feed = feeding.Feed(spec=spec, created=created, parsed=None, trouble=trouble)
        else:
            feed = feeding.Feed(spec=spec, created=created, parsed=parsed)
            if old is not None and old.created == created:
                feed.inherit(old)
            elif old is None and last_good is not None:
                feed.recall(last_good)
        self._stop(name)
        self._feeds[name] = feed
        self._learn(name)
        self._start(name, feed)
        if feed.parsed is None:
            self._announce(name)

    def remove(self, name: str) -> None:
        """Forget a feed; an unknown one is no error."""
        self._stop(name)
        self._feeds.pop(name, None)
        self._kept.pop(name, None)

    def dump(self) -> Any:
        """What feeds have learned of their hours and days, as JSON; also of those that have not been seen again yet."""
        told = {name: feed.learned() for name, feed in self._feeds.items()}
        return self._kept | {name: found for name, found in told.items() if found is not None}

    def load(self, found: Any) -> None:
        """Go on from what was kept, feed by feed as they come. Raises ValueError where it makes no sense."""
        if not isinstance(found, Mapping):
            raise ValueError(f"an object expected, not {type(found).__name__}")
        self._kept = dict(found)
        for name in self._feeds:
            self._learn(name)

    def _learn(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        try:
            self._feeds[name].learn(kept)
        except (ValueError, TypeError, KeyError) as problem:
            _LOG.warning("what was remembered of PriceFeed %s cannot be read: %s", name, problem)

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
                tasks = [task for tasks in self._tasks.values() for task in tasks]
                for name in self._feeds:
                    self._stop(name)
                await asyncio.gather(*tasks, return_exceptions=True)

    def market(self, now: datetime.datetime) -> quotes.Market:
        """All last good values with the trust they deserve at `now`, and what is known of those to come."""
        found: dict[str, quotes.Quote] = {}
        ahead: dict[str, quotes.Curve] = {}
        profiles: dict[str, quotes.Profile] = {}
        for name, feed in self._feeds.items():
            quote = self._quote(name, now)
            if quote is None:
                continue
            found[name] = quote
            usd = self._usd(feed, now)
            known, profile = feed.ahead(now), feed.profile()
            if known is not None and known.curve is not None:
                ahead[name] = known.curve if usd is None else exchange.converted_curve(known.curve, usd=usd)
            if profile is not None:
                profiles[name] = profile if usd is None else exchange.converted_profile(profile, usd=usd)
        return quotes.Market(at=now, quotes=found, curves=ahead, profiles=profiles)

    def state(self, name: str) -> FeedState | None:
        """What is known of a feed now; None for an unknown one."""
        feed = self._feeds.get(name)
        if feed is None:
            return None
        now = self._clock.now()
        quote, unpriced = feeding.in_usd(feed, by=self._rate(feed, now), now=now)
        trouble = unpriced if unpriced is not None and not self._awaited(feed) else feed.trouble
        return FeedState(
            last_good=quote,
            value=feed.value,
            unit=feed.parsed.settings.unit.text if feed.parsed is not None else "",
            reason=trouble.reason if trouble is not None else "",
            message=trouble.message if trouble is not None else "",
            attempted_at=feed.attempted_at,
            ahead=feed.ahead(now),
        )

    def _quote(self, name: str, now: datetime.datetime) -> quotes.Quote | None:
        """A feed's quote in US dollars."""
        feed = self._feeds.get(name)
        return None if feed is None else feeding.in_usd(feed, by=self._rate(feed, now), now=now)[0]

    def _rate(self, feed: feeding.Feed, now: datetime.datetime) -> quotes.Quote | None:
        """The quote of a feed's rate of exchange; None where that is fixed, not needed, or not known."""
        if feed.parsed is None or feed.parsed.exchange is None:
            return None
        by = self._feeds.get(feed.parsed.exchange.feed)
        return by.quote(now) if by is not None else None

    def _usd(self, feed: feeding.Feed, now: datetime.datetime) -> float | None:
        """US dollars for one unit of a feed's currency; None where it is in dollars."""
        if feed.parsed is None or feed.parsed.exchange is None:
            return None
        usd = exchange.rate(feed.parsed.exchange, self._rate(feed, now))
        return None if isinstance(usd, cleaning.Trouble) else usd

    def _awaited(self, feed: feeding.Feed) -> bool:
        """Whether a feed's rate of exchange is about to be asked for the first time."""
        by = feed.parsed.exchange.feed if feed.parsed is not None and feed.parsed.exchange is not None else ""
        other = self._feeds.get(by)
        return other is not None and other.parsed is not None and other.attempted_at is None

    def _start(self, name: str, feed: feeding.Feed) -> None:
        if self._session is None or feed.parsed is None or name in self._tasks:
            return
        source = feed.parsed.source(self._session)
        if isinstance(source, network.Network):
            self._networks[name] = source
        tasks = [
            asyncio.create_task(self._poll(name, feed, parsed=feed.parsed, source=source), name=f"pricefeed/{name}")
        ]
        if feed.parsed.ahead is not None:
            rows = feed.parsed.ahead.source(self._session)
            tasks.append(
                asyncio.create_task(
                    self._poll_rows(name, feed, ahead=feed.parsed.ahead, source=rows), name=f"forecast/{name}"
                )
            )
        self._tasks[name] = tasks

    def _stop(self, name: str) -> None:
        self._networks.pop(name, None)
        for task in self._tasks.pop(name, ()):
            task.cancel()

    async def _poll(self, name: str, feed: feeding.Feed, *, parsed: specs.Parsed, source: sources.Source) -> None:
        while True:
            # One `try` around all that one attempt does: nothing in it may end the feed for good.
            try:
                await self._attempt(name, feed, source=source)
            except Exception as problem:  # noqa: BLE001  whatever it is, the feed must be asked again
                self._crashed(name, feed, problem)
            await self._clock.sleep(parsed.interval_seconds)

    async def _attempt(self, name: str, feed: feeding.Feed, *, source: sources.Source) -> None:
        now = self._clock.now()
        if isinstance(source, network.Network) and any(self._unasked(other) for other in source.inputs):
            # The first answer of the last of them works this one out, too.
            return
        self._take(name, feed, await source.read(now=now), now=now)

    def _unasked(self, name: str) -> bool:
        feed = self._feeds.get(name)
        return feed is not None and feed.parsed is not None and feed.attempted_at is None

    def _take(self, name: str, feed: feeding.Feed, reading: cleaning.Reading, *, now: datetime.datetime) -> None:
        before = feed.trouble
        first = feed.attempted_at is None
        news = feed.take(reading, now=now)
        self._tell(name, feed, before=before, news=news)
        changed = (before.reason if before else "") != (feed.trouble.reason if feed.trouble else "")
        if first or news or changed:
            self._pass_on(name, now=now)

    def _pass_on(self, name: str, *, now: datetime.datetime) -> None:
        """Tell the feeds that depend on this one."""
        for other, feed in self._feeds.items():
            if feed.parsed is not None and feed.parsed.exchange is not None and feed.parsed.exchange.feed == name:
                self._announce(other)
        for other, source in list(self._networks.items()):
            if name in source.inputs and not any(self._unasked(one) for one in source.inputs):
                self._take(other, self._feeds[other], source.work_out(now), now=now)

    async def _poll_rows(self, name: str, feed: feeding.Feed, *, ahead: specs.Ahead, source: sources.Rows) -> None:
        told = ""
        while True:
            now = self._clock.now()
            try:
                feed.take_rows(await source.rows(now=now), now=now)
            except Exception as problem:
                _logger.exception("The forecast of PriceFeed %s crashed and will be asked for again", name)
                message = f"asking for it failed: {type(problem).__name__}"
                feed.take_rows(cleaning.Trouble(reason="SourceCrashed", message=message), now=now)
            known = feed.ahead(now)
            reason = known.reason if known is not None else ""
            if reason != told:
                if known is not None and reason:
                    _logger.warning("The forecast of PriceFeed %s: %s: %s", name, reason, known.message)
                else:
                    _logger.info("The forecast of PriceFeed %s is there again", name)
            told = reason
            self._announce(name)
            await self._clock.sleep(ahead.interval_seconds)

    def _tell(self, name: str, feed: feeding.Feed, *, before: cleaning.Trouble | None, news: bool) -> None:
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

    def _crashed(self, name: str, feed: feeding.Feed, problem: Exception) -> None:
        before = feed.trouble
        feed.attempted_at = self._clock.now()
        # Statuses are read by many, and the text of an unforeseen error may hold anything: its kind must do.
        feed.trouble = cleaning.Trouble(reason="SourceCrashed", message=f"asking it failed: {type(problem).__name__}")
        if before is None or before.reason != "SourceCrashed":
            _logger.error("PriceFeed %s crashed and will be asked again", name, exc_info=problem)
            self._announce(name)


def _nobody(name: str) -> None:
    """Nobody listens yet."""
