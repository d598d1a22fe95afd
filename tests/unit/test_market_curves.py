"""Published prices: which rows are refused, and what may be known when."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.market import cleaning, curves, quotes, units

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOW = datetime.datetime(2026, 3, 3, 9, 30, tzinfo=datetime.UTC)
MIDNIGHT = datetime.datetime(2026, 3, 2, 23, tzinfo=datetime.UTC)  # of Berlin, on the 3rd
SETTINGS = cleaning.Settings(
    feed="power",
    unit=units.unit("EUR/MWh", quantity=quotes.Quantity.ELECTRICITY_PRICE),
    fresh_seconds=600,
    dead_seconds=3600,
    minimum=-500,
    maximum=4000,
)
RULE = curves.Publication(hour=datetime.time(14), zone=BERLIN)


def hour(count: float) -> datetime.timedelta:
    return datetime.timedelta(hours=count)


def rows(*values: object, start: datetime.datetime = MIDNIGHT, step: float = 1.0) -> list[curves.Row]:
    return [curves.Row(start + hour(step * index), value, f"p.csv:{index + 2}") for index, value in enumerate(values)]


def found(given: list[curves.Row], now: datetime.datetime = NOW) -> curves.Listing:
    made = curves.listing(given, settings=SETTINGS, now=now)
    assert isinstance(made, curves.Listing), made
    return made


def refused(given: list[curves.Row], now: datetime.datetime = NOW) -> cleaning.Trouble:
    made = curves.listing(given, settings=SETTINGS, now=now)
    assert isinstance(made, cleaning.Trouble), made
    return made


def test_rows_become_values_in_the_canonical_unit() -> None:
    made = found(rows(*range(24)))
    assert (made.start, made.interval_seconds, made.end) == (MIDNIGHT, 3600, MIDNIGHT + hour(24))
    assert made.values[:3] == (0.0, 0.001, 0.002)


def test_quarters_of_an_hour() -> None:
    assert found(rows(*range(96), step=0.25)).interval_seconds == 900


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        ([], "NoRows", "no rows"),
        (rows(*range(12))[:4] + rows(*range(24))[16:], "Gap", "between 2026-03-03T02:00:00Z and 2026-03-03T15:00:00Z"),
        (rows(*range(10), float("nan"), 3), "NotANumber", "p.csv:12"),
        (rows(*range(10), "12,5", 3), "NotANumber", "p.csv:12"),
        (rows(*range(10), None, 3), "NotANumber", "p.csv:12"),
        (rows(*range(10), 9000, 3), "OutOfBounds", "9000 EUR/MWh is outside"),
        (list(reversed(rows(*range(24)))), "TimesNotRising", "p.csv:24"),
        ([*rows(1, 2), *rows(3)], "TimesNotRising", "does not come after that of p.csv:3"),
        (rows(*range(24), start=MIDNIGHT - hour(24 * 30)), "TooOld", "the last is of 2026-02-01"),
        (rows(*range(8), start=MIDNIGHT), "TooOld", "ended at 2026-03-03T07:00:00Z"),
        (rows(*range(24), start=MIDNIGHT + hour(24 * 30)), "NoRows", "no rows near"),
        (rows(*range(600), step=1 / 120), "BadSteps", "30 s apart"),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_its_place(given: list[curves.Row], reason: str, words: str) -> None:
    trouble = refused(given)
    assert trouble.reason == reason
    assert words in trouble.message


def test_gaps_of_the_past_only_shorten_the_curve() -> None:
    given = rows(*range(40))
    made = found(given[:5] + given[8:])
    assert (made.start, made.values[0]) == (MIDNIGHT + hour(8), 0.008)


def test_a_file_of_years_is_cut_to_the_days_around_now() -> None:
    made = found(rows(*range(24 * 60), start=MIDNIGHT - hour(24 * 30)))
    assert NOW - hour(26) < made.start <= NOW - hour(24)
    assert made.end <= NOW + hour(74)


# --- publication -------------------------------------------------------------------------------------------------


def known(now: datetime.datetime, given: curves.Listing, rule: curves.Publication = RULE) -> quotes.Curve | None:
    return curves.known(given, publication=rule, now=now)


def test_a_day_is_not_known_before_its_hour_of_publication() -> None:
    # Rows of the 3rd and 4th of March, Berlin. The 4th is published on the 3rd at 14:00 Berlin, 13:00 UTC.
    given = found(rows(*range(48)))
    before = known(datetime.datetime(2026, 3, 3, 12, 59, tzinfo=datetime.UTC), given)
    after = known(datetime.datetime(2026, 3, 3, 13, 0, tzinfo=datetime.UTC), given)
    assert before is not None
    assert after is not None
    assert (len(before.values), len(after.values)) == (24, 48)
    assert before.published_at == datetime.datetime(2026, 3, 2, 13, tzinfo=datetime.UTC)
    assert after.published_at == datetime.datetime(2026, 3, 3, 13, tzinfo=datetime.UTC)


def test_nothing_is_known_where_this_hour_is_not_published() -> None:
    given = found(rows(*range(24), start=MIDNIGHT + hour(24)))
    assert known(NOW, given) is None
    assert known(MIDNIGHT + hour(13), given) is None, "published, but the rows begin tomorrow"
    assert known(MIDNIGHT + hour(24), given) is not None
    assert known(MIDNIGHT + hour(48), given) is None, "over"


def test_the_hour_of_publication_follows_the_clocks_on_the_wall() -> None:
    # Summer time begins on 2026-03-29 in Berlin: 14:00 is 13:00 UTC before and 12:00 UTC from then on.
    assert RULE.published(datetime.datetime(2026, 3, 29, 0, tzinfo=datetime.UTC)) == datetime.datetime(
        2026, 3, 28, 13, tzinfo=datetime.UTC
    )
    assert RULE.published(datetime.datetime(2026, 3, 30, 0, tzinfo=datetime.UTC)) == datetime.datetime(
        2026, 3, 29, 12, tzinfo=datetime.UTC
    )


def test_a_replays_days_are_those_of_its_file() -> None:
    # The file's 2021-02-13 00:00 is played at 2026-03-03 09:30: everything moves along.
    shift = NOW - datetime.datetime(2021, 2, 13, tzinfo=datetime.UTC)
    rule = curves.Publication(hour=datetime.time(14), zone=zoneinfo.ZoneInfo("UTC"), shift=shift)
    assert rule.published(NOW + hour(25)) == NOW + hour(14)
    assert rule.published(NOW + hour(23)) == NOW - hour(10)


@given(minutes=st.integers(0, 48 * 60), step=st.sampled_from([1.0, 0.5, 0.25]))
def test_nothing_of_a_curve_was_published_after_now(minutes: int, step: float) -> None:
    now = MIDNIGHT + datetime.timedelta(minutes=minutes)
    given = found(rows(*range(int(96 / step)), start=MIDNIGHT - hour(24), step=step), now=MIDNIGHT)
    curve = known(now, given)
    if curve is None:
        return
    last = curve.start + datetime.timedelta(seconds=curve.interval_seconds * (len(curve.values) - 1))
    assert RULE.published(last) == curve.published_at <= now
    assert curve.start <= now <= last + hour(step)
    assert curve.values == given.values[: len(curve.values)]
