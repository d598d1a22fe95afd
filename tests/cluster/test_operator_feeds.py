"""The whole operator on a real control plane: a price source that fails in every way moves no rig and stops nothing.

Farm time runs forty times as fast as the machine's, so that a price that was believed would move a rig within seconds:
the last test shows that it does.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator

import pytest

import farmyard
from controlplane import launcher
from farmyard import things

pytestmark = pytest.mark.cluster

SPEED = 40.0
RIG = "feed-1"
GOOD = {"power": 0.05, "revenue-ant": 0.01, "revenue-bee": 0.005}
HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard"), speed=SPEED) as started:
        yield started


@pytest.fixture(scope="module")
def yard(running: farmyard.Yard) -> farmyard.Yard:
    """One rig that mines the better of two coins."""
    bounds = {"min": "-0.5", "max": "10"}
    running.build(
        rigs_there=[things.machine(RIG)],
        objects=[
            running.web_feed("power", GOOD["power"], power=True, bounds=bounds),
            things.site(power="power"),
            *running.coin("ant", GOOD["revenue-ant"], bounds=bounds),
            *running.coin("bee", GOOD["revenue-bee"], bounds=bounds),
            things.pool(coins=["ant", "bee"], power_off=True),
        ],
    )
    running.eventually(lambda: running.expect_modes({RIG: "Mining/ant"}))
    return running


def expect_good(yard: farmyard.Yard, feeds: dict[str, float]) -> None:
    for feed, value in feeds.items():
        yard.expect("PriceFeed", feed, "Ready", "True", reason="Good")
        yard.expect("PriceFeed", feed, "Plausible", "True")
        status = yard.get("PriceFeed", feed)["status"]
        assert float(status["lastGood"]["value"]) == value
        assert "lastError" not in status


@pytest.fixture
def miner(yard: farmyard.Yard) -> Iterator[str]:
    """The rig's miner. After the test all feeds are good again, and the rig knows it within seconds."""
    for feed, value in GOOD.items():
        yard.prices.set(feed, value)
    yard.eventually(lambda: expect_good(yard, GOOD))
    yield yard.miners(RIG)[0]["metadata"]["uid"]
    for feed, value in GOOD.items():
        yard.prices.set(feed, value)
    mended = time.monotonic()
    yard.eventually(lambda: expect_good(yard, GOOD), seconds=10)
    assert time.monotonic() - mended < 10


def expect_unmoved(yard: farmyard.Yard, miner: str) -> None:
    yard.expect_modes({RIG: "Mining/ant"})
    assert [pod["metadata"]["uid"] for pod in yard.miners(RIG)] == [miner]


ABSURD = b'{"value": 1e12}'


@pytest.mark.parametrize(
    ("body", "status", "kind", "plausible", "reason", "words"),
    [
        (b'{"value": NaN}', 200, "application/json", "False", "NotANumber", "nan is not a finite number"),
        (b'{"value": "0.05"}', 200, "application/json", "False", "NotANumber", "the text '0.05' is not a finite"),
        (b'{"value": null}', 200, "application/json", "False", "NotANumber", "null is not a finite number"),
        (ABSURD, 200, "application/json", "False", "OutOfBounds", "is above 10 USD"),
        (b'{"price": 1}', 200, "application/json", "Unknown", "PointerMissing", "value"),
        (HTML, 200, "text/html", "Unknown", "NotJson", "answered 200 with text/html, which is not JSON"),
        (b"oops", 500, "text/plain", "Unknown", "HttpStatus", "answered 500"),
        (b"", 200, "application/json", "Unknown", "NotJson", "which is not JSON"),
    ],
    ids=["nan", "text", "null", "absurd", "other-document", "html", "500", "empty"],
)
def test_a_bad_answer_is_told_and_moves_nothing(
    yard: farmyard.Yard, miner: str, body: bytes, status: int, kind: str, plausible: str, reason: str, words: str
) -> None:
    for feed in GOOD:
        yard.prices.answer(feed, body, status=status, kind=kind)

    def told() -> None:
        for feed, value in GOOD.items():
            yard.expect("PriceFeed", feed, "Plausible", plausible, reason=reason, words=[words])
            yard.expect("PriceFeed", feed, "Ready", "True", reason="LastGoodValue", words=["The last attempt failed"])
            known = yard.get("PriceFeed", feed)["status"]
            assert known["lastError"].startswith(reason)
            assert float(known["lastGood"]["value"]) == value

    yard.eventually(told, seconds=10)
    yard.always(lambda: expect_unmoved(yard, miner), seconds=1.5)


def test_a_source_that_never_answers_is_told_and_moves_nothing(yard: farmyard.Yard, miner: str) -> None:
    for feed in GOOD:
        yard.prices.hang(feed)
    for feed in GOOD:
        yard.eventually(
            lambda feed=feed: yard.expect(  # type: ignore[misc]
                "PriceFeed",
                feed,
                "Ready",
                "True",
                reason="LastGoodValue",
                words=["has not answered in full within 1 s"],
            ),
            seconds=15,
        )
    yard.always(lambda: expect_unmoved(yard, miner), seconds=1.5)


def test_negative_revenue_is_no_price_but_negative_power_is(yard: farmyard.Yard, miner: str) -> None:
    for feed in GOOD:
        yard.prices.set(feed, -0.01)
    yard.eventually(
        lambda: yard.expect(
            "PriceFeed", "revenue-ant", "Plausible", "False", reason="NegativeRevenue", words=["is negative"]
        )
    )
    yard.eventually(lambda: expect_good(yard, {"power": -0.01}))
    yard.eventually(lambda: yard.expect_status("Site", "yard", usdPerKilowattHour="-0.01"))
    yard.always(lambda: expect_unmoved(yard, miner), seconds=1.5)


def test_a_price_too_old_holds_the_rig_until_it_comes_back(yard: farmyard.Yard, miner: str) -> None:
    aged = {"spec": {"interval": "40s", "freshness": {"fresh": "60s", "dead": "2m"}}}
    yard.patch("PriceFeed", "power", aged)
    yard.prices.hang("power")

    def held() -> None:
        yard.expect("PriceFeed", "power", "Ready", "False", words=["Rigs that pay this price keep what they do"])
        yard.expect("PriceFeed", "power", "Fresh", "False", reason="Dead")
        yard.expect("Site", "yard", "PriceTrusted", "False", words=["PriceFeed power", "rigs here keep what they do"])
        assert yard.get("Rig", RIG)["status"]["decision"]["reason"] in ("NoTrustedPrice", "Held")

    yard.eventually(held)
    # The other coin pays more than ever; without a price of power nobody can tell what it leaves.
    yard.prices.set("revenue-bee", 9.0)
    yard.eventually(lambda: expect_good(yard, {"revenue-bee": 9.0}))
    yard.always(lambda: expect_unmoved(yard, miner), seconds=3)
    yard.prices.set("revenue-bee", GOOD["revenue-bee"])
    yard.eventually(lambda: expect_good(yard, {"revenue-bee": GOOD["revenue-bee"]}))
    yard.patch("PriceFeed", "power", {"spec": {"freshness": {"fresh": "24h", "dead": "48h"}}})
    yard.prices.set("power", GOOD["power"])
    yard.eventually(lambda: yard.expect("Site", "yard", "PriceTrusted", "True"), seconds=10)


def test_a_file_of_prices_that_is_spoilt_and_mended(yard: farmyard.Yard, miner: str) -> None:
    file = yard.folder / "spot.csv"
    began = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    file.write_text(f"time,value\n{began},0.07\n")
    freshness = {"fresh": "24h", "dead": "48h"}
    yard.apply(
        things.feed("spot", {"file": {"path": "spot.csv"}}, power=True, interval="40s", freshness=freshness),
    )
    yard.eventually(lambda: expect_good(yard, {"spot": 0.07}))
    for spoil, reason, word in (
        (f"time,value\n{began},cheap\n", "NotANumber", "cheap"),
        ("<html></html>\n", "", "spot.csv"),
        (None, "FileMissing", "does not exist"),
    ):
        file.unlink() if spoil is None else file.write_text(spoil)

        def told(reason: str = reason, word: str = word) -> None:
            known = yard.expect("PriceFeed", "spot", "Ready", "True", reason="LastGoodValue", words=[word])
            error = yard.get("PriceFeed", "spot")["status"]["lastError"]
            assert error.startswith(reason), (error, known)

        yard.eventually(told, seconds=10)
    file.write_text(f"time,value\n{began},0.08\n")
    mended = time.monotonic()
    yard.eventually(lambda: expect_good(yard, {"spot": 0.08}), seconds=10)
    assert time.monotonic() - mended < 10
    expect_unmoved(yard, miner)


def test_a_good_price_does_move_the_rig(yard: farmyard.Yard) -> None:
    expect_good(yard, GOOD)
    yard.prices.set("revenue-bee", 0.5)
    asked = time.monotonic()
    yard.eventually(lambda: yard.expect_modes({RIG: "Mining/bee"}), seconds=20)
    assert time.monotonic() - asked < 20
    assert yard.agents.owners.overlaps == ()
