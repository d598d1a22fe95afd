"""From what a source gave to a quote, or to a refusal that people understand. Pure: the time is always given.

A source may be dead, late or absurd; none of this may move a rig. So a reading either becomes a quote or is refused
as a whole, the last good quote stays, and its trust falls with its age. The first good reading after a failure counts
at once.
"""

from __future__ import annotations

import dataclasses
import datetime
import math

from switchyard.market import quotes, units

AHEAD_SECONDS = 60.0
"""How far a source's clock may run ahead of ours before its word is refused."""

_STEEPNESS = 49.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why there is no new value: `reason` CamelCase, `message` for people, without URLs' queries and passwords."""

    reason: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a source gave on one attempt: a value of whatever type, or trouble.

    Attributes:
        value: as the source gave it, in the feed's unit; nobody has looked at it yet.
        as_of: the moment it speaks of, aware; None where the source does not say, then the attempt's own moment counts.
        origin: where it was found, for messages: a file and line, a URL without its query.
        trouble: why there is no value; then the above mean nothing.
    """

    value: object = None
    as_of: datetime.datetime | None = None
    origin: str = ""
    trouble: Trouble | None = None

    @classmethod
    def failed(cls, reason: str, message: str) -> Reading:
        """An attempt that gave no value."""
        return cls(trouble=Trouble(reason=reason, message=message))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a feed expects of its source.

    Attributes:
        feed: name of the PriceFeed.
        unit: of the values the source gives; it fixes the quantity.
        fresh_seconds: age up to which a value is fully trusted.
        dead_seconds: age from which it is not trusted at all.
        minimum: least believable value in the feed's unit, or None.
        maximum: largest believable value in the feed's unit, or None.
    """

    feed: str
    unit: units.Unit
    fresh_seconds: float
    dead_seconds: float
    minimum: float | None = None
    maximum: float | None = None


def trust(age_seconds: float, *, fresh_seconds: float, dead_seconds: float) -> float:
    """How far a value of this age may be relied on: 1 while fresh, 0 from `dead_seconds` on, falling in between.

    Profit switchers of miners let a price count fully for 10 minutes and not at all after 60, first slowly, then fast,
    along a logarithm of the time that is left (RainbowMiner). This is such a curve without the jump at the end: with r
    the part of the time between fresh and dead that is left, ln(1 + 49 r) / ln(50). At 10 and 60 minutes: 0.94 after 20
    minutes, 0.83 after 35, 0.61 after 50, 0.17 after 59.

    A negative age (a clock that runs a little ahead) counts as fresh.
    """
    if age_seconds >= dead_seconds:
        return 0.0
    if age_seconds <= fresh_seconds:
        return 1.0
    left = (dead_seconds - age_seconds) / (dead_seconds - fresh_seconds)
    return math.log1p(_STEEPNESS * left) / math.log1p(_STEEPNESS)


def clean(
    reading: Reading, *, settings: Settings, now: datetime.datetime, after: datetime.datetime | None = None
) -> quotes.Quote | Trouble:
    """Make a quote of a reading, or say why not.

    Args:
        reading: what the source gave.
        settings: what the feed expects of it.
        now: the moment of the attempt.
        after: the moment the last good value of the same source speaks of; older ones are out of order.
    """
    if reading.trouble is not None:
        return reading.trouble
    at = f"{reading.origin}: " if reading.origin else ""
    unit = settings.unit

    value = number(reading.value)
    if value is None:
        return Trouble(reason="NotANumber", message=f"{at}{_shown(reading.value)} is not a finite number")
    if trouble := _bounded(value, settings=settings, at=at):
        return trouble
    if unit.quantity == quotes.Quantity.COIN_REVENUE and value < 0:
        return Trouble(
            reason="NegativeRevenue",
            message=f"{at}{value:g} {unit.text} is negative; mining can earn nothing, but not less than nothing",
        )
    converted = unit.to_canonical(value)
    if not math.isfinite(converted):
        return Trouble(reason="NotANumber", message=f"{at}{value:g} {unit.text} is too large to be a price")

    as_of = reading.as_of or now
    if (as_of - now).total_seconds() > AHEAD_SECONDS:
        return Trouble(
            reason="FromTheFuture",
            message=f"{at}the value is of {shown_time(as_of)}, but it is only {shown_time(now)}: is a clock wrong?",
        )
    # A last value that lies ahead of us ourselves was taken before our clock was set back; it must not block the feed.
    if after is not None and as_of < after and (after - now).total_seconds() <= AHEAD_SECONDS:
        return Trouble(
            reason="OutOfOrder",
            message=f"{at}the value of {shown_time(as_of)} is ignored: the one of {shown_time(after)} is newer",
        )
    return aged(
        quotes.Quote(
            feed=settings.feed, quantity=unit.quantity, value=converted, as_of=as_of, trust=1.0, unit=unit.canonical
        ),
        settings=settings,
        now=now,
    )


def aged(
    quote: quotes.Quote, *, settings: Settings, now: datetime.datetime, trouble: Trouble | None = None
) -> quotes.Quote:
    """The same quote with the trust it deserves at `now`; below 1.0 it says why.

    Args:
        quote: a good quote.
        settings: of its feed.
        now: the moment to speak of.
        trouble: what stands in the way of a newer value, if anything is known to.
    """
    age = (now - quote.as_of).total_seconds()
    # Our own clock was set back far: nobody can tell how old this value is.
    known = trust(age, fresh_seconds=settings.fresh_seconds, dead_seconds=settings.dead_seconds)
    left = known if age >= -AHEAD_SECONDS else 0.0
    if left >= 1.0:
        if quote.trust >= 1.0:
            return quote
        reason = message = ""
    elif trouble is not None:
        reason, message = trouble.reason, trouble.message
    elif age < 0:
        reason, message = "FromTheFuture", f"the last value is of {shown_time(quote.as_of)}, which is yet to come"
    else:
        # The moment rather than the age: a text that changes every second would be written to the cluster every second.
        reason, message = "Stale", f"the last value is of {shown_time(quote.as_of)}; the source has given no newer one"
    # Not dataclasses.replace: this runs for every feed at every plan, and replace costs three times as much.
    return quotes.Quote(
        feed=quote.feed,
        quantity=quote.quantity,
        value=quote.value,
        as_of=quote.as_of,
        trust=left,
        reason=reason,
        message=message,
        unit=quote.unit,
    )


def number(value: object) -> float | None:
    """The value as a finite float; None for anything else, such as texts, true, null and NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def believable(value: float, *, settings: Settings) -> bool:
    """Whether a value in the feed's unit lies within its bounds."""
    return _bounded(value, settings=settings, at="") is None


def shown_time(moment: datetime.datetime) -> str:
    """A moment as messages show it: ISO 8601 in UTC, to the second."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bounded(value: float, *, settings: Settings, at: str) -> Trouble | None:
    unit = settings.unit.text
    if settings.minimum is not None and value < settings.minimum:
        side, bound = "below", settings.minimum
    elif settings.maximum is not None and value > settings.maximum:
        side, bound = "above", settings.maximum
    else:
        return None
    low = "-inf" if settings.minimum is None else f"{settings.minimum:g}"
    high = "inf" if settings.maximum is None else f"{settings.maximum:g}"
    return Trouble(
        reason="OutOfBounds",
        message=f"{at}{value:.10g} {unit} is {side} {bound:g} {unit}; the bounds are {low} to {high} {unit}",
    )


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"{value}".lower()
        case str():
            return f"the text {value[:40]!r}"
        case int():
            return "a number with too many digits"
        case float():
            return f"{value}"
        case _:
            return f"a {'list' if isinstance(value, list) else 'JSON object' if isinstance(value, dict) else 'thing'}"
