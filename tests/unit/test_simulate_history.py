from __future__ import annotations

import datetime
import pathlib

import pytest

from switchyard.simulate import history, series

UTC = datetime.UTC


def write(folder: pathlib.Path, text: str, name: str = "prices.csv") -> pathlib.Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_long_file_with_naive_times(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path,
        "ts,market,price\n2016-12-27 00:00:00,PJM,19.5\n2016-12-27 00:00:00,NP,30\n2016-12-27 01:00:00,PJM,-2\n",
    )
    found = history.read(path, history.Layout(where={"market": "PJM"}))
    assert found.rows == (
        (datetime.datetime(2016, 12, 27, 0, tzinfo=UTC), 19.5),
        (datetime.datetime(2016, 12, 27, 1, tzinfo=UTC), -2.0),
    )
    assert any("taken as UTC" in note for note in found.notes)


def test_offsets_are_honoured_and_rows_sorted(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path, "time,usd_per_kwh\n2026-01-01T01:00:00-05:00,0.05\n2026-01-01T00:00:00-05:00,0.03\n")
    found = history.read(path, history.Layout())
    assert [value for _, value in found.rows] == pytest.approx([30.0, 50.0])
    assert found.rows[0][0] == datetime.datetime(2026, 1, 1, 5, tzinfo=UTC)
    assert not any("UTC" in note for note in found.notes)


def test_json_lines_and_unix_seconds(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path, '{"t": 1700000000, "v": 5}\n{"t": 1700003600, "v": null}\n{"t": 1700007200, "v": 7}\n', "p.jsonl"
    )
    found = history.read(path, history.Layout(time="t", value="v"))
    assert [value for _, value in found.rows] == [5.0, 7.0]
    assert any("left out" in note for note in found.notes)


@pytest.mark.parametrize(
    ("text", "layout", "words"),
    [
        ("a,b\n1,2\n", history.Layout(), "--market-time; it has a, b"),
        ("time,b\n1,2\n", history.Layout(), "--market-value; it has time, b"),
        ("time,price\n1,2\n", history.Layout(value="x"), "no column 'x'; it has time, price"),
        ("time,price\n1,2\n", history.Layout(where={"zone": "A"}), "no column 'zone' for --market-where"),
        ("time,zone,price\n1,B,2\n", history.Layout(where={"zone": "A"}), "column 'zone' holds B"),
        ("time,price\n1,cheap\n", history.Layout(), "'cheap' in column 'price' is not a price"),
        ("time,price\nnoon,1\n", history.Layout(), "'noon' in column 'time'"),
        ("time,price\n", history.Layout(), "no rows"),
        ("time,price\n" + "1,2\n" * 9, history.Layout(), "no two rows"),
        ("time,price\n" + "1,2\n2,3\n" * 9, history.Layout(), "more than one series"),
    ],
)
def test_errors_say_what_there_is(tmp_path: pathlib.Path, text: str, layout: history.Layout, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(history.HistoryError) as problem:
        history.read(path, layout)
    assert words in str(problem.value)


def test_the_liveliest_stretch_starts_on_a_whole_day() -> None:
    start = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    rows = tuple((start + datetime.timedelta(hours=hour), 300.0 if hour == 60 else 20.0) for hour in range(24 * 6))
    found = history.History(rows=rows, notes=())
    assert found.liveliest(24) == start + datetime.timedelta(days=2)
    with pytest.raises(history.HistoryError, match="less than the 999 hours"):
        found.liveliest(999)


def test_what_is_written_reads_back(tmp_path: pathlib.Path) -> None:
    start = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    rows = ((start, 1.5), (start + datetime.timedelta(hours=1), -2.0))
    history.History(rows=rows, notes=()).write(tmp_path / "out.csv")
    read = series.read_csv(tmp_path / "out.csv", time="time", value="usd_per_mwh")
    assert read == series.Series.of(rows)


def test_areas_of_steps() -> None:
    steps = series.Series(moments=(0.0, 3600.0, 7200.0), values=(10.0, -4.0, 2.0))
    assert steps.at(-5) == 10
    assert steps.at(3600) == -4
    assert steps.area(0, 7200) == pytest.approx(6)
    assert steps.area(1800, 5400) == pytest.approx(3)
    assert steps.area(-3600, 0) == pytest.approx(10)
    assert steps.area(7200, 10800) == pytest.approx(2)
    assert steps.transformed(factor=2, offset=1).area(0, 3600) == pytest.approx(21)
