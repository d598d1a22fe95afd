"""The whole operator on a real control plane: names that lead nowhere are told in plain words, fixes count at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

import farmyard
from controlplane import launcher
from farmyard import things

pytestmark = pytest.mark.cluster

MINED = {"ref-1": "Mining/ant"}
SOON_SECONDS = 10


@pytest.fixture(scope="module")
def running(control_plane: launcher.ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[farmyard.Yard]:
    with farmyard.Yard(control_plane, tmp_path_factory.mktemp("yard")) as started:
        yield started


@pytest.fixture
def yard(running: farmyard.Yard) -> Iterator[farmyard.Yard]:
    yield running
    running.clear()


def soon(yard: farmyard.Yard, check: Callable[[], object]) -> None:
    asked = time.monotonic()
    yard.eventually(check, seconds=SOON_SECONDS)
    assert time.monotonic() - asked < SOON_SECONDS


def test_a_pool_that_names_an_unknown_coin(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("ref-1")],
        objects=[things.site(), things.pool(coins=["ant", "yeti"]), *yard.coin("ant", 0.01)],
    )
    yard.eventually(lambda: yard.expect("GPUPool", "yard", "CoinsKnown", "False", words=["yeti"]))
    # The coin that is known is mined all the same.
    yard.eventually(lambda: yard.expect_modes(MINED))
    refused = {each["mode"]: each for each in yard.get("Rig", "ref-1")["status"]["decision"]["alternatives"]}
    assert (refused["Mining/yeti"]["refused"], refused["Mining/yeti"]["lacks"]) == (
        "UnknownCoin",
        "needs a Coin named yeti",
    )
    yard.apply(*yard.coin("yeti", 0.001))
    soon(yard, lambda: yard.expect("GPUPool", "yard", "CoinsKnown", "True"))


def test_a_coin_that_names_an_unknown_feed(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("ref-1")],
        objects=[
            things.site(),
            things.pool(coins=["ant"]),
            things.coin("ant", feed="typo"),
            yard.web_feed("right", 0.01),
        ],
    )
    yard.eventually(
        lambda: yard.expect(
            "Coin", "ant", "FeedKnown", "False", reason="FeedMissing", words=["There is no PriceFeed typo", "right"]
        )
    )
    yard.expect("Coin", "ant", "Ready", "False", reason="FeedMissing")
    yard.eventually(lambda: yard.expect_modes({"ref-1": "Idle"}))
    yard.patch("Coin", "ant", {"spec": {"revenueFeed": "right"}})
    soon(yard, lambda: yard.expect("Coin", "ant", "Ready", "True"))
    soon(yard, lambda: yard.expect_modes(MINED))


def test_a_wallet_that_is_not_there(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("ref-1")],
        objects=[things.site(), things.coin("ant", wallet="purse"), yard.web_feed("revenue-ant", 0.01)],
    )
    yard.eventually(
        lambda: yard.expect(
            "Coin", "ant", "WalletFound", "False", words=["Secret purse", f"namespace {things.MINERS}", "address"]
        )
    )
    yard.expect("Coin", "ant", "Ready", "False", reason="SecretMissing")
    # No miner is sent out to wait for what is not there (wallets are looked for every two seconds).
    time.sleep(3)
    yard.apply(things.pool(coins=["ant"]))
    yard.eventually(lambda: yard.expect_modes({"ref-1": "Idle"}))
    secret = {"name": "purse", "namespace": things.MINERS}
    yard.apply({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "stringData": {"address": "NOBODY"}})
    soon(yard, lambda: yard.expect("Coin", "ant", "WalletFound", "True"))
    yard.eventually(lambda: yard.expect_modes(MINED), seconds=120)
    yard.delete("Secret", "purse", namespace=things.MINERS)
    soon(yard, lambda: yard.expect("Coin", "ant", "WalletFound", "False"))
    # A miner that runs has its wallet.
    yard.always(lambda: yard.expect_modes(MINED), seconds=5)


def test_a_site_whose_tariff_names_an_unknown_feed(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("ref-1")],
        objects=[things.site(power="grid"), things.pool(coins=["ant"]), *yard.coin("ant", 0.01)],
    )
    yard.eventually(
        lambda: yard.expect(
            "Site", "yard", "PriceTrusted", "False", reason="NoPrice", words=["PriceFeed grid does not exist"]
        )
    )
    yard.expect("Site", "yard", "Ready", "False", reason="NoPrice")
    yard.eventually(lambda: yard.expect("Rig", "ref-1", "Decided", "True", words=["grid"]))
    # Nobody knows what power costs: nothing is started.
    yard.always(lambda: _none_mines(yard), seconds=2)
    yard.apply(yard.web_feed("grid", 0.05, power=True))
    soon(yard, lambda: yard.expect("Site", "yard", "Ready", "True"))
    soon(yard, lambda: yard.expect_modes(MINED))


def test_a_rig_whose_site_is_gone(yard: farmyard.Yard) -> None:
    yard.build(
        rigs_there=[things.machine("ref-1")],
        objects=[things.site(), things.pool(coins=["ant"]), *yard.coin("ant", 0.01)],
    )
    yard.eventually(lambda: yard.expect_modes(MINED))
    miner = yard.miners("ref-1")[0]["metadata"]["uid"]
    yard.delete("Site", "yard")
    yard.eventually(
        lambda: yard.expect("Rig", "ref-1", "Decided", "False", reason="NoSite", words=["'yard' does not exist"])
    )
    assert yard.miners("ref-1")[0]["metadata"]["uid"] == miner
    yard.apply(things.site())
    soon(yard, lambda: yard.expect("Rig", "ref-1", "Decided", "True"))
    yard.expect_modes(MINED)


def _none_mines(yard: farmyard.Yard) -> None:
    assert not yard.miners("ref-1")
