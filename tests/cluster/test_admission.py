"""What the API server says to what people write: it refuses with words that help, fills in defaults, and explains."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from controlplane.client import ApiError
from controlplane.launcher import CommandError, ControlPlane
from switchyard import api
from switchyard.api import base, crd

pytestmark = pytest.mark.cluster

CRDS = Path(__file__).parents[2] / "crds"
NAMESPACE = "admission-tests"
GONE = object()

Changes = Mapping[str, Any]

WINDOW = {"days": ["Mon"], "from": "16:00", "to": "20:00", "usdPerKilowattHour": "0.31"}
CONTAINER = {"name": "work", "image": "example.com/train:1"}
GPU = {"nvidia.com/gpu": 1}
GOOD: dict[str, dict[str, Any]] = {
    "sites": {
        "nodeSelector": {"matchLabels": {"example.com/site": "barn"}},
        "jurisdiction": "US-TX",
        "timeZone": "America/Chicago",
        "tariff": {"fixed": {"usdPerKilowattHour": "0.085"}},
    },
    "rigs": {"nodeName": "node-1", "siteRef": {"name": "barn"}},
    "gpupools": {
        "rigSelector": {"matchLabels": {"switchyard.farm/site": "barn"}},
        "coins": ["kas"],
        "powerProfiles": [{"gpu": "NVIDIA-GeForce-RTX-3070", "aiWatts": 180, "idleWatts": 14}],
    },
    "coins": {
        "algorithm": "kheavyhash",
        "unit": "MH/s",
        "revenueFeed": "kas-revenue",
        "minGpuMemory": "2Gi",
        "wallet": {"secretName": "wallets"},
        "pools": ["stratum+tcp://pool.example.com:4444", "stratum+ssl://eu.pool.example.com:5555"],
        "miner": {"image": "example.com/miner:1", "args": ["--wallet", "$(WALLET)"]},
        "benchmarks": [{"gpu": "NVIDIA-GeForce-RTX-3070", "hashrate": "98.5", "watts": 130}],
    },
    "pricefeeds": {
        "quantity": "ElectricityPrice",
        "unit": "USD/MWh",
        "source": {"static": {"value": "42.5"}},
        "bounds": {"min": "-300", "max": "5000"},
    },
    "aijobs": {
        "workloadClass": "Training",
        "replicas": 2,
        "bid": {"usdPerGpuHour": "0.25"},
        "duration": "2h",
        "deadline": "2030-01-01T00:00:00Z",
        "requirements": {"gpuMemory": "8Gi", "computeCapability": "7.5", "jurisdictions": ["US"]},
        "template": {"spec": {"containers": [CONTAINER]}},
    },
}
HTTP = {"url": "https://prices.example.com/v1", "pointer": "/data/0/price"}
AHEAD = {"source": {"file": {"path": "ahead.csv"}}, "publishedAt": "14:00", "timeZone": "Europe/Berlin"}
PAID = {"quantity": "CoinRevenue", "unit": "USD/(MH/s)/day", "bounds": GONE}
NETWORK = {"coinPriceFeed": "etc-usd", "hashrateFeed": "etc-net", "rewardPerBlock": "2.048", "blockSeconds": "13"}
DIFFICULTY = {
    "coinPriceFeed": "etc-usd",
    "difficultyFeed": "etc-net",
    "hashesPerDifficulty": "1",
    "rewardPerBlock": "2.048",
}


def paid(network: Changes) -> dict[str, Any]:
    """What makes the feed one that is worked out from a network."""
    return {**PAID, "source": {"network": {key: value for key, value in network.items() if value is not GONE}}}


def collection(plural: str) -> str:
    middle = f"/namespaces/{NAMESPACE}" if api.KINDS[plural].names.namespaced else ""
    return f"/apis/{base.API_VERSION}{middle}/{plural}"


def written(plural: str, changes: Changes | None = None, *, name: str = "sample") -> dict[str, Any]:
    """A good object with some fields changed; paths start at the spec."""
    body = {
        "apiVersion": base.API_VERSION,
        "kind": api.KINDS[plural].names.kind,
        "metadata": {"name": name},
        "spec": copy.deepcopy(GOOD[plural]),
    }
    for path, value in (changes or {}).items():
        target: Any = body if path.startswith("metadata.") else body["spec"]
        *above, last = path.split(".")
        for step in above:
            target = target[int(step)] if isinstance(target, list) else target.setdefault(step, {})
        if value is GONE:
            del target[last]
        elif isinstance(target, list):
            target[int(last)] = value
        else:
            target[last] = value
    return body


@pytest.fixture(scope="module")
def served(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with the kinds."""
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    for plural in api.KINDS:
        control_plane.api.wait_until(
            f"{plural} are served", functools.partial(control_plane.api.get, collection(plural))
        )
    control_plane.api.patch(
        f"/api/v1/namespaces/{NAMESPACE}",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        kind="apply",
    )
    return control_plane


def tried(served: ControlPlane, plural: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What the server would make of it, as kubectl asks: strict. Nothing is kept."""
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    made: dict[str, Any] = served.api.request("POST", collection(plural), body=body, query=query)
    return made


BAD: list[tuple[str, str, Changes, tuple[str, ...]]] = [
    # --- Site -----------------------------------------------------------------------------------------------
    ("site-no-selector", "sites", {"nodeSelector": GONE}, ("spec.nodeSelector: Required value",)),
    ("site-empty-selector", "sites", {"nodeSelector": {}}, ("spec.nodeSelector", "an empty selector matches nothing")),
    (
        "site-selector-operator",
        "sites",
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}},
        ("spec.nodeSelector.matchExpressions[0].operator", 'supported values: "In", "NotIn"'),
    ),
    (
        "site-selector-values-missing",
        "sites",
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        ("spec.nodeSelector.matchExpressions[0].values", "In and NotIn need values"),
    ),
    (
        "site-selector-values-needless",
        "sites",
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["1"]}]}},
        ("spec.nodeSelector.matchExpressions[0].values", "Exists and DoesNotExist take none"),
    ),
    (
        "site-selector-key",
        "sites",
        {"nodeSelector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}},
        ("spec.nodeSelector.matchExpressions[0].key", "must be the key of a label"),
    ),
    (
        "site-selector-label",
        "sites",
        {"nodeSelector": {"matchLabels": {"a": "no spaces"}}},
        ("spec.nodeSelector.matchLabels", "must be labels"),
    ),
    ("site-jurisdiction", "sites", {"jurisdiction": "texas"}, ("spec.jurisdiction", 'such as "US"')),
    ("site-time-zone", "sites", {"timeZone": "central time"}, ("spec.timeZone", "IANA")),
    ("site-no-tariff", "sites", {"tariff": GONE}, ("spec.tariff: Required value",)),
    ("site-empty-tariff", "sites", {"tariff": {}}, ("spec.tariff", "exactly one of fixed, timeOfUse and feed")),
    (
        "site-two-tariffs",
        "sites",
        {"tariff.feed": {"priceFeed": "spot"}},
        ("spec.tariff", "exactly one of fixed, timeOfUse and feed"),
    ),
    (
        "site-price-without-quotes",
        "sites",
        {"tariff.fixed.usdPerKilowattHour": 0.085},
        ("spec.tariff.fixed.usdPerKilowattHour", "must be of type string"),
    ),
    (
        "site-price-comma",
        "sites",
        {"tariff.fixed.usdPerKilowattHour": "0,085"},
        ("spec.tariff.fixed.usdPerKilowattHour", 'a decimal number in quotes, such as "0.085"'),
    ),
    (
        "site-price-exponent",
        "sites",
        {"tariff.fixed.usdPerKilowattHour": "8e-2"},
        ("spec.tariff.fixed.usdPerKilowattHour", "decimal number in quotes"),
    ),
    (
        "site-price-negative",
        "sites",
        {"tariff.fixed.usdPerKilowattHour": "-0.01"},
        ("spec.tariff.fixed.usdPerKilowattHour", "at least 0 and below 10"),
    ),
    (
        "site-price-per-mwh",
        "sites",
        {"tariff.fixed.usdPerKilowattHour": "42.5"},
        ("spec.tariff.fixed.usdPerKilowattHour", "below 10; prices per megawatt-hour must be divided by 1000"),
    ),
    (
        "site-no-windows",
        "sites",
        {"tariff": {"timeOfUse": {"windows": [], "otherwise": "0.1"}}},
        ("spec.tariff.timeOfUse.windows", "should have at least 1 items"),
    ),
    (
        "site-no-otherwise",
        "sites",
        {"tariff": {"timeOfUse": {"windows": [WINDOW]}}},
        ("spec.tariff.timeOfUse.otherwise: Required value",),
    ),
    (
        "site-window-from",
        "sites",
        {"tariff": {"timeOfUse": {"windows": [{**WINDOW, "from": "4pm"}], "otherwise": "0.1"}}},
        ("spec.tariff.timeOfUse.windows[0].from", "HH:MM"),
    ),
    (
        "site-window-to",
        "sites",
        {"tariff": {"timeOfUse": {"windows": [{**WINDOW, "to": "24:00"}], "otherwise": "0.1"}}},
        ("spec.tariff.timeOfUse.windows[0].to", 'from "00:00" to "23:59"'),
    ),
    (
        "site-window-day",
        "sites",
        {"tariff": {"timeOfUse": {"windows": [{**WINDOW, "days": ["Monday"]}], "otherwise": "0.1"}}},
        ("spec.tariff.timeOfUse.windows[0].days[0]", 'supported values: "Mon"'),
    ),
    (
        "site-window-day-twice",
        "sites",
        {"tariff": {"timeOfUse": {"windows": [{**WINDOW, "days": ["Mon", "Mon"]}], "otherwise": "0.1"}}},
        ("spec.tariff.timeOfUse.windows[0].days[1]", "Duplicate value"),
    ),
    (
        "site-feed-name",
        "sites",
        {"tariff": {"feed": {"priceFeed": "Spot Market"}}},
        ("spec.tariff.feed.priceFeed", "must be the name of a PriceFeed"),
    ),
    ("site-pue-low", "sites", {"pue": "0.9"}, ("spec.pue", "at least 1 and at most 3")),
    ("site-pue-high", "sites", {"pue": "15"}, ("spec.pue", "at least 1 and at most 3")),
    ("site-unknown-field", "sites", {"puе": "1.1"}, ("unknown field", "spec.puе")),  # noqa: RUF001  # a Cyrillic e
    ("site-long-name", "sites", {"metadata.name": "s" * 64}, ("metadata.name: ", "must be at most 63 characters")),
    (
        "site-window-price",
        "sites",
        {"tariff": {"timeOfUse": {"windows": [{**WINDOW, "usdPerKilowattHour": "31"}], "otherwise": "cheap"}}},
        ("windows[0].usdPerKilowattHour", "per megawatt-hour", "timeOfUse.otherwise", "decimal number in quotes"),
    ),
    (
        "site-adder",
        "sites",
        {"tariff": {"feed": {"priceFeed": "spot", "adderUsdPerKilowattHour": "3ct"}}},
        ("spec.tariff.feed.adderUsdPerKilowattHour", "decimal number in quotes"),
    ),
    (
        "site-circuit-twice",
        "sites",
        {"circuits": [{"name": "c1", "limitWatts": 4000}, {"name": "c1", "limitWatts": 2000}]},
        ("spec.circuits[1]", "Duplicate value"),
    ),
    (
        "site-circuit-name",
        "sites",
        {"circuits": [{"name": "Circuit 1", "limitWatts": 4000}]},
        ("spec.circuits[0].name", "must be the name of a circuit: lower-case letters"),
    ),
    ("site-circuit-no-limit", "sites", {"circuits": [{"name": "c1"}]}, ("spec.circuits[0].limitWatts: Required",)),
    (
        "site-circuit-no-watts",
        "sites",
        {"circuits": [{"name": "c1", "limitWatts": 0}]},
        ("spec.circuits[0].limitWatts", "greater than or equal to 1"),
    ),
    (
        "site-circuit-kilowatts",
        "sites",
        {"circuits": [{"name": "c1", "limitWatts": "4kW"}]},
        ("spec.circuits[0].limitWatts", "must be of type integer"),
    ),
    (
        "site-circuit-fraction",
        "sites",
        {"circuits": [{"name": "c1", "limitWatts": 4000, "continuousFraction": "80"}]},
        ("spec.circuits[0].continuousFraction", "above 0 and at most 1"),
    ),
    (
        "site-circuit-no-fraction",
        "sites",
        {"circuits": [{"name": "c1", "limitWatts": 4000, "continuousFraction": "0"}]},
        ("spec.circuits[0].continuousFraction", 'such as "0.8", above 0'),
    ),
    # --- Rig ------------------------------------------------------------------------------------------------
    ("rig-circuit", "rigs", {"circuit": "barn/c1"}, ("spec.circuit", "must be the name of a circuit")),
    ("rig-no-node", "rigs", {"nodeName": GONE}, ("spec.nodeName: Required value",)),
    ("rig-node-name", "rigs", {"nodeName": "Node_1"}, ("spec.nodeName", "must be the name of a Node")),
    ("rig-no-site", "rigs", {"siteRef": GONE}, ("spec.siteRef: Required value",)),
    ("rig-site-name", "rigs", {"siteRef": {"name": "the barn"}}, ("spec.siteRef.name", "must be the name of a Site")),
    (
        "rig-pin",
        "rigs",
        {"pin": "Gaming"},
        ("spec.pin", 'supported values: "Auto", "Mining", "AI", "Idle", "PowerOff"'),
    ),
    ("rig-base-watts-low", "rigs", {"baseWatts": -1}, ("spec.baseWatts", "greater than or equal to 0")),
    ("rig-base-watts-high", "rigs", {"baseWatts": 80000}, ("spec.baseWatts", "less than or equal to 5000")),
    ("rig-maintenance", "rigs", {"maintenance": "yes"}, ("spec.maintenance", "must be of type boolean")),
    ("rig-unknown-field", "rigs", {"owner": "me"}, ('unknown field "spec.owner"',)),
    ("rig-long-name", "rigs", {"metadata.name": "r" * 64}, ("metadata.name: ", "must be at most 63 characters")),
    # --- GPUPool --------------------------------------------------------------------------------------------
    ("pool-no-selector", "gpupools", {"rigSelector": GONE}, ("spec.rigSelector: Required value",)),
    ("pool-empty-selector", "gpupools", {"rigSelector": {}}, ("spec.rigSelector", "matches nothing")),
    ("pool-mode", "gpupools", {"mode": "Advise"}, ("spec.mode", 'supported values: "Enforce", "Recommend"')),
    ("pool-coin-twice", "gpupools", {"coins": ["kas", "kas"]}, ("spec.coins[1]", "Duplicate value")),
    ("pool-coin-name", "gpupools", {"coins": ["KAS"]}, ("spec.coins[0]", "must be the name of a Coin")),
    (
        "pool-class",
        "gpupools",
        {"workloadClasses": ["LLM"]},
        ("spec.workloadClasses[0]", 'supported values: "Training"'),
    ),
    (
        "pool-allows-nothing",
        "gpupools",
        {"coins": GONE, "workloadClasses": [], "idle": False},
        ("the pool allows nothing: give it coins",),
    ),
    ("pool-max-zero", "gpupools", {"switching.maxConcurrent": 0}, ("spec.switching.maxConcurrent", "at least 1")),
    ("pool-max-0%", "gpupools", {"switching.maxConcurrent": "0%"}, ("spec.switching.maxConcurrent", 'from "1%" to')),
    ("pool-max-101%", "gpupools", {"switching.maxConcurrent": "101%"}, ("spec.switching.maxConcurrent", '"100%"')),
    ("pool-max-words", "gpupools", {"switching.maxConcurrent": "all"}, ("spec.switching.maxConcurrent", '"100%"')),
    (
        "pool-profile-twice",
        "gpupools",
        {"powerProfiles": [{"gpu": "a", "aiWatts": 100, "idleWatts": 9}, {"gpu": "a", "aiWatts": 90, "idleWatts": 9}]},
        ("spec.powerProfiles[1]", "Duplicate value"),
    ),
    (
        "pool-profile-upside-down",
        "gpupools",
        {"powerProfiles": [{"gpu": "a", "aiWatts": 9, "idleWatts": 100}]},
        ("spec.powerProfiles[0].idleWatts", "must not be above aiWatts"),
    ),
    ("pool-off-watts", "gpupools", {"offWatts": -5}, ("spec.offWatts", "greater than or equal to 0")),
    ("pool-long-name", "gpupools", {"metadata.name": "p" * 64}, ("metadata.name: ", "must be at most 63 characters")),
    (
        "pool-selector",
        "gpupools",
        {
            "rigSelector": {
                "matchLabels": {"a": "-"},
                "matchExpressions": [{"key": "/b", "operator": "DoesNotExist", "values": ["c"]}],
            }
        },
        ("rigSelector.matchLabels", "must be labels", "matchExpressions[0].key", "matchExpressions[0].values"),
    ),
    (
        "pool-share-kind",
        "gpupools",
        {"shares": [{"kind": "Idle", "floor": 1}]},
        ("spec.shares[0].kind", '"AI", "Mining"'),
    ),
    (
        "pool-share-twice",
        "gpupools",
        {"shares": [{"kind": "AI", "floor": 1}, {"kind": "AI", "most": 2}]},
        ("spec.shares[1]", "Duplicate value"),
    ),
    ("pool-share-empty", "gpupools", {"shares": [{"kind": "AI"}]}, ("spec.shares[0]", "must have floor or most")),
    (
        "pool-share-words",
        "gpupools",
        {"shares": [{"kind": "AI", "floor": "all", "most": "half"}]},
        (
            "spec.shares[0].floor",
            'a whole number of at least 0, or a share of the pool from "0%" to "100%"',
            "spec.shares[0].most",
        ),
    ),
    (
        "pool-share-number-in-quotes",
        "gpupools",
        {"shares": [{"kind": "AI", "floor": "5"}]},
        ("spec.shares[0].floor", 'from "0%" to "100%"'),
    ),
    (
        "pool-share-negative",
        "gpupools",
        {"shares": [{"kind": "AI", "floor": -1, "most": -1}]},
        ("spec.shares[0].floor", "spec.shares[0].most", "a whole number of at least 0"),
    ),
    (
        "pool-share-floor-above-most",
        "gpupools",
        {"shares": [{"kind": "Mining", "floor": 3, "most": 2}]},
        ("spec.shares[0].floor", "floor must not be above most"),
    ),
    (
        "pool-share-floor-above-most-percent",
        "gpupools",
        {"shares": [{"kind": "Mining", "floor": "30%", "most": "9%"}]},
        ("spec.shares[0].floor", "floor must not be a greater percentage than most"),
    ),
    (
        "pool-share-floors",
        "gpupools",
        {"shares": [{"kind": "Mining", "floor": "60%"}, {"kind": "AI", "floor": "41%"}]},
        ("spec.shares", "the floors of all shares together must not be above 100%"),
    ),
    # --- Coin -----------------------------------------------------------------------------------------------
    ("coin-dotted-name", "coins", {"metadata.name": "kas.v2"}, ("metadata.name", "letters, digits and '-'")),
    ("coin-algorithm", "coins", {"algorithm": "k heavy"}, ("spec.algorithm", "name of an algorithm")),
    ("coin-unit", "coins", {"unit": "mh"}, ("spec.unit", 'supported values: "H/s"')),
    ("coin-feed", "coins", {"revenueFeed": "Kas_Revenue"}, ("spec.revenueFeed", "must be the name of a PriceFeed")),
    ("coin-pool-fee-percent", "coins", {"poolFee": "1"}, ("spec.poolFee", 'below 1: a fraction, so 1 % is "0.01"')),
    ("coin-dev-fee-sign", "coins", {"devFee": "1%"}, ("spec.devFee", "decimal number in quotes")),
    ("coin-memory-unit", "coins", {"minGpuMemory": "6"}, ("spec.minGpuMemory", "an amount of memory with its unit")),
    ("coin-memory-words", "coins", {"minGpuMemory": "6 GB"}, ("spec.minGpuMemory", 'such as "8Gi"')),
    ("coin-memory-milli", "coins", {"minGpuMemory": "8m"}, ("spec.minGpuMemory", 'such as "8Gi"')),
    ("coin-startup", "coins", {"startup": "30"}, ("spec.startup", 'must be a duration in h, m and s, such as "30s"')),
    ("coin-startup-long", "coins", {"startup": "2h"}, ("spec.startup", "at most 1h")),
    ("coin-no-wallet", "coins", {"wallet": GONE}, ("spec.wallet: Required value",)),
    ("coin-secret-name", "coins", {"wallet.secretName": "My Wallet"}, ("spec.wallet.secretName", "name of a Secret")),
    ("coin-secret-key", "coins", {"wallet.key": "a/b"}, ("spec.wallet.key", "must be a key of a Secret")),
    ("coin-no-pools", "coins", {"pools": []}, ("spec.pools", "should have at least 1 items")),
    ("coin-pool-scheme", "coins", {"pools": ["pool.example.com:4444"]}, ("spec.pools[0]", "stratum+tcp://")),
    (
        "coin-wallet-in-url",
        "coins",
        {"pools": ["stratum+tcp://kaspa.worker@pool.example.com:4444"]},
        ("spec.pools[0]", "without a wallet or password: those come from the Secret"),
    ),
    ("coin-no-image", "coins", {"miner.image": GONE}, ("spec.miner.image: Required value",)),
    ("coin-image", "coins", {"miner.image": "lol miner"}, ("spec.miner.image", "must be a container image")),
    (
        "coin-benchmark-twice",
        "coins",
        {"benchmarks": [GOOD["coins"]["benchmarks"][0]] * 2},
        ("spec.benchmarks[1]", "Duplicate value"),
    ),
    ("coin-hashrate", "coins", {"benchmarks.0.hashrate": "0"}, ("spec.benchmarks[0].hashrate", "above 0")),
    ("coin-watts", "coins", {"benchmarks.0.watts": 0}, ("spec.benchmarks[0].watts", "greater than or equal to 1")),
    # --- PriceFeed ------------------------------------------------------------------------------------------
    (
        "feed-quantity",
        "pricefeeds",
        {"quantity": "GasPrice"},
        ("spec.quantity", 'supported values: "ElectricityPrice"'),
    ),
    ("feed-unit-unknown", "pricefeeds", {"unit": "EUR/GJ"}, ("spec.unit", 'supported values: "USD/kWh"')),
    (
        "feed-unit-of-coins",
        "pricefeeds",
        {"unit": "USD/(MH/s)/day"},
        ("spec.unit", "unit does not fit quantity: ElectricityPrice takes money per kWh or MWh"),
    ),
    (
        "feed-unit-of-power",
        "pricefeeds",
        {"quantity": "CoinRevenue"},
        ("spec.unit", "CoinRevenue takes USD per hash rate and time"),
    ),
    ("feed-no-source", "pricefeeds", {"source": GONE}, ("spec.source: Required value",)),
    ("feed-empty-source", "pricefeeds", {"source": {}}, ("spec.source", "exactly one of static, file, http, prom")),
    (
        "feed-two-sources",
        "pricefeeds",
        {"source.http": HTTP},
        ("spec.source", "exactly one of static, file, http, prom"),
    ),
    ("feed-static", "pricefeeds", {"source.static.value": "a lot"}, ("spec.source.static.value", "decimal number")),
    (
        "feed-file-above",
        "pricefeeds",
        {"source": {"file": {"path": "../spot.csv"}}},
        ("spec.source.file.path", "the operator's folder of prices, such as spot.csv, without .."),
    ),
    (
        "feed-file-format",
        "pricefeeds",
        {"source": {"file": {"path": "spot.xls", "format": "Excel"}}},
        ("spec.source.file.format", 'supported values: "CSV", "JSONLines"'),
    ),
    (
        "feed-replay-start",
        "pricefeeds",
        {"source": {"file": {"path": "a.csv", "replay": {"start": "yesterday"}}}},
        ("spec.source.file.replay.start", "date-time"),
    ),
    (
        "feed-replay-speed",
        "pricefeeds",
        {"source": {"file": {"path": "a.csv", "replay": {"start": "2021-02-13T00:00:00Z", "speed": 0}}}},
        ("spec.source.file.replay.speed", "greater than or equal to 1"),
    ),
    ("feed-url", "pricefeeds", {"source": {"http": {**HTTP, "url": "ftp://a.b"}}}, ("source.http.url", "web address")),
    ("feed-url-bare", "pricefeeds", {"source": {"http": {**HTTP, "url": "a.b/c"}}}, ("source.http.url", "web address")),
    (
        "feed-pointer",
        "pricefeeds",
        {"source": {"http": {**HTTP, "pointer": "data.price"}}},
        ("spec.source.http.pointer", "JSON pointer"),
    ),
    (
        "feed-timeout",
        "pricefeeds",
        {"source": {"http": {**HTTP, "timeout": "5m"}}},
        ("spec.source.http.timeout", "at least 1s and at most 1m"),
    ),
    (
        "feed-no-query",
        "pricefeeds",
        {"source": {"prometheus": {"url": "http://prometheus:9090"}}},
        ("spec.source.prometheus.query: Required value",),
    ),
    ("feed-interval", "pricefeeds", {"interval": "1 minute"}, ("spec.interval", "must be a duration in h, m and s")),
    ("feed-interval-zero", "pricefeeds", {"interval": "0s"}, ("spec.interval", "at least 1s")),
    (
        "feed-interval-long",
        "pricefeeds",
        {"interval": "1h"},
        ("spec.interval", "interval must not be longer than freshness.fresh"),
    ),
    ("feed-fresh-late", "pricefeeds", {"freshness": {"fresh": "2h"}}, ("spec.freshness.fresh", "shorter than dead")),
    (
        "feed-fresh-is-dead",
        "pricefeeds",
        {"freshness": {"fresh": "60m"}},
        ("spec.freshness.fresh", "shorter than dead"),
    ),
    ("feed-dead-words", "pricefeeds", {"freshness": {"dead": "never"}}, ("spec.freshness.dead", "must be a duration")),
    (
        "feed-bounds",
        "pricefeeds",
        {"bounds": {"min": "5", "max": "5"}},
        ("spec.bounds.min", "must be below bounds.max"),
    ),
    ("feed-bound-missing", "pricefeeds", {"bounds": {"min": "5"}}, ("spec.bounds.max: Required value",)),
    ("feed-bound-words", "pricefeeds", {"bounds.max": "much"}, ("spec.bounds.max", "decimal number in quotes")),
    (
        "feed-file-zone",
        "pricefeeds",
        {"source": {"file": {"path": "a.csv", "timeZone": "local time"}}},
        ("spec.source.file.timeZone", "IANA"),
    ),
    (
        "feed-time-pointer",
        "pricefeeds",
        {"source": {"http": {**HTTP, "timePointer": "at"}}},
        ("spec.source.http.timePointer", "JSON pointer"),
    ),
    (
        "feed-prometheus",
        "pricefeeds",
        {"source": {"prometheus": {"url": "prometheus:9090", "query": "up", "timeout": "0s"}}},
        ("spec.source.prometheus.url", "web address", "spec.source.prometheus.timeout", "at least 1s"),
    ),
    ("feed-fresh-words", "pricefeeds", {"freshness": {"fresh": ""}}, ("spec.freshness.fresh", "must be a duration")),
    (
        "feed-unit-of-rates",
        "pricefeeds",
        {"quantity": "ExchangeRate", "unit": "USD/kWh"},
        ("spec.unit", "ExchangeRate takes USD/EUR"),
    ),
    (
        "feed-unit-of-networks",
        "pricefeeds",
        {"quantity": "NetworkHashrate", "unit": "difficulty"},
        ("spec.unit", "NetworkHashrate takes a hash rate"),
    ),
    ("feed-no-rate", "pricefeeds", {"unit": "EUR/MWh"}, ("spec.exchange", "not in US dollars needs exchange")),
    ("feed-rate-of-cents", "pricefeeds", {"unit": "ct/kWh"}, ("spec.exchange", "not in US dollars needs exchange")),
    (
        "feed-rate-of-dollars",
        "pricefeeds",
        {"exchange": {"rate": "1.1"}},
        ("spec.exchange", "in another currency than US dollars"),
    ),
    (
        "feed-two-rates",
        "pricefeeds",
        {"unit": "EUR/MWh", "exchange": {"rate": "1.1", "priceFeed": "usd-eur"}},
        ("spec.exchange", "exactly one of priceFeed and rate"),
    ),
    ("feed-empty-rate", "pricefeeds", {"unit": "p/kWh", "exchange": {}}, ("spec.exchange", "exactly one of priceFeed")),
    (
        "feed-rate-words",
        "pricefeeds",
        {"unit": "EUR/MWh", "exchange": {"rate": "0"}},
        ("spec.exchange.rate", "above 0"),
    ),
    (
        "feed-rate-name",
        "pricefeeds",
        {"unit": "EUR/MWh", "exchange": {"priceFeed": "Dollar"}},
        ("spec.exchange.priceFeed", "must be the name of a PriceFeed"),
    ),
    ("feed-sigma", "pricefeeds", {"outliers": {"sigma": "0"}}, ("spec.outliers.sigma", "above 0")),
    ("feed-window", "pricefeeds", {"outliers": {"window": "5m"}}, ("spec.outliers.window", "at least 10m")),
    ("feed-persist", "pricefeeds", {"outliers": {"persist": "48h"}}, ("spec.outliers.persist", "at most 24h")),
    (
        "feed-persist-long",
        "pricefeeds",
        {"outliers": {"persist": "5h"}},
        ("spec.outliers.persist", "must not be longer than window"),
    ),
    ("feed-action", "pricefeeds", {"outliers": {"action": "Drop"}}, ("spec.outliers.action", '"Hold", "Accept"')),
    (
        "feed-forecast-of-coins",
        "pricefeeds",
        {"quantity": "CoinPrice", "unit": "USD/coin", "forecast": AHEAD},
        ("spec.forecast", "only an ElectricityPrice has a forecast"),
    ),
    (
        "feed-forecast-unit",
        "pricefeeds",
        {"forecast": {**AHEAD, "unit": "EUR/MWh"}},
        ("spec.forecast.unit", "in the same currency as unit"),
    ),
    (
        "feed-forecast-unit-of-coins",
        "pricefeeds",
        {"forecast": {**AHEAD, "unit": "USD/coin"}},
        ("spec.forecast.unit", "must be a price of power"),
    ),
    (
        "feed-forecast-times",
        "pricefeeds",
        {"forecast": {**AHEAD, "publishedAt": "2 pm", "timeZone": "local time", "interval": "1s"}},
        ("spec.forecast.publishedAt", "HH:MM", "spec.forecast.timeZone", "IANA", "spec.forecast.interval", "10s"),
    ),
    (
        "feed-forecast-no-hour",
        "pricefeeds",
        {"forecast": {"source": AHEAD["source"]}},
        ("spec.forecast.publishedAt: Required value",),
    ),
    (
        "feed-forecast-source",
        "pricefeeds",
        {"forecast": {**AHEAD, "source": {}}},
        ("spec.forecast.source", "exactly one of file and http"),
    ),
    (
        "feed-forecast-file",
        "pricefeeds",
        {"forecast": {**AHEAD, "source": {"file": {"path": "../a.csv", "timeZone": "local time"}}}},
        ("spec.forecast.source.file.path", "without ..", "spec.forecast.source.file.timeZone", "IANA"),
    ),
    (
        "feed-forecast-replay",
        "pricefeeds",
        {
            "forecast": {
                **AHEAD,
                "source": {"file": {"path": "a.csv", "replay": {"start": "2021-02-13T00:00:00Z", "speed": 2}}},
            }
        },
        ("spec.forecast.source.file", "at speed 1 only"),
    ),
    (
        "feed-forecast-http",
        "pricefeeds",
        {
            "forecast": {
                **AHEAD,
                "source": {
                    "http": {
                        "url": "a.b/c",
                        "pointer": "data",
                        "timePointer": "at",
                        "valuePointer": "price",
                        "timeout": "5m",
                    }
                },
            }
        },
        (
            "spec.forecast.source.http.url",
            "spec.forecast.source.http.pointer",
            "spec.forecast.source.http.timePointer",
            "spec.forecast.source.http.valuePointer",
            "spec.forecast.source.http.timeout",
        ),
    ),
    (
        "feed-network-of-power",
        "pricefeeds",
        {"source": {"network": NETWORK}},
        ("spec.source.network", "works out CoinRevenue and nothing else"),
    ),
    (
        "feed-network-names",
        "pricefeeds",
        paid({**NETWORK, **DIFFICULTY, "coinPriceFeed": "A", "hashrateFeed": "B", "difficultyFeed": "C"}),
        (
            "spec.source.network.coinPriceFeed",
            "spec.source.network.hashrateFeed",
            "spec.source.network.difficultyFeed",
            "exactly one of hashrateFeed and difficultyFeed",
        ),
    ),
    (
        "feed-network-numbers",
        "pricefeeds",
        paid(
            {
                **NETWORK,
                "hashesPerDifficulty": "-1",
                "rewardPerBlock": "0",
                "blockSeconds": "soon",
                "coinsPerDay": "1e9",
                "luckHalfLife": "1s",
            }
        ),
        (
            "spec.source.network.hashesPerDifficulty",
            "spec.source.network.rewardPerBlock",
            "spec.source.network.blockSeconds",
            "spec.source.network.coinsPerDay",
            "spec.source.network.luckHalfLife",
        ),
    ),
    (
        "feed-network-two-rewards",
        "pricefeeds",
        paid({**NETWORK, "coinsPerDay": "13000"}),
        ("spec.source.network", "exactly one of rewardPerBlock and coinsPerDay"),
    ),
    (
        "feed-network-difficulty-by-day",
        "pricefeeds",
        paid({**DIFFICULTY, "rewardPerBlock": GONE, "coinsPerDay": "13000"}),
        ("spec.source.network.rewardPerBlock", "difficultyFeed needs rewardPerBlock"),
    ),
    (
        "feed-network-hashes",
        "pricefeeds",
        paid({**NETWORK, "hashesPerDifficulty": "1"}),
        ("spec.source.network.hashesPerDifficulty", "goes with difficultyFeed"),
    ),
    (
        "feed-network-no-seconds",
        "pricefeeds",
        paid({**NETWORK, "blockSeconds": GONE}),
        ("spec.source.network.blockSeconds", "blockSeconds goes with hashrateFeed and rewardPerBlock"),
    ),
    (
        "feed-network-more-seconds",
        "pricefeeds",
        paid({**DIFFICULTY, "blockSeconds": "13"}),
        ("spec.source.network.blockSeconds", "and with nothing else"),
    ),
    ("feed-network-payout", "pricefeeds", paid({**NETWORK, "payout": "Solo"}), ("payout", '"PPLNS", "PPS"')),
    ("feed-bound-comma", "pricefeeds", {"bounds.min": "1,5"}, ("spec.bounds.min", "decimal number in quotes")),
    # --- AIJob ----------------------------------------------------------------------------------------------
    ("job-class", "aijobs", {"workloadClass": "LLM"}, ("spec.workloadClass", 'supported values: "Training"')),
    ("job-replicas", "aijobs", {"replicas": 0}, ("spec.replicas", "greater than or equal to 1")),
    ("job-gpus", "aijobs", {"gpusPerReplica": 17}, ("spec.gpusPerReplica", "less than or equal to 16")),
    (
        "job-gang",
        "aijobs",
        {"replicas": 200, "gpusPerReplica": 8},
        ("spec.replicas", "replicas times gpusPerReplica must not be above 1024 GPUs"),
    ),
    ("job-no-bid", "aijobs", {"bid": GONE}, ("spec.bid: Required value",)),
    ("job-bid", "aijobs", {"bid.usdPerGpuHour": "$0.25"}, ("spec.bid.usdPerGpuHour", "decimal number in quotes")),
    ("job-bid-negative", "aijobs", {"bid.usdPerGpuHour": "-1"}, ("spec.bid.usdPerGpuHour", "decimal number in quotes")),
    ("job-bid-huge", "aijobs", {"bid.usdPerGpuHour": "25000"}, ("spec.bid.usdPerGpuHour", "at most 1000")),
    ("job-no-duration", "aijobs", {"duration": GONE}, ("spec.duration: Required value",)),
    ("job-duration-zero", "aijobs", {"duration": "0h"}, ("spec.duration", "at least 1s")),
    ("job-duration-days", "aijobs", {"duration": "2d"}, ("spec.duration", "must be a duration in h, m and s")),
    ("job-duration-empty", "aijobs", {"duration": ""}, ("spec.duration", "must be a duration in h, m and s")),
    ("job-deadline", "aijobs", {"deadline": "tomorrow"}, ("spec.deadline", "date-time")),
    ("job-memory", "aijobs", {"requirements.gpuMemory": "8GB"}, ("spec.requirements.gpuMemory", 'such as "8Gi"')),
    ("job-memory-number", "aijobs", {"requirements.hostMemory": 4}, ("spec.requirements.hostMemory", "type string")),
    (
        "job-capability",
        "aijobs",
        {"requirements.computeCapability": "sm_86"},
        ("spec.requirements.computeCapability", 'such as "8.6"'),
    ),
    (
        "job-capability-number",
        "aijobs",
        {"requirements.computeCapability": 8.6},
        ("spec.requirements.computeCapability", "type string"),
    ),
    (
        "job-jurisdiction",
        "aijobs",
        {"requirements.jurisdictions": ["US", "Texas"]},
        ("spec.requirements.jurisdictions[1]", "ISO 3166"),
    ),
    ("job-policy", "aijobs", {"preemption": {"policy": "Maybe"}}, ("spec.preemption.policy", '"Never", "Allowed"')),
    ("job-notice", "aijobs", {"preemption": {"notice": "3h"}}, ("spec.preemption.notice", "at most 1h")),
    ("job-no-template", "aijobs", {"template": GONE}, ("spec.template: Required value",)),
    ("job-no-containers", "aijobs", {"template.spec.containers": []}, ("spec.template.spec.containers", "at least 1")),
    (
        "job-no-image",
        "aijobs",
        {"template.spec.containers": [{"name": "work"}]},
        ("spec.template.spec.containers[0].image: Required value",),
    ),
    (
        "job-container-twice",
        "aijobs",
        {"template.spec.containers": [CONTAINER, CONTAINER]},
        ("spec.template.spec.containers[1]", "Duplicate value"),
    ),
    (
        "job-own-gpus",
        "aijobs",
        {"template.spec.containers": [{**CONTAINER, "resources": {"limits": GPU}}]},
        ("spec.template.spec.containers[0].resources.limits", "say gpusPerReplica instead"),
    ),
    (
        "job-own-node",
        "aijobs",
        {"template.spec.nodeName": "node-1"},
        ("spec.template.spec.nodeName", "the operator places the gang"),
    ),
    (
        "job-own-claim",
        "aijobs",
        {"template.spec.nodeSelector": {"switchyard.farm/claim": "x"}},
        ("spec.template.spec.nodeSelector", "those are the operator's"),
    ),
    (
        "job-own-label",
        "aijobs",
        {"template.metadata": {"labels": {"switchyard.farm/role": "miner"}}},
        ("spec.template.metadata.labels", "those are the operator's"),
    ),
    (
        "job-restart",
        "aijobs",
        {"template.spec.restartPolicy": "Always"},
        ("spec.template.spec.restartPolicy", "must be Never or absent"),
    ),
    ("job-host-memory", "aijobs", {"requirements.hostMemory": "4"}, ("spec.requirements.hostMemory", "with its unit")),
    (
        "job-link",
        "aijobs",
        {"requirements.hostLinkGigabytesPerSecond": "fast"},
        ("spec.requirements.hostLinkGigabytesPerSecond", "decimal number in quotes"),
    ),
    ("job-min-runtime", "aijobs", {"preemption": {"minRuntime": "10"}}, ("spec.preemption.minRuntime", '"10m"')),
    (
        "job-own-annotation",
        "aijobs",
        {"template.metadata": {"annotations": {"switchyard.farm/progress": "1"}}},
        ("spec.template.metadata.annotations", "those are the operator's"),
    ),
    (
        "job-own-requests",
        "aijobs",
        {"template.spec.containers": [{**CONTAINER, "resources": {"requests": GPU}}]},
        ("spec.template.spec.containers[0].resources.requests", "say gpusPerReplica instead"),
    ),
    (
        "job-own-early-gpus",
        "aijobs",
        {"template.spec.initContainers": [{**CONTAINER, "resources": {"limits": GPU, "requests": GPU}}]},
        ("initContainers[0].resources.limits", "initContainers[0].resources.requests", "say gpusPerReplica instead"),
    ),
    ("job-ttl", "aijobs", {"ttlAfterFinished": "a day"}, ("spec.ttlAfterFinished", "must be a duration in h, m and s")),
    ("job-long-name", "aijobs", {"metadata.name": "j" * 64}, ("metadata.name: ", "must be at most 63 characters")),
    ("job-unknown-field", "aijobs", {"checkpointEvery": "5m"}, ('unknown field "spec.checkpointEvery"',)),
]


@pytest.mark.parametrize(("plural", "changes", "said"), [entry[1:] for entry in BAD], ids=[entry[0] for entry in BAD])
def test_refuses_and_says_why(served: ControlPlane, plural: str, changes: Changes, said: tuple[str, ...]) -> None:
    with pytest.raises(ApiError) as refusal:
        tried(served, plural, written(plural, changes))

    text = str(refusal.value)
    for part in said:
        assert part in text
    # A rule must come to a result on whatever is written; what people then read is its message, not its text.
    assert not re.search(r"evaluat|no such (key|overload)|failed rule|conversion error", text)


INVALID = r': Invalid value: ([0-9]+: |"[^"]*": )?'


def test_every_rule_has_refused_something(served: ControlPlane) -> None:
    """A new rule needs a case above; rules on updates have tests of their own."""
    refusals = []
    for _, plural, changes, _ in BAD:
        try:
            tried(served, plural, written(plural, changes))
        except ApiError as refusal:
            refusals.append((plural, str(refusal)))

    untried = [
        (plural, path, rule["message"])
        for plural, kind in api.KINDS.items()
        for path, rule in rules(crd.schema(kind))
        if "oldSelf" not in rule["rule"]
        and not any(
            of == plural and re.search(path + INVALID + re.escape(rule["message"]), text) for of, text in refusals
        )
    ]
    assert untried == []


def rules(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every rule of a schema, with a pattern for the path its error names."""
    for rule in schema.get(base.RULES, ()):
        yield (path + re.escape(rule.get("fieldPath", ""))).removeprefix(r"\."), rule
    for name, child in schema.get("properties", {}).items():
        yield from rules(child, rf"{path}\.{name}")
    if "items" in schema:
        yield from rules(schema["items"], path + r"\[[0-9]+\]")


ACCEPTED: list[tuple[str, str, Changes]] = [
    ("site", "sites", {}),
    ("site-least", "sites", {"jurisdiction": GONE, "timeZone": GONE}),
    (
        "site-windows",
        "sites",
        {"tariff": {"timeOfUse": {"windows": [WINDOW, {**WINDOW, "to": "06:00"}], "otherwise": "0"}}},
    ),
    (
        "site-feed",
        "sites",
        {"tariff": {"feed": {"priceFeed": "spot", "adderUsdPerKilowattHour": "-0.01"}}, "pue": "1.15"},
    ),
    ("site-expressions", "sites", {"nodeSelector": {"matchExpressions": [{"key": "a.b/c", "operator": "Exists"}]}}),
    (
        "site-circuits",
        "sites",
        {
            "circuits": [
                {"name": "c1", "limitWatts": 4000},
                {"name": "c2", "limitWatts": 15000, "continuousFraction": "1"},
            ]
        },
    ),
    ("rig", "rigs", {}),
    ("rig-on-a-circuit", "rigs", {"circuit": "c1"}),
    ("rig-pinned", "rigs", {"pin": "PowerOff", "maintenance": True, "baseWatts": 0}),
    ("pool", "gpupools", {}),
    ("pool-number", "gpupools", {"switching.maxConcurrent": 3, "mode": "Enforce"}),
    ("pool-percent", "gpupools", {"switching.maxConcurrent": "100%", "coins": [], "powerOff": True}),
    (
        "pool-shares",
        "gpupools",
        {"shares": [{"kind": "Mining", "floor": 2, "most": "50%"}, {"kind": "AI", "floor": 0}]},
    ),
    (
        "pool-shares-all",
        "gpupools",
        {"shares": [{"kind": "Mining", "floor": "40%", "most": "100%"}, {"kind": "AI", "floor": "60%", "most": "60%"}]},
    ),
    ("coin", "coins", {}),
    ("coin-solutions", "coins", {"unit": "Sol/s", "poolFee": "0", "devFee": "0.02", "benchmarks": []}),
    ("coin-plain-pool", "coins", {"pools": ["stratum2+tcp://10.0.0.1:3333", "https://pool.example.com/api"]}),
    ("feed", "pricefeeds", {}),
    ("feed-coin", "pricefeeds", {"quantity": "CoinRevenue", "unit": "USD/(Sol/s)/day"}),
    (
        "feed-file",
        "pricefeeds",
        {
            "source": {
                "file": {"path": "a.csv", "where": {"zone": "LZ_WEST"}, "replay": {"start": "2021-02-13T00:00:00Z"}}
            }
        },
    ),
    ("feed-http", "pricefeeds", {"source": {"http": {**HTTP, "timePointer": "/data/0/at"}}, "interval": "10m"}),
    ("feed-prometheus", "pricefeeds", {"source": {"prometheus": {"url": "http://prometheus:9090", "query": "up"}}}),
    ("feed-forecast", "pricefeeds", {"forecast": AHEAD}),
    (
        "feed-forecast-web",
        "pricefeeds",
        {"unit": "EUR/MWh", "exchange": {"priceFeed": "usd-eur"}, "forecast": {**AHEAD, "unit": "ct/kWh"}},
    ),
    ("feed-pence", "pricefeeds", {"unit": "p/kWh", "exchange": {"rate": "1.27"}}),
    ("feed-rate", "pricefeeds", {"quantity": "ExchangeRate", "unit": "USD/EUR", "bounds": GONE}),
    ("feed-coin", "pricefeeds", {"quantity": "CoinPrice", "unit": "EUR/coin", "exchange": {"rate": "1.1"}}),
    ("feed-network", "pricefeeds", paid(NETWORK)),
    ("feed-network-by-day", "pricefeeds", paid({"coinPriceFeed": "a", "hashrateFeed": "b", "coinsPerDay": "13000"})),
    ("feed-network-by-difficulty", "pricefeeds", paid({**DIFFICULTY, "payout": "PPS", "luckHalfLife": "1h"})),
    ("feed-outliers", "pricefeeds", {"outliers": {"action": "Accept"}}),
    ("job", "aijobs", {}),
    ("job-least", "aijobs", {"replicas": GONE, "deadline": GONE, "requirements": GONE}),
    (
        "job-largest",
        "aijobs",
        {"replicas": 1024, "gpusPerReplica": 1, "preemption": {"policy": "Never", "notice": "0s"}},
    ),
]


@pytest.mark.parametrize(("plural", "changes"), [entry[1:] for entry in ACCEPTED], ids=[entry[0] for entry in ACCEPTED])
def test_accepts(served: ControlPlane, plural: str, changes: Changes) -> None:
    made = tried(served, plural, written(plural, changes))

    api.KINDS[plural].model_validate(made)  # what the server lets in can be read


def test_accepts_the_examples_of_feeds(served: ControlPlane) -> None:
    examples = Path(__file__).parents[2] / "examples" / "feeds" / "feeds.yaml"
    served.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(examples))


def test_keeps_what_it_does_not_know_of_a_template(served: ControlPlane) -> None:
    pod = {
        "terminationGracePeriodSeconds": 90,
        "containers": [{**CONTAINER, "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"memory": "4Gi"}}}],
        "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}],
    }

    made = tried(served, "aijobs", written("aijobs", {"template": {"spec": pod}}))

    assert made["spec"]["template"]["spec"] == pod


@pytest.mark.parametrize(
    ("plural", "changes", "expected"),
    [
        ("sites", {"timeZone": GONE}, {"timeZone": "UTC", "pue": "1"}),
        (
            "sites",
            {"circuits": [{"name": "c1", "limitWatts": 4000}]},
            {"circuits": [{"name": "c1", "limitWatts": 4000, "continuousFraction": "0.8"}]},
        ),
        ("rigs", {}, {"pin": "Auto", "maintenance": False, "baseWatts": 80}),
        (
            "gpupools",
            {},
            {
                "mode": "Recommend",
                "idle": True,
                "powerOff": False,
                "offWatts": 5,
                "switching": {"maxConcurrent": "25%"},
                "workloadClasses": ["Training", "Inference", "Batch", "Render", "HPC"],
            },
        ),
        ("coins", {}, {"poolFee": "0.01", "devFee": "0.01", "startup": "30s"}),
        ("pricefeeds", {}, {"interval": "60s", "freshness": {"fresh": "10m", "dead": "60m"}}),
        ("pricefeeds", {}, {"outliers": {"action": "Hold", "sigma": "3", "window": "4h", "persist": "10m"}}),
        ("pricefeeds", {"freshness": {"fresh": "30m"}}, {"freshness": {"fresh": "30m", "dead": "60m"}}),
        (
            "aijobs",
            {"replicas": GONE, "requirements": GONE},
            {
                "replicas": 1,
                "gpusPerReplica": 1,
                "suspend": False,
                "requirements": {},
                "preemption": {"policy": "Allowed", "notice": "2m", "minRuntime": "10m"},
            },
        ),
    ],
)
def test_fills_in_defaults(served: ControlPlane, plural: str, changes: Changes, expected: dict[str, Any]) -> None:
    made = tried(served, plural, written(plural, changes))

    assert {key: made["spec"].get(key) for key in expected} == expected


@pytest.fixture
def kept(served: ControlPlane) -> Iterator[Any]:
    """Makes objects that stay until the test is over; returns their paths."""
    paths = []

    def create(plural: str) -> str:
        served.api.create(collection(plural), written(plural, name="admission-kept"))
        paths.append(f"{collection(plural)}/admission-kept")
        return paths[-1]

    yield create
    for path in paths:
        served.api.delete(path)


def test_a_rig_stays_on_its_node(served: ControlPlane, kept: Any) -> None:
    path = kept("rigs")

    served.api.patch(path, {"spec": {"pin": "Idle"}})
    with pytest.raises(ApiError, match=r"spec\.nodeName: .*nodeName cannot be changed: delete this Rig"):
        served.api.patch(path, {"spec": {"nodeName": "node-2"}})


def test_a_feed_keeps_its_quantity(served: ControlPlane, kept: Any) -> None:
    path = kept("pricefeeds")

    served.api.patch(path, {"spec": {"source": {"static": {"value": "43"}}}})
    with pytest.raises(ApiError, match=r"spec\.quantity: .*quantity cannot be changed: make another PriceFeed"):
        served.api.patch(path, {"spec": {"quantity": "CoinRevenue", "unit": "USD/(MH/s)/day"}})


FIXED_ONCE_ADMITTED: list[tuple[Changes, str]] = [
    ({"workloadClass": "Batch"}, "workloadClass cannot be changed while the job is admitted"),
    ({"replicas": 3}, "replicas cannot be changed while the job is admitted"),
    ({"gpusPerReplica": 2}, "gpusPerReplica cannot be changed while the job is admitted"),
    ({"requirements": {"gpuMemory": "6Gi"}}, "requirements cannot be changed while the job is admitted"),
    ({"preemption": {"policy": "Never"}}, "preemption cannot be changed while the job is admitted"),
    (
        {"template": {"spec": {"containers": [{**CONTAINER, "image": "example.com/other:1"}]}}},
        "template cannot be changed while the job is admitted",
    ),
    ({"bid": {"usdPerGpuHour": "0.2"}}, "bid cannot be lowered while the job is admitted"),
]


def test_a_job_keeps_its_terms_while_admitted(served: ControlPlane, kept: Any) -> None:
    path = kept("aijobs")

    def admitted(status: str) -> None:
        condition = {"type": "Admitted", "status": status, "reason": "Tested"}
        served.api.patch(f"{path}/status", {"status": {"conditions": [condition]}})

    served.api.patch(path, {"spec": {"replicas": 4, "bid": {"usdPerGpuHour": "0.25"}}})
    admitted("True")
    for changes, message in FIXED_ONCE_ADMITTED:
        with pytest.raises(ApiError, match=message):
            served.api.patch(path, {"spec": changes})
    for allowed in ({"bid": {"usdPerGpuHour": "0.30"}}, {"suspend": True}, {"duration": "3h"}):
        served.api.patch(path, {"spec": allowed})
    admitted("False")
    for changes, _ in FIXED_ONCE_ADMITTED:
        served.api.patch(path, {"spec": changes})


def test_status_is_written_by_two_hands(served: ControlPlane, kept: Any) -> None:
    path = kept("rigs")
    agent = {
        "profile": "mining.kas",
        "since": "2030-01-01T00:00:00Z",
        "gpuMemoryUsedMiB": 0,
        "watts": 700,
        "observedAt": "2030-01-01T00:00:01.5Z",
    }
    operator = {
        "observedGeneration": 1,
        "pool": "all",
        "mode": {"desired": "Mining/kas", "observed": "Switching"},
        "step": {"name": "Starting", "since": "2030-01-01T00:00:00Z", "reason": "Best", "message": ""},
        "decision": {"chosen": "Mining/kas", "alternatives": [{"mode": "Mining/kas", "netUsdPerHour": "0.12"}]},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Settled", "message": "In Mining/kas."}],
    }

    for manager, status in (("switchyard-agent", {"agent": agent}), ("switchyard-operator", operator)):
        written_status = {"apiVersion": base.API_VERSION, "kind": "Rig", "status": status}
        served.api.request(
            "PATCH",
            f"{path}/status",
            body=written_status,
            query={"fieldManager": manager, "fieldValidation": "Strict"},
            content_type="application/apply-patch+yaml",
        )

    body = served.api.get(path)
    # Exactly what was written: the server adds nothing, so a writer can compare.
    assert body["status"] == {**operator, "agent": agent}
    assert api.KINDS["rigs"].model_validate(body)


def test_a_rule_holds_for_what_kubectl_makes_of_yaml(served: ControlPlane) -> None:
    """A bare 0.31 is a number to YAML, and Norway is false: people are told to put them in quotes."""
    text = """
        apiVersion: switchyard.farm/v1alpha1
        kind: Site
        metadata: {name: admission-yaml}
        spec:
          nodeSelector: {matchLabels: {example.com/site: barn}}
          jurisdiction: NO
          tariff: {fixed: {usdPerKilowattHour: 0.31}}
    """
    with pytest.raises(CommandError) as refusal:
        served.kubectl("create", "--dry-run=server", "-f", "-", input=text)

    for field in (r"spec\.jurisdiction", r"spec\.tariff\.fixed\.usdPerKilowattHour"):
        assert re.search(rf"{field}: .*must be of type string", str(refusal.value))
    assert "reads a bare NO as false" in " ".join(served.kubectl("explain", "site.spec").split())


EXPLAINED = [
    ("rig", "One GPU node of the farm"),
    ("rig.spec", "Name of the Node that this rig is. It cannot be changed."),
    ("rig.spec", "Auto (default) leaves it to the plan"),
    ("rig.spec", "Watts of the rig without its GPUs"),
    ("rig.status.decision", "in US dollars per hour: why the rig does what it does"),
    ("site.spec.tariff.timeOfUse.windows", "Not later than from: the window runs past midnight"),
    ("gp.spec.switching", "Default 25%"),
    ("coin.spec.benchmarks", "Hash rate of one GPU in the coin's unit"),
    ("feed.spec.freshness", "Age up to which a price has full trust. Default 10m."),
    ("feed.spec.outliers", "it persists"),
    ("feed.spec.forecast", "Nothing is known before."),
    ("aijob.spec.preemption", "Time between the notice to its Pods and their eviction"),
    ("aijob.spec.template.spec", "The first one gets the GPUs"),
]


@pytest.mark.parametrize(("field", "words"), EXPLAINED)
def test_kubectl_explains(served: ControlPlane, field: str, words: str) -> None:
    assert words in " ".join(served.kubectl("explain", field).split())


def test_lists_all_kinds_by_their_category(served: ControlPlane, kept: Any) -> None:
    kept("rigs")
    kept("aijobs")

    listed = served.kubectl("get", base.CATEGORY, "--all-namespaces")

    assert re.search(r"NAME +POOL +MODE +DESIRED +DECISION +WATTS +READY +AGE", listed)
    assert re.search(r"CLASS +REPLICAS +GPUS EACH +BID +RESERVE +ADMITTED +RUNNING +FINISHED +PROGRESS +AGE", listed)
