"""The kinds as the other rooms read them."""

from __future__ import annotations

import datetime
import typing
from typing import Any

import pydantic
import pytest

from switchyard import api
from switchyard.api import aijob, base, coin, feedunit, gpupool, pricefeed, rig, site
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.market import quotes, units


def test_a_site_gives_numbers() -> None:
    spec = site.SiteSpec.model_validate(
        {
            "nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "timeZone": "America/Chicago",
            "tariff": {
                "timeOfUse": {
                    "windows": [{"days": ["Sat", "Sun"], "from": "22:00", "to": "06:00", "usdPerKilowattHour": "0.05"}],
                    "otherwise": "0.12",
                }
            },
            "pue": "1.15",
        }
    )

    assert spec.pue == 1.15
    assert spec.tariff.fixed is None
    assert spec.tariff.time_of_use is not None
    (window,) = spec.tariff.time_of_use.windows
    assert [day.weekday for day in window.days] == [5, 6]
    assert (window.start, window.end) == (datetime.time(22), datetime.time(6))
    assert window.usd_per_kilowatt_hour == 0.05
    assert spec.tariff.time_of_use.otherwise == 0.12
    assert spec.node_selector.match_expressions[0].values == ("b",)


def test_a_circuit_gives_numbers() -> None:
    spec = site.SiteSpec.model_validate(
        {
            "nodeSelector": {},
            "tariff": {"fixed": {"usdPerKilowattHour": "0.1"}},
            "circuits": [
                {"name": "c1", "limitWatts": 5000},
                {"name": "c2", "limitWatts": 2, "continuousFraction": "1"},
            ],
        }
    )

    assert [(each.name, each.limit_watts, each.continuous_fraction) for each in spec.circuits] == [
        ("c1", 5000, 0.8),
        ("c2", 2, 1.0),
    ]


def test_a_time_zone_must_exist() -> None:
    good: dict[str, Any] = {"nodeSelector": {}, "tariff": {"fixed": {"usdPerKilowattHour": "0.1"}}}

    with pytest.raises(pydantic.ValidationError, match="not a time zone of the IANA database: 'America/Dallas'"):
        site.SiteSpec.model_validate({**good, "timeZone": "America/Dallas"})


def test_a_job_gives_numbers() -> None:
    spec = aijob.AIJobSpec.model_validate(
        {
            "workloadClass": "Batch",
            "bid": {"usdPerGpuHour": "0.25"},
            "duration": "1h30m",
            "deadline": "2030-01-01T00:00:00Z",
            "requirements": {
                "gpuMemory": "8Gi",
                "computeCapability": "8.6",
                "hostLinkGigabytesPerSecond": "0.15",
                "jurisdictions": ["US-TX"],
            },
            "template": {"spec": {"containers": [{"name": "work", "image": "i"}]}},
            "ttlAfterFinished": "24h",
        }
    )

    assert spec.bid.usd_per_gpu_hour == 0.25
    assert spec.duration == 5400
    assert spec.deadline == datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    assert spec.requirements.gpu_memory == 8192
    assert spec.requirements.compute_capability == (8, 6)
    assert spec.requirements.host_link_gigabytes_per_second == 0.15
    assert spec.requirements.host_memory is None
    assert (spec.preemption.notice, spec.preemption.min_runtime) == (120, 600)
    assert spec.ttl_after_finished == 86400
    assert spec.template["spec"]["containers"][0]["name"] == "work"


def test_a_coin_gives_numbers() -> None:
    spec = coin.CoinSpec.model_validate(
        {
            "algorithm": "kheavyhash",
            "unit": "MH/s",
            "revenueFeed": "kas",
            "minGpuMemory": "2Gi",
            "wallet": {"secretName": "w"},
            "pools": ["stratum+tcp://a:1"],
            "miner": {"image": "m"},
            "benchmarks": [{"gpu": "g", "hashrate": "98.5", "watts": 130}],
        }
    )

    assert (spec.pool_fee, spec.dev_fee, spec.startup, spec.min_gpu_memory) == (0.01, 0.01, 30, 2048)
    assert spec.benchmarks[0].hashrate == 98.5
    assert spec.wallet.key == "address"


@pytest.mark.parametrize("given", [1, 30, "1%", "25%", "100%"])
def test_a_switching_budget(given: int | str) -> None:
    assert gpupool.Switching.model_validate({"maxConcurrent": given}).max_concurrent == given


@pytest.mark.parametrize("given", [0, -1, "0%", "101%", "5", "all", 0.5, True])
def test_no_switching_budget(given: object) -> None:
    with pytest.raises(pydantic.ValidationError):
        gpupool.Switching.model_validate({"maxConcurrent": given})


@pytest.mark.parametrize("given", [0, 5, "0%", "9%", "100%"])
def test_a_share(given: int | str) -> None:
    found = gpupool.Share.model_validate({"kind": "AI", "floor": given})
    assert (found.floor, found.most) == (given, None)


@pytest.mark.parametrize("given", [-1, "101%", "5", "half", 0.5, True, "00%"])
def test_no_share(given: object) -> None:
    with pytest.raises(pydantic.ValidationError):
        gpupool.Share.model_validate({"kind": "AI", "most": given})


def test_a_feed_gives_numbers() -> None:
    spec = pricefeed.PriceFeedSpec.model_validate(
        {
            "quantity": "ElectricityPrice",
            "unit": "USD/MWh",
            "source": {"static": {"value": "-3.5"}},
            "bounds": {"min": "-300", "max": "5000"},
        }
    )

    assert spec.source.static is not None
    assert spec.source.static.value == -3.5
    assert (spec.interval, spec.freshness.fresh, spec.freshness.dead) == (60, 600, 3600)
    assert spec.bounds is not None
    assert (spec.bounds.min, spec.bounds.max) == (-300, 5000)


def test_a_whole_object_is_read() -> None:
    read = rig.Rig.model_validate(
        {
            "apiVersion": base.API_VERSION,
            "kind": "Rig",
            "metadata": {"name": "r1", "uid": "u", "generation": 2, "labels": {"a": "b"}, "managedFields": []},
            "spec": {"nodeName": "r1", "siteRef": {"name": "barn"}, "pin": "Idle", "aFieldOfTomorrow": 1},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Settled"}], "later": {}},
        }
    )

    assert (read.metadata.name, read.metadata.generation, read.metadata.labels) == ("r1", 2, {"a": "b"})
    assert read.spec.pin is rig.Pin.IDLE
    assert read.spec.site_ref.name == "barn"
    assert read.status.holds("Ready")
    assert not read.status.holds("Switching")
    with pytest.raises(pydantic.ValidationError):
        read.spec.pin = rig.Pin.AUTO  # type: ignore[misc]


def test_an_object_without_status_is_read() -> None:
    assert (
        rig.Rig.model_validate({"metadata": {"name": "r"}, "spec": {"nodeName": "r", "siteRef": {"name": "s"}}}).status
        == rig.RigStatus()
    )


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        (rig.RigSpec, {"siteRef": {"name": "s"}}, "nodeName"),
        (site.FixedTariff, {"usdPerKilowattHour": "cheap"}, "usdPerKilowattHour"),
        (aijob.Requirements, {"gpuMemory": "8GB"}, "gpuMemory"),
        (pricefeed.Freshness, {"fresh": "5"}, "fresh"),
    ],
)
def test_what_cannot_be_read_names_the_field(kind: type[base.Model], spec: dict[str, Any], field: str) -> None:
    with pytest.raises(pydantic.ValidationError) as refusal:
        kind.model_validate(spec)

    assert [error["loc"] for error in refusal.value.errors()] == [(field,)]


def test_the_words_are_those_of_the_other_rooms() -> None:
    def words(kind: typing.Any) -> list[str]:
        return [str(member.value) for member in kind]

    assert (base.GROUP, base.VERSION) == (names.GROUP, names.VERSION)
    assert words(aijob.WorkloadClass) == words(model.WorkloadClass)
    assert words(rig.Pin) == words(model.Pin)
    assert set(words(gpupool.ShareKind)) < set(words(model.ModeKind))
    assert words(feedunit.Quantity) == words(quotes.Quantity)
    assert sorted(words(feedunit.FeedUnit)) == sorted(units.UNITS)
    assert sorted(words(coin.HashrateUnit)) == sorted(units.HASH_RATES)


def test_the_kinds() -> None:
    assert {plural: kind.names.kind for plural, kind in api.KINDS.items()} == {
        "sites": "Site",
        "rigs": "Rig",
        "gpupools": "GPUPool",
        "coins": "Coin",
        "pricefeeds": "PriceFeed",
        "aijobs": "AIJob",
    }
    assert [plural for plural, kind in api.KINDS.items() if kind.names.namespaced] == ["aijobs"]
