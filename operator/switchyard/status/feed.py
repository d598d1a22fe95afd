"""A PriceFeed's status: the last good value, and what is wrong where something is."""

from __future__ import annotations

import datetime
from typing import Any, Final

from switchyard.fleet import model
from switchyard.market import feeds, quotes
from switchyard.status import conditions, figures

KNOWN: Final = ("Ready", "Fresh", "Plausible", "ForecastReady")

# The source answers, but with something nobody should act on.
_IMPLAUSIBLE: Final = frozenset(
    {"NotANumber", "OutOfBounds", "NegativeRevenue", "OutOfOrder", "FromTheFuture", "Outlier"}
)


def status(
    feed: model.Feed, *, now: datetime.datetime, state: feeds.FeedState | None, problem: str = ""
) -> dict[str, Any]:
    """A PriceFeed's whole status.

    Args:
        feed: the feed, with its status as it stands.
        now: farm time.
        state: what is known of it, with the trust at `now`; None where nobody has looked yet.
        problem: why the spec could not be read, "" where it could.
    """
    findings = [_fresh(state), _plausible(state), _forecast(feed, state)]
    built: dict[str, Any] = {
        "observedGeneration": feed.generation,
        "conditions": conditions.merge(
            feed.status,
            [_ready(feed, state, problem), *findings],
            known=KNOWN,
            generation=feed.generation,
            now=now,
        ),
        "trust": figures.share(_trust(state)),
    }
    quote = state.last_good if state is not None else None
    if state is not None and quote is not None:
        value, unit = (state.value, state.unit) if state.value is not None and state.unit else (quote.value, quote.unit)
        built["lastGood"] = {"value": figures.rate(value), "unit": unit, "asOf": conditions.moment(quote.as_of)}
        if quote.unit and not _same_money(unit, quote.unit):
            built["converted"] = {"value": figures.rate(quote.value), "unit": quote.unit}
    curve = state.ahead.curve if state is not None and state.ahead is not None else None
    if curve is not None:
        built["forecast"] = {
            "publishedAt": conditions.moment(curve.published_at),
            "until": conditions.moment(curve.start + _span(curve)),
        }
    if state is not None and state.reason:
        built["lastError"] = f"{state.reason}: {state.message}" if state.message else state.reason
    return built


def _same_money(unit: str, other: str) -> bool:
    return unit.partition("/")[0] == other.partition("/")[0]


def _span(curve: quotes.Curve) -> datetime.timedelta:
    return datetime.timedelta(seconds=curve.interval_seconds * len(curve.values))


def _forecast(feed: model.Feed, state: feeds.FeedState | None) -> conditions.Finding:
    if "forecast" not in feed.spec:
        return conditions.unknown(
            "ForecastReady", "NotAsked", "The spec asks for no forecast: what is to come is learned from past values."
        )
    ahead = state.ahead if state is not None else None
    if ahead is None or not (ahead.asked or ahead.reason):
        return conditions.unknown("ForecastReady", "NotYetAsked", "The forecast has not been asked for yet.")
    if ahead.curve is None:
        return conditions.false(
            "ForecastReady",
            ahead.reason or "NoRows",
            f"{ahead.message}. Until it comes, what is to come is learned from past values.",
        )
    if ahead.reason:
        return conditions.true(
            "ForecastReady", "LastRows", f"The last attempt failed, the rows from before count: {ahead.message}."
        )
    return conditions.true("ForecastReady", "Published", "Prices to come are known as far as they are published.")


def _trust(state: feeds.FeedState | None) -> float:
    return state.last_good.trust if state is not None and state.last_good is not None else 0.0


def _meanwhile(feed_quantity: str | None, trust: float, *, ever: bool) -> str:
    """What the farm does while the feed is silent."""
    electricity = feed_quantity == quotes.Quantity.ELECTRICITY_PRICE
    if trust > 0:
        return "The farm goes on with the last good value, which counts for less the older it gets."
    if not electricity and feed_quantity != quotes.Quantity.COIN_REVENUE:
        return "Feeds that are worked out from it have no new value until a good one comes."
    if electricity:
        return "Rigs that pay this price keep what they do until a good one comes."
    if ever:
        return "No rig is moved to or from this coin until a good value comes; those that mine it keep on."
    return "The coin is not mined until a value comes."


def _ready(feed: model.Feed, state: feeds.FeedState | None, problem: str) -> conditions.Finding:
    quantity = feed.spec.get("quantity")
    if problem:
        return conditions.false("Ready", "InvalidSpec", problem)
    if state is None or (state.last_good is None and not state.reason):
        return conditions.unknown("Ready", "NotYetAsked", "The source has not been asked yet.")
    trust = _trust(state)
    ever = state.last_good is not None
    wrong = state.message.rstrip(".") or state.reason
    if not ever:
        return conditions.false(
            "Ready", state.reason, f"No value yet: {wrong}. {_meanwhile(quantity, trust, ever=ever)}"
        )
    if trust <= 0:
        reason = state.reason or "Stale"
        since = f"The last good value is of {conditions.moment(state.last_good.as_of)}" if state.last_good else ""
        because = f": {wrong}" if state.reason else " and too old"
        return conditions.false("Ready", reason, f"{since}{because}. {_meanwhile(quantity, trust, ever=ever)}")
    if state.reason:
        return conditions.true(
            "Ready", "LastGoodValue", f"The last attempt failed: {wrong}. {_meanwhile(quantity, trust, ever=ever)}"
        )
    if trust < 1:
        return conditions.true(
            "Ready", "Ageing", f"The source gives nothing newer. {_meanwhile(quantity, trust, ever=ever)}"
        )
    return conditions.true("Ready", "Good", "The source answers, and its value is fresh and plausible.")


def _fresh(state: feeds.FeedState | None) -> conditions.Finding:
    if state is None or state.last_good is None:
        return conditions.unknown("Fresh", "NoValue", "There is no value yet.")
    of = f"The last good value is of {conditions.moment(state.last_good.as_of)}."
    trust = state.last_good.trust
    if trust >= 1:
        # No time here: it moves with every value, and a message that is not rewritten would come to be wrong.
        return conditions.true("Fresh", "Fresh", "The last good value is fresh.")
    if trust > 0:
        return conditions.false("Fresh", "Ageing", f"{of} It counts in part.")
    return conditions.false("Fresh", "Dead", f"{of} It does not count any more.")


def _plausible(state: feeds.FeedState | None) -> conditions.Finding:
    if state is None or (state.last_good is None and not state.reason):
        return conditions.unknown("Plausible", "NotYetAsked", "The source has not been asked yet.")
    if state.reason in _IMPLAUSIBLE:
        return conditions.false("Plausible", state.reason, state.message)
    if state.reason:
        # It did not answer at all, so nothing can be said about what it would have.
        return conditions.unknown("Plausible", state.reason, state.message)
    return conditions.true("Plausible", "WithinBounds", "The last value is one to believe.")
