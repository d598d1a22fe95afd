"""What prices will be: curves, habits and persistence; the learning of habits."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import itertools
import json
import math
import os
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.market import forecast, habits, quotes

NOW = datetime.datetime(2026, 3, 1, 12, 20, tzinfo=datetime.UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0)
PRICES = st.floats(min_value=-500, max_value=5000, allow_nan=False)


def curve(values: list[float], start: datetime.datetime = MIDNIGHT, interval: int = 3600) -> quotes.Curve:
    return quotes.Curve(start=start, interval_seconds=interval, values=tuple(values), published_at=start)


def profile(means: list[float], weight: float = 1.0) -> quotes.Profile:
    return quotes.Profile(means=tuple(means), weights=(weight,) * 24)


def test_steps_are_ten_minutes_then_hours_and_end_after_two_days() -> None:
    hours = forecast.path(value=1.0, now=NOW, curve=curve([1.0] * 48)).hours
    assert hours[:4] == pytest.approx([0, 1 / 6, 1 / 3, 1 / 2])
    steps = [round((later - earlier) * 60, 6) for earlier, later in itertools.pairwise(hours)]
    assert set(steps) == {10.0, 60.0}
    assert steps == sorted(steps)
    # From 14:20 on only whole hours of the clock: 15:00 is 2 h 40 min ahead.
    assert steps.count(10.0) == 16
    assert hours[-1] == pytest.approx(48 - 20 / 60)


@given(seconds=st.floats(min_value=0, max_value=86_399), half_life=st.floats(min_value=60, max_value=1e6))
def test_steps_rise_whatever_the_moment(seconds: float, half_life: float) -> None:
    now = MIDNIGHT + datetime.timedelta(seconds=seconds)
    path = forecast.path(value=2.0, now=now, curve=curve([1.0] * 24), half_life_seconds=half_life)
    assert len(path.hours) == len(path.values)
    assert path.hours[0] == 0
    assert all(earlier < later for earlier, later in itertools.pairwise(path.hours))
    assert 47 < path.hours[-1] <= 48.01


def test_a_difference_from_the_curve_fades_with_its_half_life() -> None:
    # 30 now where the curve says 10: 20 too many, 10 of them left after two hours, 5 after four.
    path = forecast.path(value=30.0, now=MIDNIGHT, curve=curve([10.0] * 24))
    assert path.values[0] == 30.0
    for ahead, expected in ((2.5, 10 + 20 * 2**-1.25), (4.5, 10 + 20 * 2**-2.25), (20.5, 10 + 20 * 2**-10.25)):
        assert forecast.at(path, ahead) == pytest.approx(expected)


def test_the_shape_of_the_curve_is_followed() -> None:
    shape = [float(hour) for hour in range(24)]
    path = forecast.path(value=12.0, now=NOW, curve=curve(shape))
    assert forecast.at(path, 1.0) == 13.0
    assert forecast.at(path, 11.0) == 23.0
    # Past its end, the same hours of its last day: tomorrow noon is like today's.
    assert forecast.at(path, 24.0) == 12.0
    assert forecast.at(path, 35.0) == 23.0


def test_quarters_of_an_hour_are_seen() -> None:
    path = forecast.path(value=0.0, now=MIDNIGHT, curve=curve([float(quarter) for quarter in range(96)], interval=900))
    assert [forecast.at(path, minutes / 60) for minutes in (16, 31, 46, 61)] == pytest.approx([1, 2, 3, 4])


def test_a_short_curve_goes_on_with_its_mean() -> None:
    path = forecast.path(value=1.0, now=MIDNIGHT, curve=curve([1.0, 3.0]))
    assert forecast.at(path, 30.0) == pytest.approx(2.0)


@pytest.mark.parametrize("start", [NOW + datetime.timedelta(minutes=1), NOW - datetime.timedelta(hours=24)])
def test_a_curve_that_does_not_hold_the_moment_is_passed_over(start: datetime.datetime) -> None:
    path = forecast.path(value=7.0, now=NOW, curve=curve([1.0] * 24, start=start))
    assert path == forecast.Path(hours=(0.0,), values=(7.0,))


def test_what_comes_after_is_the_mean_of_the_last_day() -> None:
    path = forecast.path(value=12.0, now=NOW, curve=curve([float(hour) for hour in range(24)]))
    assert path.values[-1] == pytest.approx(11.5)
    assert forecast.at(path, 1e6) == path.values[-1]


@given(value=PRICES, values=st.lists(PRICES, min_size=24, max_size=48))
def test_a_path_stays_between_what_it_was_told(value: float, values: list[float]) -> None:
    path = forecast.path(value=value, now=NOW, curve=curve(values))
    apart = abs(value - values[12])
    assert min(values) - apart - 1e-6 <= min(path.values)
    assert max(path.values) <= max(values) + apart + 1e-6
    assert path.values[0] == value


def test_a_profile_counts_by_its_weight() -> None:
    means = [10.0] * 24
    means[18] = 40.0
    sure = forecast.path(value=10.0, now=NOW, profile=profile(means))
    half = forecast.path(value=10.0, now=NOW, profile=profile(means, weight=0.5))
    assert forecast.at(sure, 6.0) == pytest.approx(40.0)
    assert forecast.at(half, 6.0) == pytest.approx(25.0)
    # Both believe the value of now at first.
    assert (sure.values[0], half.values[0]) == (10.0, 10.0)


def test_an_hour_never_seen_is_persistence() -> None:
    means, weights = [0.0] * 24, [0.0] * 24
    means[12], weights[12] = 5.0, 0.9
    path = forecast.path(value=8.0, now=NOW, profile=quotes.Profile(means=tuple(means), weights=tuple(weights)))
    assert forecast.at(path, 5.0) == 8.0


def test_with_nothing_known_all_stays_as_it_is() -> None:
    assert forecast.path(value=7.0, now=NOW) == forecast.Path(hours=(0.0,), values=(7.0,))
    assert forecast.path(value=7.0, now=NOW, profile=profile([1.0] * 24, weight=0.0)).values == (7.0,)


def test_with_a_profile_a_path_goes_on_for_a_week_in_blocks_of_six_hours() -> None:
    path = forecast.path(value=1.0, now=NOW, profile=profile([1.0] * 24))
    steps = [round(later - earlier, 6) for earlier, later in itertools.pairwise(path.hours)]
    assert set(steps) == {round(1 / 6, 6), 1.0, 6.0}
    assert steps.count(6.0) == 20
    assert 167 < path.hours[-1] <= 168
    assert len(path.hours) == len(path.values)


def test_a_block_is_the_mean_of_its_hours() -> None:
    path = forecast.path(value=0.0, now=MIDNIGHT, profile=profile([float(hour) for hour in range(24)]))
    assert [forecast.at(path, 48 + ahead) for ahead in (3, 9, 15, 21)] == pytest.approx([2.5, 8.5, 14.5, 20.5])
    assert path.values[-1] == pytest.approx(11.5)


def test_weekends_are_seen_coming() -> None:
    # The first of March 2026 is a Sunday; the next Saturday is 6 days ahead.
    cheap = dataclasses.replace(profile([10.0] * 24), weekdays=(0.0, 0.0, 0.0, 0.0, 0.0, -4.0, -6.0))
    path = forecast.path(value=4.0, now=MIDNIGHT, profile=cheap)
    assert [forecast.at(path, 24 * day + 9) for day in range(7)] == pytest.approx([4, 10, 10, 10, 10, 10, 6])
    ahead = forecast.path(value=4.0, now=MIDNIGHT, curve=curve([4.0] * 24), profile=cheap)
    assert [forecast.at(ahead, 24 * day + 9) for day in range(7)] == pytest.approx([4, 10, 10, 10, 10, 10, 6])


@pytest.mark.parametrize("known", [None, curve([20.0] * 24)])
def test_a_dear_day_is_forgotten_day_by_day(known: quotes.Curve | None) -> None:
    dear = dataclasses.replace(profile([10.0] * 24), last_day=20.0)
    path = forecast.path(value=20.0, now=MIDNIGHT, curve=known, profile=dear)
    middle = -12.0 if known is None else 12.0
    for ahead in (30.5, 40.5, 75.0, 141.0):
        left = forecast.LEFT_A_DAY ** ((ahead - middle) / 24)
        assert forecast.at(path, ahead) == pytest.approx(10 + 10 * left, abs=0.01)
    assert path.values[-1] == pytest.approx(10.0)


def test_what_is_usual_lies_between_two_weeks_and_eight() -> None:
    path = forecast.path(value=10.0, now=MIDNIGHT, profile=dataclasses.replace(profile([10.0] * 24), weeks=14.0))
    assert forecast.at(path, 24.5) == pytest.approx(12.0, abs=0.01)
    assert path.values[-1] == pytest.approx(12.0)


# --- habits ----------------------------------------------------------------------------------------------------


def hours(count: int) -> list[datetime.datetime]:
    return [MIDNIGHT + datetime.timedelta(hours=ahead) for ahead in range(count)]


def test_nothing_is_known_before_the_first_value() -> None:
    assert habits.Habit().profile() is None


def test_means_and_weights_by_hour() -> None:
    habit = habits.Habit()
    for moment in hours(48):
        habit.note(moment.hour + 100.0 * (moment.day - 1), moment)
    known = habit.profile()
    assert known is not None
    assert known.means[7] == pytest.approx(57.0)
    assert known.weights == (0.5,) * 24


def test_a_day_counts_once_however_often_it_was_asked() -> None:
    habit = habits.Habit()
    for minute in range(60):
        habit.note(10.0, MIDNIGHT + datetime.timedelta(minutes=minute))
    habit.note(20.0, MIDNIGHT + datetime.timedelta(days=1))
    known = habit.profile()
    assert known is not None
    assert known.means[0] == 15.0


def test_two_weeks_are_remembered_and_no_more() -> None:
    habit = habits.Habit()
    for moment in hours(24 * 20):
        habit.note(1000.0 if moment < MIDNIGHT + datetime.timedelta(days=6) else 10.0, moment)
    known = habit.profile()
    assert known is not None
    assert known.means == (10.0,) * 24
    assert known.weights == (14 / 16,) * 24


def test_weekdays_and_weeks_are_learned_from_whole_days() -> None:
    habit = habits.Habit()
    for moment in hours(28 * 24):
        habit.note(4.0 if moment.weekday() >= 5 else 10.0, moment)
    before = habit.profile()
    habit.note(10.0, MIDNIGHT + datetime.timedelta(days=28))
    known = habit.profile()
    assert before is not None
    assert known is not None
    usual = (20 * 10 + 8 * 4) / 28
    # Four of each, and two that are believed to be like all others.
    assert known.weekdays == pytest.approx([*[(10 - usual) * 4 / 6] * 5, *[(4 - usual) * 4 / 6] * 2])
    assert known.weeks == pytest.approx(usual)
    assert before.weekdays != known.weekdays


def test_the_last_day_is_the_last_value_of_every_hour() -> None:
    habit = habits.Habit()
    for moment in hours(23):
        habit.note(1.0, moment)
    short = habit.profile()
    for moment in hours(36)[23:]:
        habit.note(1.0 if moment.day == 1 else 3.0, moment)
    known = habit.profile()
    assert short is not None
    assert known is not None
    assert short.last_day is None
    assert known.last_day == pytest.approx(2.0)


def test_what_was_learned_outlives_the_process() -> None:
    first = habits.Habit()
    moments = hours(20 * 24 + 7)
    for moment in moments:
        first.note(moment.hour + 10.0 * moment.weekday(), moment)
    second = habits.Habit()
    second.load(json.loads(json.dumps(first.dump())))
    assert second.profile() == first.profile()
    # What has been seen since counts, not what was kept of the same hour.
    third = habits.Habit()
    third.note(99.0, moments[-1])
    third.load(first.dump())
    assert third.dump() != first.dump()
    for habit in (first, second):
        habit.note(3.0, moments[-1] + datetime.timedelta(days=1))
    assert second.profile() == first.profile()


def test_days_to_come_are_forgotten_when_a_replay_begins_anew() -> None:
    habit = habits.Habit()
    for moment in hours(20 * 24):
        habit.note(50.0, moment + datetime.timedelta(days=300))
    for moment in hours(30):
        habit.note(1.0, moment)
    known = habit.profile()
    assert known is not None
    assert set(known.means) == {1.0}
    assert known.weeks == 1.0


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"hours": [[1, 24, 1.0]], "days": []},
        {"hours": [[1, 1, "much"]], "days": []},
        {"hours": [[1, 1, math.nan]], "days": []},
        {"hours": [], "days": [[1]]},
        {"hours": 7, "days": []},
    ],
)
def test_nonsense_is_not_taken_up(found: dict[str, Any]) -> None:
    habit = habits.Habit()
    with pytest.raises((ValueError, TypeError, KeyError)):
        habit.load(found)
    assert habit.profile() is None


@given(st.lists(st.tuples(PRICES, st.integers(min_value=0, max_value=40 * 24)), min_size=1, max_size=60))
def test_means_lie_within_what_was_seen(noted: list[tuple[float, int]]) -> None:
    habit = habits.Habit()
    for value, ahead in noted:
        habit.note(value, MIDNIGHT + datetime.timedelta(hours=ahead))
    known = habit.profile()
    assert known is not None
    low, high = min(value for value, _ in noted), max(value for value, _ in noted)
    for mean, weight in zip(known.means, known.weights, strict=True):
        assert 0 <= weight < 1
        assert weight == 0 or low - 1e-6 <= mean <= high + 1e-6


# --- on real prices --------------------------------------------------------------------------------------------

TRACES = Path(os.environ.get("SWITCHYARD_TRACES", Path(__file__).parents[3] / "shared" / "traces"))


@pytest.mark.parametrize(("market", "better"), [("DE", 0.95), ("FR", 0.90), ("PJM", 0.90), ("BE", 0.97)])
def test_habits_beat_persistence_on_real_prices(market: str, better: float) -> None:
    trace = TRACES / "elec_epf_hourly_with_forecasts.csv"
    if not trace.exists():
        pytest.skip("the trace of hourly power prices is not here: set SWITCHYARD_TRACES to its folder")
    with trace.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["market"] == market][: 24 * 120]
    series = [
        (datetime.datetime.fromisoformat(row["ts"]).replace(tzinfo=datetime.UTC), float(row["price"])) for row in rows
    ]
    habit = habits.Habit()
    ours: list[float] = []
    persistent: list[float] = []
    for index, (moment, price) in enumerate(series[:-24]):
        habit.note(price, moment)
        if index % 5 or index < 24 * 7:
            continue
        path = forecast.path(value=price, now=moment, profile=habit.profile())
        for ahead in (3, 6, 12, 18):
            truth = series[index + ahead][1]
            ours.append(abs(forecast.at(path, ahead) - truth))
            persistent.append(abs(price - truth))
    assert math.isfinite(statistics.fmean(ours))
    assert statistics.fmean(ours) < better * statistics.fmean(persistent)


@pytest.mark.parametrize("market", ["DE", "NP", "PJM", "FR", "BE"])
def test_the_days_after_a_curve_are_foretold_better_than_by_its_last(market: str) -> None:
    trace = TRACES / "elec_epf_hourly_with_forecasts.csv"
    if not trace.exists():
        pytest.skip("the trace of hourly power prices is not here: set SWITCHYARD_TRACES to its folder")
    with trace.open() as lines:
        prices = [float(row["price"]) for row in csv.DictReader(lines) if row["market"] == market][: 24 * 365]
    habit = habits.Habit()
    squares = [0.0, 0.0]
    for day in range(len(prices) // 24 - 7):
        start = MIDNIGHT + datetime.timedelta(days=day)
        today = prices[24 * day : 24 * day + 24]
        if day >= 28:
            path = forecast.path(value=today[0], now=start, curve=curve(today, start=start), profile=habit.profile())
            for ahead in range(1, 7):
                hours_ = range(24 * ahead, 24 * ahead + 24)
                truth = statistics.fmean(prices[24 * day + hour] for hour in hours_)
                ours = statistics.fmean(forecast.at(path, hour + 0.5) for hour in hours_)
                squares[0] += (ours - truth) ** 2
                squares[1] += (statistics.fmean(today) - truth) ** 2
        for hour, price in enumerate(today):
            habit.note(price, start + datetime.timedelta(hours=hour))
    assert squares[0] < 0.8 * squares[1]
