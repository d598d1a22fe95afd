"""What the demo is going to play, before anything is started."""

from __future__ import annotations

import argparse
import datetime
import pathlib

import pytest

from switchyard.cli import demo
from switchyard.cli.demo import live, performing

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def options(out: pathlib.Path, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(["--out", str(out), *arguments])


def test_the_window_holds_negative_prices_and_the_peaks(tmp_path: pathlib.Path) -> None:
    script = performing._script(options(tmp_path))
    site = script.truth.sites["permian-1"]
    prices = [site.price.at(script.start.timestamp() + hour * 3600) for hour in range(int(script.hours))]
    assert min(prices) < 0.010  # the grid pays: less than the adder
    assert max(prices) > 0.45
    assert 3.5 * 60 <= script.hours * 3600 / script.speed <= 4 * 60
    assert all(script.start <= job.at < script.end for job in script.jobs)
    files = [each["spec"]["source"]["file"]["path"] for each in script.manifests if each["kind"] == "PriceFeed"]
    assert all(pathlib.Path(path).is_absolute() and pathlib.Path(path).is_file() for path in files)


def test_a_market_of_ones_own(tmp_path: pathlib.Path) -> None:
    first = datetime.datetime(2016, 12, 27)  # noqa: DTZ001 - the file says no zone
    rows = ["ts,market,price"]
    for hour in range(24 * 10):
        price = 250 if hour == 24 * 6 + 5 else 20 + hour % 24
        rows.append(f"{first + datetime.timedelta(hours=hour):%Y-%m-%d %H:%M:%S},PJM,{price}")
        rows.append(f"{first + datetime.timedelta(hours=hour):%Y-%m-%d %H:%M:%S},NP,30")
    market = tmp_path / "prices.csv"
    market.write_text("\n".join(rows))
    script = performing._script(
        options(
            tmp_path,
            *("--market", str(market), "--market-where", "market=PJM", "--market-value", "price", "--hours", "48"),
        )
    )
    assert script.start <= datetime.datetime(2017, 1, 2, 5, tzinfo=datetime.UTC) < script.end
    peak = datetime.datetime(2017, 1, 2, 5, 30, tzinfo=datetime.UTC).timestamp()
    assert script.truth.sites["permian-1"].price.at(peak) == pytest.approx(0.250 + 0.010)
    assert script.truth.sites["houston-1"].price.at(peak) == pytest.approx(0.250 + 0.018)
    assert script.truth.coins["quai"].revenue.at(script.start.timestamp()) == pytest.approx(
        0.011832 / 1e6 / 24, rel=0.05
    )
    assert any("UTC" in note for note in script.notes)


def test_what_cannot_be_played_is_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    market = tmp_path / "prices.csv"
    market.write_text("when,cost\n2020-01-01T00:00:00Z,5\n")
    assert performing.run(options(tmp_path, "--market", str(market))) == 2
    told = " ".join(capsys.readouterr().out.split())
    assert "--market-time" in told
    assert "when, cost" in told


def test_modes_in_few_words() -> None:
    assert [live._short(mode) for mode in ("Mining/kas", "AI/ns/job", "Off", "")] == ["kas", "AI", "Off", ""]
    assert [live._brief(mode) for mode in ("Mining/kas", "AI/ns/job", "Off")] == ["kas", "AI/job", "off"]
