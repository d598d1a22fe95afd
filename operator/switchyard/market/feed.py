"""One feed: what is asked of it, and what came of it so far. No I/O and no clock: the time is always given."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from switchyard.market import cleaning, curves, exchange, habits, outliers, quotes, specs

# From this many days on, what a feed has learned of an hour is knowledge that can excuse an unusual value: two of them.
_KNOWN_WEIGHT: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What is known of prices to come.

    Attributes:
        curve: what has been published by now, in the feed's own currency; None where that says nothing of this moment.
        reason: why there is none, or nothing newer, CamelCase; "" where all is well or nobody has asked yet.
        message: the same for people.
        asked: whether the source has been asked.
    """

    curve: quotes.Curve | None
    reason: str = ""
    message: str = ""
    asked: bool = False


class Feed:
    """A feed's memory. Everything in it is in the feed's own currency; `parsed` is None where the spec is unreadable.

    Attributes:
        spec, created: of the object.
        last_good: the last value that was believed; None before the first.
        value: the same in the feed's own unit.
        trouble: why the last attempt gave nothing; None where it gave a value, or is yet to come.
        attempted_at: when the last finished attempt began; None before the first.
    """

    def __init__(
        self,
        *,
        spec: Mapping[str, Any],
        created: datetime.datetime,
        parsed: specs.Parsed | None,
        trouble: cleaning.Trouble | None = None,
    ) -> None:
        self.spec = spec
        self.created = created
        self.parsed = parsed
        self.trouble = trouble
        self.last_good: quotes.Quote | None = None
        self.value: float | None = None
        self.attempted_at: datetime.datetime | None = None
        self._after: datetime.datetime | None = None
        self._guard = parsed.guard() if parsed is not None and parsed.guard is not None else None
        self._habit = habits.Habit()
        self._listing: curves.Listing | None = None
        self._curve: quotes.Curve | None = None
        self._rows_trouble: cleaning.Trouble | None = None
        self._rows_asked = False

    def inherit(self, old: Feed) -> None:
        """Carry over what still means the same after a change of the spec."""
        if old.parsed is None or self.parsed is None:
            return
        same_source = old.spec.get("source") == self.spec.get("source")
        if old.parsed.settings.unit == self.parsed.settings.unit:
            self._habit = old._habit
            if same_source and old.spec.get("outliers") == self.spec.get("outliers"):
                self._guard = old._guard
            if old.value is not None and cleaning.believable(old.value, settings=self.parsed.settings):
                self.last_good, self.value = old.last_good, old.value
                self.trouble, self.attempted_at = old.trouble, old.attempted_at
                # Another source keeps another time; only within one does a value have to be newer than the last.
                self._after = old._after if same_source else None
        if all(old.spec.get(part) == self.spec.get(part) for part in ("forecast", "unit", "bounds")):
            self._listing, self._rows_trouble = old._listing, old._rows_trouble
            self._rows_asked = old._rows_asked

    def recall(self, told: Mapping[str, Any]) -> None:
        """Begin with what the object's status holds as its last good value, from before this process began.

        So the first values after a start are compared with something, and a source that is dead just now has a value
        that ages as it would have.

        Args:
            told: `value`, `unit` and `asOf`, as `status.feed` writes them. What makes no sense is passed over.
        """
        if self.parsed is None or not isinstance(told, Mapping):
            return
        settings = self.parsed.settings
        try:
            value, as_of = float(told["value"]), datetime.datetime.fromisoformat(told["asOf"])
        except (KeyError, TypeError, ValueError):
            return
        if told.get("unit") != settings.unit.text or as_of.tzinfo is None or not math.isfinite(value):
            return
        if not cleaning.believable(value, settings=settings):
            return
        canonical = settings.unit.to_canonical(value)
        self.last_good = quotes.Quote(
            feed=settings.feed,
            quantity=settings.unit.quantity,
            value=canonical,
            as_of=as_of,
            trust=1.0,
            unit=settings.unit.canonical,
        )
        self.value = value
        if self._guard is not None:
            self._guard.recall(canonical, as_of)

    def take(self, reading: cleaning.Reading, *, now: datetime.datetime) -> bool:
        """Take in what an attempt at `now` gave. Whether the value is news."""
        if self.parsed is None:
            raise ValueError("a feed whose spec cannot be read is not asked")
        settings = self.parsed.settings
        result = cleaning.clean(reading, settings=settings, now=now, after=self._after)
        self.attempted_at = now
        if isinstance(result, cleaning.Trouble):
            self.trouble = result
            return False
        held = self._guard.judge(result.value, now=now, expected=self._expected(now)) if self._guard else None
        if held is not None:
            self.trouble = _outlier(held, reading, settings=settings)
            return False
        was = self.last_good
        self.trouble = None
        self.last_good = result
        self.value = cleaning.number(reading.value)
        self._after = result.as_of
        if settings.unit.quantity == quotes.Quantity.ELECTRICITY_PRICE:
            self._habit.note(result.value, now)
        # The same value again is news where the old one had begun to lose its weight.
        return was is None or was.value != result.value or self._trust(was, now) < result.trust

    def take_rows(self, rows: Sequence[curves.Row] | cleaning.Trouble, *, now: datetime.datetime) -> None:
        """Take in what the source of prices to come gave at `now`. Trouble leaves the rows that are there."""
        if self.parsed is None or self.parsed.ahead is None:
            raise ValueError("a feed without a forecast has no rows")
        found = rows
        if not isinstance(found, cleaning.Trouble):
            listed = curves.listing(found, settings=self.parsed.ahead.settings, now=now)
            if isinstance(listed, curves.Listing):
                self._listing = listed
                self._rows_trouble, self._rows_asked = None, True
                return
            found = listed
            # The source answers, but nonsense: what it said before is not to be relied on either.
            self._listing = None
        self._rows_trouble, self._rows_asked = found, True

    def quote(self, now: datetime.datetime) -> quotes.Quote | None:
        """The last good value with the trust it deserves at `now`, in the feed's own currency."""
        if self.last_good is None or self.parsed is None:
            return None
        return cleaning.aged(self.last_good, settings=self.parsed.settings, now=now, trouble=self.trouble)

    def profile(self) -> quotes.Profile | None:
        """What the feed has learned of its hours, in its own currency."""
        return self._habit.profile()

    def learned(self) -> dict[str, Any] | None:
        """The same for another life of the operator, as JSON; None where there is nothing to tell."""
        if self.parsed is None or self._habit.profile() is None:
            return None
        return {"unit": self.parsed.settings.unit.text, **self._habit.dump()}

    def learn(self, found: Mapping[str, Any]) -> None:
        """Take up what `learned` told. Raises ValueError, TypeError or KeyError where it makes no sense."""
        if self.parsed is not None and found["unit"] == self.parsed.settings.unit.text:
            self._habit.load(found)

    def ahead(self, now: datetime.datetime) -> Ahead | None:
        """What is known of prices to come; None where the spec asks for none."""
        if self.parsed is None or self.parsed.ahead is None:
            return None
        curve = self._known(now)
        if self._rows_trouble is not None:
            trouble = self._rows_trouble
        elif curve is None and self._listing is not None:
            trouble = cleaning.Trouble(
                reason="NotPublished",
                message="the source has rows, but of this hour none has been published yet"
                if self._listing.end > now
                else f"the last row ended at {cleaning.shown_time(self._listing.end)}",
            )
        else:
            return Ahead(curve=curve, asked=self._rows_asked)
        return Ahead(curve=curve, reason=trouble.reason, message=trouble.message, asked=True)

    def _known(self, now: datetime.datetime) -> quotes.Curve | None:
        if self._listing is None or self.parsed is None or self.parsed.ahead is None:
            return None
        known = curves.known(self._listing, publication=self.parsed.ahead.publication, now=now)
        # The same object as long as it is the same curve: what is worked out from it is kept by whoever needs it.
        if known != self._curve:
            self._curve = known
        return self._curve

    def _expected(self, now: datetime.datetime) -> list[float]:
        expected = []
        curve = self._known(now)
        if curve is not None:
            expected.append(curve.values[int((now - curve.start).total_seconds() // curve.interval_seconds)])
        profile, hour = self._habit.profile(), now.astimezone(datetime.UTC).hour
        if profile is not None and profile.weights[hour] >= _KNOWN_WEIGHT:
            expected.append(profile.means[hour])
        return expected

    def _trust(self, quote: quotes.Quote, now: datetime.datetime) -> float:
        return cleaning.aged(quote, settings=self.parsed.settings, now=now).trust if self.parsed is not None else 0.0


def in_usd(
    feed: Feed, *, by: quotes.Quote | None, now: datetime.datetime
) -> tuple[quotes.Quote | None, cleaning.Trouble | None]:
    """A feed's quote in US dollars, and what stands in the way of one.

    Args:
        feed: whose quote.
        by: the quote of its exchange feed; None where there is none, or none is needed.
        now: the moment.
    """
    quote = feed.quote(now)
    if quote is None or feed.parsed is None or feed.parsed.exchange is None:
        return quote, None
    usd = exchange.rate(feed.parsed.exchange, by)
    if isinstance(usd, cleaning.Trouble):
        return None, usd
    return exchange.converted(quote, usd=usd, by=by), None


def _outlier(held: outliers.Held, reading: cleaning.Reading, *, settings: cleaning.Settings) -> cleaning.Trouble:
    at = f"{reading.origin}: " if reading.origin else ""
    unit = settings.unit
    mean, sigma = unit.from_canonical(held.mean), unit.from_canonical(held.sigma)
    return cleaning.Trouble(
        reason="Outlier",
        message=f"{at}{reading.value:.6g} {unit.text} is far from what was seen lately ({mean:.4g} on average, give or "
        f"take {sigma:.2g}); the last good value stays, and if it lasts beyond "
        f"{cleaning.shown_time(held.until)} it is believed",
    )
