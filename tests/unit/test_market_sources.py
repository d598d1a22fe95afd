"""The pure halves of the sources: moments, JSON pointers, tables, addresses without secrets."""

from __future__ import annotations

import contextlib
import datetime
import json
import zoneinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.market.sources import moments, pointer, table, web

UTC = datetime.UTC
CHICAGO = zoneinfo.ZoneInfo("America/Chicago")
EPOCH = datetime.datetime(2026, 1, 1, tzinfo=UTC)


def layout(**changes: Any) -> table.Layout:
    return table.Layout(**{"json_lines": False, "time_column": "time", "value_column": "value", "where": {}, **changes})


def parse(text: str, **changes: Any) -> table.Table:
    return table.parse(text, layout=layout(**changes), name="p.csv")


def refusal(text: str, **changes: Any) -> tuple[str, str]:
    with pytest.raises(table.TableError) as caught:
        parse(text, **changes)
    return caught.value.trouble.reason, caught.value.trouble.message


# --- moments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00Z",
        "2026-03-01 12:00:00+00:00",
        " 2026-03-01T06:00:00-06:00 ",
        1772366400,
        1772366400.0,
        "1772366400",
        "1772366400.0",
    ],
)
def test_moments_with_a_zone_and_unix_seconds_are_read(value: object) -> None:
    assert moments.parse(value) == datetime.datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("value", ["2026-03-01T12:00:00", "2026-03-01"])
def test_moments_without_a_zone_are_not_guessed(value: str) -> None:
    with pytest.raises(moments.NaiveMomentError, match="add Z or an offset"):
        moments.parse(value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("yesterday", "neither ISO 8601"),
        ("", "neither ISO 8601"),
        ("03/01/2026 12:00", "neither ISO 8601"),
        ("2026-02-30T12:00:00Z", "day is out of range"),
        (1772366400000, "milliseconds"),
        ("1772366400000", "milliseconds"),
        (10**400, "milliseconds"),
        ("9" * 400, "Unix seconds"),
        (-1e10 * 9, "Unix seconds"),
        (True, "bool"),
        (None, "NoneType"),
        (float("nan"), "Unix seconds"),
        (float("inf"), "Unix seconds"),
        ("0001-01-01T00:00:00+14:00", "out of range"),
    ],
)
def test_bad_moments_are_refused_with_a_reason(value: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        moments.parse(value)


# --- JSON pointers ---------------------------------------------------------------------------------------

# The document and the answers of RFC 6901, section 5.
RFC = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", RFC),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_pointers_of_the_standard(path: str, found: object) -> None:
    assert pointer.resolve(RFC, path) == found


@pytest.mark.parametrize(
    "path", ["/nope", "/foo/2", "/foo/-", "/foo/00", "/foo/+1", "/foo/bar", "/foo/0/x", "/foo/\u0661"]
)
def test_pointers_to_nothing(path: str) -> None:
    with pytest.raises(LookupError, match="nothing at"):
        pointer.resolve(RFC, path)


@pytest.mark.parametrize("path", ["foo", "#/foo", "/a~2b", "/a~"])
def test_what_is_no_pointer(path: str) -> None:
    with pytest.raises(ValueError, match="no JSON pointer"):
        pointer.resolve(RFC, path)


def test_a_tilde_is_unescaped_last() -> None:
    assert pointer.resolve({"~1": 9}, "/~01") == 9


# --- addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@x.org:8443/v1?key=secret#secret", "https://x.org:8443/v1"),
        ("http://[::1]:80/a?secret", "http://[::1]:80/a"),
        ("http://x.org:secret/", "the address"),
        ("http://[secret/", "the address"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert web.redact(url) == shown


# --- tables ----------------------------------------------------------------------------------------------


@given(
    steps=st.lists(st.integers(min_value=1, max_value=5000), min_size=1, max_size=40),
    asked=st.integers(min_value=-6000, max_value=200_000),
    json_lines=st.booleans(),
)
def test_the_row_in_force_is_the_last_one_not_after_the_moment(steps: list[int], asked: int, json_lines: bool) -> None:
    times = [EPOCH + datetime.timedelta(seconds=sum(steps[: index + 1])) for index in range(len(steps))]
    rows = [(time.isoformat(), index * 0.5) for index, time in enumerate(times)]
    if json_lines:
        text = "\n".join(json.dumps({"time": time, "value": value}) for time, value in rows)
    else:
        text = "time,value\n" + "\n".join(f"{time},{value}" for time, value in rows)
    moment = EPOCH + datetime.timedelta(seconds=asked)
    found = parse(text, json_lines=json_lines).at(moment)
    in_force = [index for index, time in enumerate(times) if time <= moment]
    if not in_force:
        assert found is None
        return
    best = in_force[-1]
    assert found == table.Row(times[best], best * 0.5, best + (1 if json_lines else 2), best == len(times) - 1)


def test_where_chooses_rows_and_only_those_are_judged() -> None:
    text = "time,market,value\n2026-01-01T00:00Z,DE,1\nbad,PJM,x\n2026-01-01T00:00Z,FR,3\n2026-01-01T01:00Z,DE,2\n"
    found = parse(text, where={"market": "DE"})
    assert len(found) == 2
    assert found.at(EPOCH) == table.Row(EPOCH, 1.0, 2, False)
    assert refusal(text, where={"market": "PJM"})[1].startswith("p.csv:3: ")
    assert len(parse(text, where={"market": "NP"})) == 0


def test_where_on_json_compares_texts_and_numbers() -> None:
    rows = [{"time": 0, "value": 1, "zone": 7, "on": True}, {"time": 1, "value": 2, "zone": "7", "on": False}]
    text = "\n".join(map(json.dumps, rows))
    assert len(parse(text, json_lines=True, where={"zone": "7"})) == 2
    assert len(parse(text, json_lines=True, where={"on": "true"})) == 1
    assert len(parse(text, json_lines=True, where={"nope": "x"})) == 0


def test_a_bad_value_spoils_its_own_row_alone() -> None:
    found = parse("time,value\n0,1\n10,n/a\n20,1_000\n30,\n40,5\n")
    values = [row.value for row in (found.at(EPOCH.fromtimestamp(at, UTC)) for at in (0, 15, 20, 30, 40)) if row]
    assert values == [1.0, "n/a", "1_000", "", 5.0]


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("", "NoSample", "p.csv is empty"),
        ("time,price\n", "ColumnMissing", "p.csv has no column 'value'; it has time, price"),
        ("time,value,value\n", "ColumnMissing", "p.csv has 2 columns 'value'"),
        ("time,value\n0,1\n10\n", "BadRow", "p.csv:3: 1 columns where the header has 2"),
        ('time,value\n0,"1\n', "BadRow", "p.csv:2: not CSV: unexpected end of data"),
        ("time,value\n\n0,1\nlate,2\n", "BadTime", "p.csv:4: cannot read this time: 'late' is neither"),
        ("time,value\n10,1\n\n5,2\n", "TimesNotRising", "p.csv:4: the time 5 is earlier than that of line 2; sort"),
        ("time,value\n5,1\n5,1\n", "TimesNotRising", "p.csv:3: the time 5 repeats that of line 2; sort"),
        (
            "time,value\n2026-01-01 00:00,1\n",
            "BadTime",
            "p.csv:2: the time 2026-01-01 00:00 has no time zone; write it with Z or an offset such as -05:00",
        ),
    ],
)
def test_a_bad_csv_is_refused_with_file_and_line(text: str, reason: str, message: str) -> None:
    found = refusal(text)
    assert found[0] == reason
    assert found[1].startswith(message)


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ('{"time": 0, "value": 1}\n{"time": 1, "val', "BadRow", "p.csv:2: not JSON"),
        ("[0, 1]", "BadRow", "p.csv:1: not a JSON object"),
        ("[" * 100_000, "BadRow", "p.csv:1: not JSON"),
        ('{"time": 0}', "ColumnMissing", "p.csv:1: has no key 'value'"),
        ('{"time": null, "value": 1}', "BadTime", "p.csv:1: cannot read this time"),
    ],
)
def test_bad_json_lines_are_refused_with_file_and_line(text: str, reason: str, message: str) -> None:
    found = refusal(text, json_lines=True)
    assert found[0] == reason
    assert found[1].startswith(message)


def test_local_times_are_read_in_the_zone_given() -> None:
    found = parse("time,value\n2026-01-01 00:00,1\n2026-07-01 00:00,2\n2026-07-01T06:00Z,3\n", zone=CHICAGO)
    assert found.first == datetime.datetime(2026, 1, 1, 6, tzinfo=UTC)
    assert found.at(datetime.datetime(2026, 7, 1, 5, tzinfo=UTC)) == table.Row(
        datetime.datetime(2026, 7, 1, 5, tzinfo=UTC), 2.0, 3, False
    )


def test_a_local_hour_that_never_was_has_no_row() -> None:
    # In Chicago the hour from 02:00 on was skipped on 2026-03-08.
    hours = "".join(f"2026-03-08 {hour:02}:00,{hour}\n" for hour in range(5))
    found = parse("time,value\n" + hours, zone=CHICAGO)
    assert len(found) == 4
    eight = datetime.datetime(2026, 3, 8, 8, tzinfo=UTC)
    assert found.at(eight - datetime.timedelta(seconds=1)) == table.Row(
        eight - datetime.timedelta(hours=1), 1.0, 3, False
    )
    assert found.at(eight) == table.Row(eight, 3.0, 5, False)


@pytest.mark.parametrize("quarters", [("00", "15", "30", "45"), ("00",)])
def test_a_local_hour_that_comes_twice_is_read_twice(quarters: tuple[str, ...]) -> None:
    # In Chicago the hour from 01:00 on came twice on 2026-11-01: from 06:00 UTC and from 07:00 UTC.
    locals_ = [f"2026-11-01 01:{quarter}" for quarter in quarters] * 2
    text = "time,value\n" + "".join(f"{local},{index}\n" for index, local in enumerate(locals_))
    found = parse(text + "2026-11-01 02:00,99\n", zone=CHICAGO)
    six = datetime.datetime(2026, 11, 1, 6, tzinfo=UTC)
    for hours, value in ((0, 0.0), (1, float(len(quarters))), (2, 99.0)):
        row = found.at(six + datetime.timedelta(hours=hours))
        assert row is not None
        assert (row.moment, row.value) == (six + datetime.timedelta(hours=hours), value)


def test_a_local_hour_that_comes_twice_and_is_written_once_lasts_two_hours() -> None:
    found = parse("time,value\n2026-11-01 01:00,1\n2026-11-01 02:00,2\n", zone=CHICAGO)
    row = found.at(datetime.datetime(2026, 11, 1, 7, 59, tzinfo=UTC))
    assert row is not None
    assert row.value == 1.0


def test_a_time_at_the_calendars_end_is_refused() -> None:
    assert refusal("time,value\n0001-01-01 00:00,1\n", zone=zoneinfo.ZoneInfo("Asia/Tokyo"))[0] == "BadTime"
    assert refusal("time,value\n9999-12-31 23:00,1\n", zone=CHICAGO)[0] == "BadTime"


@given(st.text(max_size=200), st.booleans())
def test_no_text_makes_the_parser_crash(text: str, json_lines: bool) -> None:
    for content in (text, f"time,value\n{text}"):
        with contextlib.suppress(table.TableError):
            found = parse(content, json_lines=json_lines)
            assert (found.first is None) == (len(found) == 0)
