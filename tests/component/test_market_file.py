"""The file source on real files."""
# ruff: noqa: ASYNC240  a test may block: it is alone in its event loop

from __future__ import annotations

import datetime
import os
import time
import zoneinfo
from pathlib import Path
from typing import Any

import pytest

from switchyard.market import cleaning
from switchyard.market.sources import file, table

UTC = datetime.UTC
START = datetime.datetime(2026, 1, 1, tzinfo=UTC)
HOUR = datetime.timedelta(hours=1)
TRACES = Path(__file__).resolve().parents[2] / ".." / "shared" / "traces"


def layout(**changes: Any) -> table.Layout:
    return table.Layout(**{"json_lines": False, "time_column": "time", "value_column": "value", "where": {}, **changes})


def hourly(count: int) -> str:
    return "time,value\n" + "".join(f"{(START + index * HOUR).isoformat()},{index}\n" for index in range(count))


def trouble(reading: cleaning.Reading) -> cleaning.Trouble:
    assert reading.trouble is not None
    return reading.trouble


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.csv"
    path.write_text(hourly(3))
    return path


async def test_a_row_is_of_this_moment_until_the_next_and_the_last_grows_old(prices: Path) -> None:
    source = file.File(path=prices, layout=layout())
    now = START + 1.5 * HOUR
    assert await source.read(now=now) == cleaning.Reading(value=1.0, as_of=now, origin="prices.csv:3")
    for now in (START + 2 * HOUR, START + 50 * HOUR):
        reading = await source.read(now=now)
        assert (reading.value, reading.as_of) == (2.0, START + 2 * HOUR)


async def test_before_the_first_row_there_is_no_value(prices: Path) -> None:
    reading = await file.File(path=prices, layout=layout()).read(now=START - HOUR)
    assert trouble(reading) == cleaning.Trouble(
        reason="BeforeFirstRow",
        message="prices.csv begins at 2026-01-01T00:00:00Z, after 2025-12-31T23:00:00Z",
    )


async def test_a_replay_runs_from_the_feeds_creation_at_its_speed(prices: Path) -> None:
    created = datetime.datetime(2030, 6, 1, tzinfo=UTC)
    replay = file.Replay(start=START, created=created, speed=60)
    source = file.File(path=prices, layout=layout(), replay=replay)
    for minutes, value in ((0, 0.0), (0.9, 0.0), (1, 1.0), (1.99, 1.0)):
        now = created + datetime.timedelta(minutes=minutes)
        reading = await source.read(now=now)
        assert (reading.value, reading.as_of) == (value, now)
    # The last row was played at the second minute of farm time, and the value grows old from there.
    reading = await source.read(now=created + datetime.timedelta(minutes=30))
    assert (reading.value, reading.as_of) == (2.0, created + datetime.timedelta(minutes=2))


async def test_a_replay_that_leaves_the_calendar_is_trouble(prices: Path) -> None:
    replay = file.Replay(start=START, created=START, speed=10**9)
    reading = await file.File(path=prices, layout=layout(), replay=replay).read(now=START + 100_000 * HOUR)
    assert trouble(reading).reason == "ReplayOutOfRange"


async def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    parse = table.parse

    def counting(text: str, **rest: Any) -> table.Table:
        parsed.append(text)
        return parse(text, **rest)

    monkeypatch.setattr(table, "parse", counting)
    source = file.File(path=prices, layout=layout())
    for _ in range(3):
        assert (await source.read(now=START + 9 * HOUR)).value == 2.0
    assert len(parsed) == 1
    prices.write_text(hourly(5))
    assert (await source.read(now=START + 9 * HOUR)).value == 4.0
    # Same size, but another time of change: 4 became 7.
    prices.write_text(hourly(5)[:-2] + "7\n")
    os.utime(prices, ns=(1, 1))
    assert (await source.read(now=START + 9 * HOUR)).value == 7.0
    assert len(parsed) == 3


async def test_a_file_is_found_again_after_it_was_gone_or_broken(prices: Path) -> None:
    source = file.File(path=prices, layout=layout())
    now = START + HOUR
    assert (await source.read(now=now)).value == 1.0
    prices.unlink()
    assert trouble(await source.read(now=now)) == cleaning.Trouble(
        reason="FileMissing", message=f"{prices} does not exist"
    )
    prices.write_text("time,value\n2026-01-01 00:00,1\n")
    message = trouble(await source.read(now=now)).message
    assert message.startswith("prices.csv:2: the time 2026-01-01 00:00 has no time zone; write it with Z or an offset")
    prices.write_text(hourly(3))
    assert (await source.read(now=now)).value == 1.0


async def test_a_bad_value_is_trouble_in_its_own_span_only(prices: Path) -> None:
    prices.write_text(hourly(3).replace(",1\n", ",oops\n"))
    source = file.File(path=prices, layout=layout())
    assert (await source.read(now=START)).value == 0.0
    bad = await source.read(now=START + HOUR)
    assert (bad.value, bad.origin) == ("oops", "prices.csv:3")
    assert (await source.read(now=START + 2 * HOUR)).value == 2.0


async def test_json_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"t": "2026-01-01T00:00:00Z", "usd": 1.5}\n\n{"t": 1767229200, "usd": "2"}\n')
    source = file.File(path=path, layout=layout(json_lines=True, time_column="t", value_column="usd"))
    assert (await source.read(now=START)).value == 1.5
    assert (await source.read(now=START + HOUR)).value == "2"


async def test_a_file_with_no_row_that_counts_says_so(prices: Path) -> None:
    assert trouble(await file.File(path=prices, layout=layout(where={"value": "9"})).read(now=START)) == (
        cleaning.Trouble(reason="NoSample", message="prices.csv has no row with value=9")
    )


@pytest.mark.parametrize("what", ["folder", "not utf-8", "too large", "loop", "pipe"])
async def test_what_is_no_file_of_prices_is_trouble(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    expected = "FileMissing"
    match what:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "not utf-8":
            path.write_bytes(b"time,value\n0,\xff\n")
            expected = "BadRow"
        case "too large":
            with path.open("wb") as out:
                out.truncate(file.SIZE_LIMIT_BYTES + 1)
            expected = "FileTooLarge"
        case "loop":
            path.symlink_to(path)
            expected = "FileUnreadable"
    reading = await file.File(path=path, layout=layout()).read(now=START)
    assert trouble(reading).reason == expected
    assert trouble(reading).message.startswith(("x:2: not UTF-8", str(path)))


async def test_files_outside_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "prices"
    (folder / "..data").mkdir(parents=True)
    (tmp_path / "secret").write_text(hourly(2))
    (folder / "..data" / "p.csv").write_text(hourly(2))
    # As ConfigMaps are mounted: through a link within the folder.
    (folder / "p.csv").symlink_to("..data/p.csv")
    (folder / "sly.csv").symlink_to("../secret")

    async def read(path: str) -> cleaning.Reading:
        return await file.File(path=Path(path), layout=layout(), folder=folder).read(now=START)

    assert (await read("p.csv")).value == 0.0
    assert (await read(str(folder / "p.csv"))).value == 0.0
    for path in ("../secret", str(tmp_path / "secret"), "sly.csv", "/etc/passwd"):
        assert trouble(await read(path)).reason == "FileRefused"


async def test_a_large_file_is_quick(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    minute = datetime.timedelta(minutes=1)
    path.write_text("time,value\n" + "".join(f"{(START + at * minute).isoformat()},{at}\n" for at in range(200_000)))
    source = file.File(path=path, layout=layout())
    began = time.perf_counter()
    await source.read(now=START)
    first = time.perf_counter() - began
    began = time.perf_counter()
    for at in range(0, 200_000, 200):
        assert (await source.read(now=START + at * minute)).value == at
    each = (time.perf_counter() - began) / 1000
    print(f"200,000 rows: parsed in {first:.2f} s, then {each * 1e6:.0f} us a reading")
    # Generous, for busy machines; reading the file anew each time would take a thousand times as long.
    assert each < 0.02


@pytest.mark.skipif(not TRACES.is_dir(), reason="the folder of real traces, ../shared/traces, is not here")
@pytest.mark.parametrize(("market", "zone"), [("PJM", "America/New_York"), ("DE", "Europe/Berlin")])
async def test_a_real_file_of_local_times_is_read(market: str, zone: str) -> None:
    wanted = layout(time_column="ts", value_column="price", where={"market": market}, zone=zoneinfo.ZoneInfo(zone))
    source = file.File(path=TRACES / "elec_epf_hourly_with_forecasts.csv", layout=wanted)
    lines = (TRACES / "elec_epf_hourly_with_forecasts.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines if f",{market}," in line]
    for row in rows[:: len(rows) // 50]:
        local = datetime.datetime.fromisoformat(row[0]).replace(tzinfo=zoneinfo.ZoneInfo(zone))
        reading = await source.read(now=local.astimezone(UTC) + HOUR / 2)
        assert reading.value == float(row[2])
