from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

import sample_farm
from switchyard.api import aijob as aijob_api
from switchyard.api import base
from switchyard.api import coin as coin_api
from switchyard.api import gpupool as gpupool_api
from switchyard.api import pricefeed as pricefeed_api
from switchyard.api import rig as rig_api
from switchyard.api import site as site_api
from switchyard.cluster import commands, names
from switchyard.fleet import model
from switchyard.handover import reasons
from switchyard.handover import record as records
from switchyard.market import feed as feed_memory
from switchyard.market import feeds, quotes
from switchyard.planning import draw, request
from switchyard.status import coin, conditions, events, feed, job, pool, rig, site, writes
from switchyard.valuation import values

NOW = sample_farm.NOW
KAS = model.Mode(model.ModeKind.MINING, "kas")
TRAIN = model.Mode(model.ModeKind.AI, "tenant/train")
REF = commands.Ref(api_version=names.API_VERSION, kind="Rig", plural="rigs", name="rig-0")


def minutes(number: float) -> datetime.timedelta:
    return datetime.timedelta(minutes=number)


def record(**over: Any) -> records.Record:
    given: dict[str, Any] = {
        "mode": KAS,
        "origin": model.IDLE,
        "step": records.Step.SETTLED,
        "since": NOW - minutes(60),
        "deadline": None,
        "started": NOW - minutes(61),
        "reason": "BetterMode",
        "message": "0.1400 $/h better",
    }
    return records.Record(**{**given, **over})


def switching(**over: Any) -> records.Record:
    given: dict[str, Any] = {
        "mode": TRAIN,
        "origin": KAS,
        "step": records.Step.STOPPING,
        "since": NOW - minutes(1),
        "deadline": NOW + minutes(1),
        "started": NOW - minutes(2),
        "reason": "Admitted",
        "message": "admitted with its gang",
    }
    return records.Record(**{**given, **over})


def worth(mode: model.Mode, revenue: float, **over: Any) -> values.Worth:
    given: dict[str, Any] = {"fees_usd_per_hour": 0.01, "watts": 860.0, "power_usd_per_hour": 0.07}
    return values.Worth(mode=mode, revenue_usd_per_hour=revenue, **{**given, **over})


def alternative(mode: model.Mode, revenue: float | None, **over: Any) -> request.Alternative:
    refusal = None
    if revenue is None:
        refusal = values.Refusal(mode=mode, reason="NotEnoughGpuMemory", lacks="needs 24 GiB, the cards have 8")
    given: dict[str, Any] = {
        "mode": mode,
        "worth": worth(mode, revenue) if revenue is not None else None,
        "refusal": refusal,
        "cost": values.SwitchCost(seconds=60.0, usd=0.002) if revenue is not None else None,
        "cost_usd": 0.005 if revenue is not None else None,
        "regret_usd": 0.1,
        "lacks": "",
    }
    return request.Alternative(**{**given, **over})


def decision(*alternatives: request.Alternative, **over: Any) -> request.Decision:
    given: dict[str, Any] = {
        "rig": "rig-0",
        "chosen": KAS,
        "reason": "Best",
        "message": "kas earns most",
        "alternatives": alternatives or (alternative(TRAIN, None), alternative(model.IDLE, 0.0), alternative(KAS, 0.3)),
    }
    return request.Decision(**{**given, **over})


def known_to(kind: type[base.Status], status: dict[str, Any]) -> dict[str, Any]:
    """The status, once it is clear that the API server keeps all of it: what it prunes would be written for ever."""
    kept = kind.model_validate(status).model_dump(by_alias=True, mode="json")
    json.dumps(status)  # nothing but JSON may come out

    def check(given: Any, taken: Any, path: str) -> None:
        if isinstance(given, dict):
            for key, value in given.items():
                assert value is not None, f"{path}.{key} is null"
                assert key in taken, f"{path}.{key} is no field of {kind.__name__}"
                check(value, taken[key], f"{path}.{key}")
        elif isinstance(given, list):
            for place, value in enumerate(given):
                check(value, taken[place], f"{path}[{place}]")

    check(status, kept, "status")
    return status


def rig_status(of: model.Rig | None = None, **over: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "now": NOW,
        "node": sample_farm.node("rig-0"),
        "pool": sample_farm.pool(),
        "record": record(),
        "decision": decision(),
    }
    return known_to(rig_api.RigStatus, rig.status(of or sample_farm.rig("rig-0"), **{**given, **over}))


def condition(status: dict[str, Any], type_: str) -> tuple[str, str]:
    found = conditions.by_type(status)[type_]
    return found["status"], found["reason"]


def message(status: dict[str, Any], type_: str) -> str:
    return str(conditions.by_type(status)[type_]["message"])


# --- rigs -----------------------------------------------------------------------------------------------------

READY: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "settled": ({}, ("True", "Settled")),
    "no node": ({"node": None}, ("False", "NodeGone")),
    "node not ready": ({"node": sample_farm.node("rig-0", ready=False)}, ("False", "NodeNotReady")),
    "off, so the node sleeps": (
        {"node": sample_farm.node("rig-0", ready=False), "record": record(mode=model.OFF)},
        ("True", "Settled"),
    ),
    "going off is not off": (
        {"node": sample_farm.node("rig-0", ready=False), "record": switching(mode=model.OFF)},
        ("False", "NodeNotReady"),
    ),
    "switching": ({"record": switching()}, ("False", "Switching")),
    "hangs": ({"record": switching(reason=reasons.STUCK_TERMINATING)}, ("False", "StuckTerminating")),
    "agent": ({"record": switching(reason=reasons.AGENT_SILENT)}, ("False", "AgentSilent")),
    "no pool": ({"pool": None}, ("False", "NoPool")),
    "not taken yet": ({"record": None}, ("False", "NotYetHeld")),
    "recommend": ({"record": None, "pool": sample_farm.pool(enforce=False)}, ("True", "Recommended")),
}


@pytest.mark.parametrize("name", READY)
def test_ready_says_what_is_wrong_with_a_rig(name: str) -> None:
    over, expected = READY[name]
    status = rig_status(**over)
    assert condition(status, "Ready") == expected
    assert message(status, "Ready")


def test_maintenance_outranks_a_switch_but_not_a_missing_node() -> None:
    resting = sample_farm.rig("rig-0", maintenance=True)
    assert condition(rig_status(resting, record=switching()), "Ready") == ("False", "Maintenance")
    assert condition(rig_status(resting, node=None), "Ready") == ("False", "NodeGone")


def test_a_switch_shows_its_step_deadline_and_both_modes() -> None:
    status = rig_status(record=switching())
    assert status["mode"] == {"desired": "AI/tenant/train", "observed": "Switching"}
    assert status["step"] == {
        "name": "Stopping",
        "since": "2026-07-01T11:59:00Z",
        "deadline": "2026-07-01T12:01:00Z",
        "reason": "Admitted",
        "message": "admitted with its gang",
    }
    assert condition(status, "Switching") == ("True", "Stopping")
    # When the switch really began, however late it was first written down.
    assert conditions.by_type(status)["Switching"]["lastTransitionTime"] == "2026-07-01T11:58:00Z"
    assert conditions.by_type(rig_status())["Switching"]["lastTransitionTime"] == "2026-07-01T11:00:00Z"
    assert "2026-07-01T12:01:00Z" in message(status, "Switching")
    assert rig_status()["mode"] == {"desired": "Mining/kas", "observed": "Mining/kas"}
    assert "step" not in rig_status()


def test_alternatives_stand_best_first_with_their_parts_as_decimals() -> None:
    shown = rig_status()["decision"]["alternatives"]
    assert [entry["mode"] for entry in shown] == ["Mining/kas", "Idle", "AI/tenant/train"]
    assert shown[0] == {
        "mode": "Mining/kas",
        "netUsdPerHour": "0.22",
        "revenueUsdPerHour": "0.3",
        "feesUsdPerHour": "0.01",
        "powerUsdPerHour": "0.07",
        "watts": 860,
        "costToMoveUsd": "0.005",
        "secondsToMove": 60,
        "regretUsd": "0.1",
    }
    assert shown[2]["refused"] == "NotEnoughGpuMemory"
    assert shown[2]["lacks"] == "needs 24 GiB, the cards have 8"
    assert "netUsdPerHour" not in shown[2]


def test_gain_and_cost_are_of_the_move_from_what_the_rig_does() -> None:
    found = rig_status(record=record(mode=model.IDLE))["decision"]
    assert (found["gainUsdPerHour"], found["costUsd"]) == ("0.3", "0.005")
    assert "gainUsdPerHour" not in rig_status()["decision"]


def test_a_thousand_jobs_do_not_make_a_status_of_a_thousand_lines() -> None:
    jobs = [alternative(model.Mode(model.ModeKind.AI, f"t/j{number:04}"), None) for number in range(1000)]
    fits = alternative(model.Mode(model.ModeKind.AI, "t/z"), 0.2)
    found = rig_status(decision=decision(*jobs, alternative(model.IDLE, 0.0), alternative(KAS, 0.3), fits))["decision"]
    shown = [entry["mode"] for entry in found["alternatives"]]
    assert len(shown) == rig.MOST_ALTERNATIVES
    assert shown[:3] == ["Mining/kas", "AI/t/z", "Idle"]
    assert "979 more jobs not shown" in found["message"]


def test_between_plans_the_decision_stays_as_it_was_written() -> None:
    first = rig_status()
    later = rig_status(sample_farm.rig("rig-0", status=first), decision=None, now=NOW + minutes(3))
    assert later["decision"] == first["decision"]
    assert condition(later, "Decided") == ("True", "Best")
    assert writes.compare(first, later) is writes.Change.NOTHING


def test_a_rig_without_value_shows_no_old_decision() -> None:
    unvalued = values.Refusal(mode=model.IDLE, reason="NoHardware", lacks="no GPU is known yet")
    status = rig_status(sample_farm.rig("rig-0", status=rig_status()), decision=None, unvalued=unvalued)
    assert "decision" not in status
    assert condition(status, "Decided") == ("False", "NoHardware")


@pytest.mark.parametrize(
    ("alternatives", "expected"),
    [
        ((alternative(TRAIN, 0.2), alternative(KAS, 0.3)), ("True", "FitsAJob")),
        ((alternative(TRAIN, None), alternative(KAS, 0.3)), ("False", "FitsNoJob")),
        ((alternative(KAS, 0.3),), ("Unknown", "NoJobs")),
    ],
)
def test_eligible_speaks_of_jobs_that_exist(
    alternatives: tuple[request.Alternative, ...], expected: tuple[str, str]
) -> None:
    assert condition(rig_status(decision=decision(*alternatives)), "Eligible") == expected


def test_hardware_leaves_out_what_nobody_measured() -> None:
    unmeasured = sample_farm.gpu(compute_capability=None, host_link_gigabytes_per_second=None)
    hardware = model.Hardware(gpus=(unmeasured, sample_farm.gpu(uuid="GPU-1")), host_memory_mib=8192, cpu_cores=2)
    shown = rig_status(sample_farm.rig("rig-0", hardware=hardware))["hardware"]
    assert shown["gpus"][0] == {"model": sample_farm.GPU, "memoryMiB": 8192}
    assert shown["gpus"][1]["computeCapability"] == "8.6"
    assert shown["gpus"][1]["hostLinkGigabytesPerSecond"] == "0.8"
    assert (shown["hostMemoryMiB"], shown["cpuCores"]) == (8192, 2)


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    noise=st.lists(st.floats(-0.0008, 0.0008), min_size=5, max_size=5),
    pause=st.floats(0, 600),
)
def test_a_quiet_farm_writes_nothing(noise: list[float], pause: float) -> None:
    """Prices that tremble, plan after plan, for ten hours: not one write for any rig."""
    written = 0
    for number in range(5):
        held: dict[str, Any] = {"status": {}}
        for turn in range(4):
            now = NOW + turn * datetime.timedelta(seconds=pause)
            shift = noise[(number + turn) % 5] / 2
            made = decision(
                alternative(KAS, 0.3 + shift), alternative(model.IDLE, 0.0), message=f"{0.3 + shift:.4f} $/h"
            )
            status = rig_status(sample_farm.rig("rig-0", status=held["status"]), now=now, decision=made)
            patch = writes.patch(REF, old=held["status"], new=status, now=now, figures_every=writes.FIGURES_EVERY)
            if patch is not None:
                held["status"] = dict(patch.body["status"])
                written += turn > 0
    assert written == 0


# --- pools ----------------------------------------------------------------------------------------------------


def class_value(*worths: values.Worth) -> values.Valuation:
    rig_class = values.RigClass(key="k", site="barn", pool="main", hardware=sample_farm.hardware(), base_watts=80)
    value = values.ClassValue(
        rig_class=rig_class, worths={entry.mode: entry for entry in worths}, refusals={}, usd_per_kwh=0.08, slots={}
    )
    return values.Valuation(classes={"k": value}, class_of={f"r{number}": "k" for number in range(9)}, unvalued={})


def pool_status(of: model.Pool | None = None, **over: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "now": NOW,
        "rigs": ["r0", "r1", "r2", "r3"],
        "records": {"r0": record(), "r1": record(), "r2": switching(mode=KAS, origin=model.IDLE)},
        "valuation": class_value(worth(KAS, 0.3)),
        "decisions": {"r0": decision(), "r1": decision(held_by="pool main: 1 of 1 rigs in a hand-over")},
        "planned_at": NOW - minutes(1),
        "coins": ["kas", "rvn"],
        "contested": {},
    }
    return known_to(gpupool_api.GPUPoolStatus, pool.status(of or sample_farm.pool(), **{**given, **over}))


def test_a_pool_counts_its_rigs_and_what_they_earn_now() -> None:
    status = pool_status()
    assert status["rigs"] == {"total": 4, "mining": 2, "ai": 0, "idle": 0, "off": 0, "switching": 1}
    assert status["netUsdPerHour"] == "0.44"  # the one in a hand-over earns nothing
    assert status["pending"] == 1
    assert condition(status, "Ready") == ("True", "AsPlanned")


def test_a_pool_tells_whose_word_its_rigs_follow() -> None:
    asked = {"r0": decision(expert="LookAhead"), "r1": decision(expert="Stay/Idle"), "r2": decision(expert="Stay/Idle")}
    followed = pool_status(decisions={**asked, "r3": decision()})["followed"]
    assert followed == [{"expert": "Stay/Idle", "rigs": 2}, {"expert": "LookAhead", "rigs": 1}]
    assert "followed" not in pool_status()


def test_unknown_coins_are_named_and_hinder_nothing_else() -> None:
    status = pool_status(coins=["rvn", "erg"])
    assert condition(status, "CoinsKnown") == ("False", "CoinMissing")
    assert "no Coin called kas" in message(status, "CoinsKnown")
    assert "erg, rvn" in message(status, "CoinsKnown")
    assert condition(status, "Ready")[0] == "True"


@pytest.mark.parametrize(
    ("over", "type_", "expected"),
    [
        ({"planned_at": None}, "PlanCurrent", ("Unknown", "NotYetPlanned")),
        ({"planned_at": NOW - minutes(6)}, "PlanCurrent", ("False", "PlanOverdue")),
        ({"decisions": {"r0": decision(reason="NoTrustedPrice")}}, "PlanCurrent", ("False", "NoTrustedPrice")),
        ({}, "PlannerReady", ("True", "AsExpected")),
        ({"planned_at": None}, "PlannerReady", ("Unknown", "NotYetPlanned")),
        ({"solver": ("Late", "no plan within 5 s")}, "PlannerReady", ("False", "Late")),
        ({"solver": ("Late", "no plan within 5 s")}, "Ready", ("True", "AsPlanned")),
        ({"rigs": []}, "RigsMatched", ("False", "NoRigMatches")),
        ({"contested": {"r0": ("other",)}}, "RigsMatched", ("False", "Contested")),
        ({"rigs": [], "contested": {"r8": ("main",)}}, "RigsMatched", ("False", "Contested")),
        ({"contested": {"r8": ("other",)}}, "RigsMatched", ("True", "Matched")),
        ({"problem": "bad selector"}, "Ready", ("False", "InvalidSpec")),
        ({"rigs": []}, "Ready", ("False", "NoRigMatches")),
        ({"planned_at": None}, "Ready", ("Unknown", "NotYetPlanned")),
        ({"contested": {"r0": ("other",)}}, "Ready", ("True", "AsPlanned")),
    ],
)
def test_what_ails_a_pool(over: dict[str, Any], type_: str, expected: tuple[str, str]) -> None:
    assert condition(pool_status(**over), type_) == expected


# --- sites ----------------------------------------------------------------------------------------------------


def quote(trust: float, **over: Any) -> quotes.Quote:
    given: dict[str, Any] = {
        "feed": "ercot",
        "quantity": quotes.Quantity.ELECTRICITY_PRICE,
        "value": 0.05,
        "as_of": NOW - minutes(2),
        "trust": trust,
        "unit": "USD/kWh",
    }
    return quotes.Quote(**{**given, **over})


FEED_TARIFF = model.FeedTariff(feed="ercot", adder_usd_per_kwh=0.01)


@pytest.mark.parametrize(
    ("tariff", "price", "found", "expected"),
    [
        (model.FixedTariff(usd_per_kwh=0.08), 0.08, None, ("True", "Tariff")),
        (FEED_TARIFF, 0.06, quote(1.0), ("True", "Fresh")),
        (FEED_TARIFF, 0.06, quote(0.4), ("True", "Ageing")),
        (FEED_TARIFF, None, quote(0.0, reason="Unreachable", message="no answer"), ("False", "Unreachable")),
        (FEED_TARIFF, None, None, ("False", "NoPrice")),
    ],
)
def test_a_site_knows_whether_its_price_counts(
    tariff: model.Tariff, price: float | None, found: quotes.Quote | None, expected: tuple[str, str]
) -> None:
    status = site.status(sample_farm.site(tariff=tariff), now=NOW, rigs=3, rigs_gone=1, usd_per_kwh=price, quote=found)
    known_to(site_api.SiteStatus, status)
    assert condition(status, "PriceTrusted") == expected
    assert condition(status, "Ready")[0] == expected[0]
    assert ("usdPerKilowattHour" in status) == (price is not None)
    assert (status["rigs"], status["rigsGone"]) == (3, 1)


def test_a_site_without_rigs_says_why() -> None:
    status = site.status(sample_farm.site(), now=NOW, rigs=0, rigs_gone=0, usd_per_kwh=0.08)
    assert condition(status, "Ready") == ("False", "NoRigs")


CIRCUITS = {
    "c1": model.Circuit(name="c1", limit_watts=5000),
    "c2": model.Circuit(name="c2", limit_watts=2000, continuous_fraction=1.0),
}


def circuit_status(loads: dict[str, draw.Load] | None, **over: Any) -> dict[str, Any]:
    of = sample_farm.site(circuits=CIRCUITS, **over)
    return known_to(site_api.SiteStatus, site.status(of, now=NOW, rigs=3, rigs_gone=0, usd_per_kwh=0.08, loads=loads))


def test_a_site_shows_what_its_circuits_carry() -> None:
    status = circuit_status({"c1": draw.Load(drawn=3999.6, feared=4100.0, rigs=5), "c2": draw.Load()})
    assert status["circuits"] == [
        {"name": "c1", "rigs": 5, "limitWatts": 5000, "budgetWatts": 4000, "drawnWatts": 4000},
        {"name": "c2", "rigs": 0, "limitWatts": 2000, "budgetWatts": 2000, "drawnWatts": 0},
    ]
    assert condition(status, "CircuitsWithinLimit") == ("True", "WithinLimit")
    assert condition(status, "Ready") == ("True", "Ready")


def test_a_site_says_which_circuit_carries_too_much() -> None:
    status = circuit_status({"c1": draw.Load(drawn=4100.0, rigs=5), "c2": draw.Load(drawn=2000.0, rigs=2)})
    assert condition(status, "CircuitsWithinLimit") == ("False", "OverLimit")
    assert "c1 (4.10 of 4.00 kW)" in message(status, "CircuitsWithinLimit")
    assert "c2" not in message(status, "CircuitsWithinLimit")


def test_a_site_says_nothing_of_watts_that_nobody_has_counted() -> None:
    status = circuit_status(None)
    assert condition(status, "CircuitsWithinLimit") == ("Unknown", "NotYetPlanned")
    assert status["circuits"][0] == {"name": "c1", "limitWatts": 5000, "budgetWatts": 4000}
    bare = site.status(sample_farm.site(), now=NOW, rigs=3, rigs_gone=0, usd_per_kwh=0.08)
    assert condition(bare, "CircuitsWithinLimit") == ("True", "NoCircuits")
    assert "circuits" not in bare


def test_watts_that_tremble_are_not_written() -> None:
    before = circuit_status({"c1": draw.Load(drawn=3000.0, rigs=5), "c2": draw.Load()})
    near = circuit_status({"c1": draw.Load(drawn=3050.0, rigs=5), "c2": draw.Load(drawn=15.0)}, status=before)
    far = circuit_status({"c1": draw.Load(drawn=3200.0, rigs=5), "c2": draw.Load()}, status=before)
    assert writes.compare(before, near) is writes.Change.NOTHING
    assert writes.compare(before, far) is writes.Change.FIGURES


@pytest.mark.parametrize(
    ("circuit", "expected", "words"),
    [
        ("", ("True", "NoCircuit"), "not limited"),
        ("c1", ("True", "Known"), "circuit c1 of Site barn"),
        ("c9", ("False", "CircuitMissing"), "Site barn has no circuit c9 (it has: c1, c2)"),
    ],
)
def test_a_rig_knows_whether_its_circuit_exists(circuit: str, expected: tuple[str, str], words: str) -> None:
    status = rig_status(sample_farm.rig("rig-0", circuit=circuit), circuits=CIRCUITS)
    assert condition(status, "CircuitKnown") == expected
    assert words in message(status, "CircuitKnown")


def test_a_pool_shows_its_shares_in_rigs() -> None:
    of = sample_farm.pool(
        shares=(
            model.Share(kind=model.ModeKind.MINING, floor="25%", most="50%"),
            model.Share(kind=model.ModeKind.AI, floor=2),
        )
    )
    held = {"r0": record(), "r1": switching(), "r2": record(mode=model.IDLE)}
    status = pool.status(
        of,
        now=NOW,
        rigs=[f"r{number}" for number in range(5)],
        records=held,
        valuation=None,
        decisions={},
        planned_at=NOW,
        coins=["kas", "rvn"],
        contested={},
    )
    assert known_to(gpupool_api.GPUPoolStatus, status)["shares"] == [
        {"kind": "Mining", "floor": 2, "most": 2, "rigs": 1},
        {"kind": "AI", "floor": 2, "rigs": 1},
    ]


# --- coins ----------------------------------------------------------------------------------------------------


def revenue(trust: float = 1.0, **over: Any) -> quotes.Quote:
    given = {"feed": "kas-usd", "quantity": quotes.Quantity.COIN_REVENUE, "value": 2.0, "unit": "USD/(GH/s)/hour"}
    return quote(trust, **{**given, **over})


def coin_status(of: model.Coin | None = None, **over: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "now": NOW,
        "quote": revenue(),
        "feeds": ["kas-usd", "ercot"],
        "secrets": frozenset({"wallet"}),
        "miners_namespace": "switchyard-miners",
        "measured": {},
    }
    return known_to(coin_api.CoinStatus, coin.status(of or sample_farm.coin("kas"), **{**given, **over}))


@pytest.mark.parametrize(
    ("unit", "quoted", "expected"),
    [
        ("MH/s", "USD/(GH/s)/hour", "0.002"),
        ("GH/s", "USD/(GH/s)/hour", "2"),
        ("H/s", "USD/(GH/s)/hour", "0.000000002"),
        ("Sol/s", "USD/(Sol/s)/hour", "2"),
    ],
)
def test_a_coin_shows_dollars_in_its_own_unit(unit: str, quoted: str, expected: str) -> None:
    status = coin_status(sample_farm.coin("kas", unit=unit), quote=revenue(unit=quoted))
    assert status["usdPerUnitHour"] == expected
    assert condition(status, "Ready") == ("True", "Minable")


@pytest.mark.parametrize(
    ("over", "type_", "reason", "words"),
    [
        ({"secrets": frozenset()}, "WalletFound", "SecretMissing", "no Secret wallet in namespace switchyard-miners"),
        ({"feeds": ["ercot"], "quote": None}, "FeedKnown", "FeedMissing", "no PriceFeed kas-usd"),
        ({"quote": None}, "PriceTrusted", "NoPrice", "kas-usd"),
        ({"quote": revenue(0.0, reason="Stale", message="old")}, "PriceTrusted", "Stale", "(old)"),
        ({"quote": revenue(unit="USD/(Sol/s)/hour")}, "PriceTrusted", "UnitMismatch", "cannot be compared"),
    ],
)
def test_what_keeps_a_coin_from_being_mined(over: dict[str, Any], type_: str, reason: str, words: str) -> None:
    status = coin_status(**over)
    assert condition(status, type_) == ("False", reason)
    assert words in message(status, type_)
    assert condition(status, "Ready") == ("False", reason)


# --- feeds ----------------------------------------------------------------------------------------------------


def feed_status(state: feeds.FeedState | None, **over: Any) -> dict[str, Any]:
    of = model.Feed(name="ercot", uid="u", generation=1, spec={"quantity": "ElectricityPrice"}, status={})
    return known_to(pricefeed_api.PriceFeedStatus, feed.status(of, now=NOW, state=state, **over))


def state(trust: float | None, reason: str = "", message: str = "") -> feeds.FeedState:
    return feeds.FeedState(
        last_good=quote(trust) if trust is not None else None,
        value=50.0 if trust is not None else None,
        unit="USD/MWh",
        reason=reason,
        message=message,
        attempted_at=NOW,
    )


@pytest.mark.parametrize(
    ("given", "ready", "fresh", "plausible"),
    [
        (None, ("Unknown", "NotYetAsked"), ("Unknown", "NoValue"), ("Unknown", "NotYetAsked")),
        (state(None), ("Unknown", "NotYetAsked"), ("Unknown", "NoValue"), ("Unknown", "NotYetAsked")),
        (state(1.0), ("True", "Good"), ("True", "Fresh"), ("True", "WithinBounds")),
        (state(0.5), ("True", "Ageing"), ("False", "Ageing"), ("True", "WithinBounds")),
        (state(0.0), ("False", "Stale"), ("False", "Dead"), ("True", "WithinBounds")),
        (
            state(1.0, "Unreachable", "no answer"),
            ("True", "LastGoodValue"),
            ("True", "Fresh"),
            ("Unknown", "Unreachable"),
        ),
        (
            state(0.0, "OutOfBounds", "900 is above 5"),
            ("False", "OutOfBounds"),
            ("False", "Dead"),
            ("False", "OutOfBounds"),
        ),
        (
            state(None, "Unreachable", "no answer"),
            ("False", "Unreachable"),
            ("Unknown", "NoValue"),
            ("Unknown", "Unreachable"),
        ),
    ],
)
def test_a_feed_tells_what_is_wrong(
    given: feeds.FeedState | None, ready: tuple[str, str], fresh: tuple[str, str], plausible: tuple[str, str]
) -> None:
    status = feed_status(given)
    assert condition(status, "Ready") == ready
    assert condition(status, "Fresh") == fresh
    assert condition(status, "Plausible") == plausible


def test_an_outlier_is_told_as_such() -> None:
    status = feed_status(state(1.0, "Outlier", "4000 USD/MWh is far from what was seen lately"))
    assert condition(status, "Plausible") == ("False", "Outlier")
    assert condition(status, "Ready") == ("True", "LastGoodValue")
    assert "4000 USD/MWh" in status["lastError"]


CURVE = quotes.Curve(start=NOW, interval_seconds=3600, values=(0.05,) * 30, published_at=NOW - minutes(60))


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (None, ("Unknown", "NotYetAsked")),
        (feed_memory.Ahead(curve=None), ("Unknown", "NotYetAsked")),
        (feed_memory.Ahead(curve=None, reason="Gap", message="a gap", asked=True), ("False", "Gap")),
        (feed_memory.Ahead(curve=CURVE, asked=True), ("True", "Published")),
        (feed_memory.Ahead(curve=CURVE, reason="TimedOut", message="slow", asked=True), ("True", "LastRows")),
    ],
)
def test_a_feed_tells_what_is_known_of_prices_to_come(
    ahead: feed_memory.Ahead | None, expected: tuple[str, str]
) -> None:
    spec = {"quantity": "ElectricityPrice", "forecast": {}}
    of = model.Feed(name="ercot", uid="u", generation=1, spec=spec, status={})
    given = dataclasses.replace(state(1.0), ahead=ahead)
    status = known_to(pricefeed_api.PriceFeedStatus, feed.status(of, now=NOW, state=given))
    assert condition(status, "ForecastReady") == expected
    assert ("forecast" in status) == (ahead is not None and ahead.curve is not None)
    if "forecast" in status:
        assert status["forecast"] == {"publishedAt": "2026-07-01T11:00:00Z", "until": "2026-07-02T18:00:00Z"}


def test_a_feed_without_a_forecast_says_so_and_one_in_euro_tells_dollars() -> None:
    assert condition(feed_status(state(1.0)), "ForecastReady") == ("Unknown", "NotAsked")
    assert "converted" not in feed_status(state(1.0))
    euro = dataclasses.replace(
        state(1.0), unit="EUR/MWh", value=50.0, last_good=dataclasses.replace(quote(1.0), value=0.055, unit="USD/kWh")
    )
    status = feed_status(euro)
    assert (status["lastGood"]["unit"], status["converted"]) == ("EUR/MWh", {"value": "0.055", "unit": "USD/kWh"})


def test_a_feed_shows_its_value_as_its_owner_wrote_it_and_what_happens_meanwhile() -> None:
    status = feed_status(state(0.0, "Unreachable", "no answer from prices.example"))
    assert status["lastGood"] == {"value": "50", "unit": "USD/MWh", "asOf": "2026-07-01T11:58:00Z"}
    assert status["trust"] == "0.00"
    assert "no answer from prices.example" in message(status, "Ready")
    assert "keep what they do" in message(status, "Ready")


# --- jobs -----------------------------------------------------------------------------------------------------

ADMISSION = request.Admission(
    job="tenant/train",
    placement=(model.Placement(rig="rig-0", replicas=2),),
    reserve_usd_per_gpu_hour=0.15,
    message="beats what the rigs earn",
)
PREEMPTION = request.Preemption(job="tenant/train", reason="Outbid", message="a better bid came", targets={})


def after(of: model.Job, status: dict[str, Any]) -> model.Job:
    """The job as the fleet would read it from this status."""
    known_to(aijob_api.AIJobStatus, status)
    admitted, preempted = conditions.holds(status, "Admitted"), conditions.holds(status, "Preempted")
    where = model.JobState.PENDING if not admitted else model.JobState.ADMITTED
    if admitted and preempted:
        where = model.JobState.PREEMPTING
    if conditions.holds(status, "Finished"):
        where = model.JobState.FINISHED
    return dataclasses.replace(
        of, status=status, state=where, attempts=status["attempts"], preemptions=status["preemptions"]
    )


def pod(**over: Any) -> model.Pod:
    given: dict[str, Any] = {
        "namespace": "tenant",
        "name": "train-0",
        "uid": "p",
        "resource_version": "1",
        "node_name": "rig-0",
        "role": names.ROLE_WORK,
        "rig": "rig-0",
        "coin": "",
        "job": "train",
        "gpus": 3,
        "phase": model.PodPhase.RUNNING,
        "ready": True,
        "deleting_since": None,
        "reason": "",
        "notice_deadline": None,
        "checkpoint_at": None,
        "progress": None,
    }
    return model.Pod(**{**given, **over})


def admitted_job() -> model.Job:
    fresh = sample_farm.job()
    return after(fresh, job.admitted(fresh, ADMISSION, NOW, checkpoint_interval_seconds=1570.0))


def test_a_job_from_refusal_to_success() -> None:
    one = sample_farm.job()
    refusal = request.JobRefusal(
        job=one.key, reason="BidTooLow", message="0.02 $/GPU-h short", reserve_usd_per_gpu_hour=0.22
    )
    one = after(one, job.refused(one, refusal, NOW))
    assert condition(dict(one.status), "Admitted") == ("False", "BidTooLow")
    assert condition(dict(one.status), "Quoted") == ("True", "Quoted")
    assert one.status["reservePriceUsdPerGpuHour"] == "0.22"
    assert one.state is model.JobState.PENDING

    one = after(one, job.admitted(one, ADMISSION, NOW + minutes(1), checkpoint_interval_seconds=1570.0))
    assert one.state is model.JobState.ADMITTED
    assert one.status["placement"] == [{"rig": "rig-0", "replicas": 2}]
    assert (one.status["claim"], one.status["admittedAt"]) == (one.uid, "2026-07-01T12:01:00Z")
    assert condition(dict(one.status), "Running") == ("False", "HandingOver")

    one = after(one, job.running(one, [], NOW + minutes(2), started=False, job_name="train-abc"))
    assert condition(dict(one.status), "Running") == ("False", "Starting")
    pods = [pod(progress=0.5, checkpoint_at=NOW), pod(progress=0.25, checkpoint_at=NOW + minutes(1)), pod()]
    one = after(one, job.running(one, pods, NOW + minutes(3), started=True))
    assert one.status["startedAt"] == "2026-07-01T12:03:00Z"
    assert (one.status["progress"], one.status["lastCheckpoint"]) == ("0.25", "2026-07-01T12:00:00Z")
    assert one.status["jobName"] == "train-abc"
    again = job.running(one, pods, NOW + minutes(9), started=True)
    assert writes.compare(one.status, again) is writes.Change.NOTHING

    one = after(one, job.finished(one, [], NOW + minutes(60), succeeded=True))
    assert one.state is model.JobState.FINISHED
    assert condition(dict(one.status), "Finished") == ("True", "Succeeded")
    assert "placement" not in one.status
    assert (one.status["progress"], one.status["startedAt"]) == ("1", "2026-07-01T12:03:00Z")


def test_a_preempted_job_keeps_its_rigs_until_its_pods_are_gone_and_then_waits_again() -> None:
    one = admitted_job()
    one = after(one, job.preempting(one, PREEMPTION, NOW + minutes(5)))
    assert one.state is model.JobState.PREEMPTING
    assert one.status["placement"]
    one = after(one, job.stopped(one, [pod(progress=0.4)], NOW + minutes(6)))
    assert one.state is model.JobState.PENDING
    assert condition(dict(one.status), "Admitted") == ("False", "Preempted")
    assert not {"placement", "claim", "admittedAt", "startedAt", "jobName"} & one.status.keys()
    assert (one.preemptions, one.attempts, one.status["progress"]) == (1, 1, "0.40")
    # While it waits it may still be read why it was stopped.
    waiting = job.refused(one, request.JobRefusal(job=one.key, reason="NotEnoughRigs", message="1 short"), NOW)
    assert condition(waiting, "Preempted") == ("True", "Outbid")
    one = after(one, job.admitted(one, ADMISSION, NOW + minutes(9), checkpoint_interval_seconds=1570.0))
    assert one.state is model.JobState.ADMITTED
    assert (one.preemptions, one.attempts) == (1, 2)
    assert condition(dict(one.status), "Preempted") == ("False", "Admitted")


def test_a_broken_gang_waits_again_and_that_is_no_preemption() -> None:
    one = admitted_job()
    one = after(one, job.stopped(one, [], NOW, reason="NodeGone", message="rig-0 is gone", broken=True))
    assert one.state is model.JobState.PENDING
    assert condition(dict(one.status), "Admitted") == ("False", "NodeGone")
    assert (one.preemptions, one.attempts) == (0, 1)


def test_what_a_job_saves_as_it_is_stopped_outlives_its_pods() -> None:
    one = after(admitted_job(), job.preempting(admitted_job(), PREEMPTION, NOW + minutes(5)))
    leaving = [pod(progress=0.4, checkpoint_at=NOW + minutes(6)), pod(progress=0.5, checkpoint_at=NOW + minutes(7))]
    one = after(one, job.stopping(one, leaving, NOW + minutes(7)))
    assert one.state is model.JobState.PREEMPTING
    one = after(one, job.stopping(one, [], NOW + minutes(8)))
    one = after(one, job.stopped(one, [], NOW + minutes(9)))
    assert (one.status["progress"], one.status["lastCheckpoint"]) == ("0.40", "2026-07-01T12:06:00Z")
    assert job.stopping(one, leaving, NOW + minutes(10)) == one.status, "whoever waits has no Pods"


def test_a_gang_stopped_because_it_broke_says_so_and_counts_as_no_preemption() -> None:
    lost = request.Preemption(job="tenant/train", reason="GangBroken", message="rig-0 is gone", targets={})
    one = admitted_job()
    one = after(one, job.preempting(one, lost, NOW))
    one = after(one, job.stopped(one, [], NOW, broken=True))
    assert condition(dict(one.status), "Admitted") == ("False", "GangBroken")
    assert message(dict(one.status), "Admitted") == "rig-0 is gone"
    assert (one.preemptions, one.attempts) == (0, 1)


def test_what_is_told_twice_counts_once() -> None:
    """The loop looks at a gang as often as anything near it changes, and says each time what it sees."""
    one = admitted_job()
    one = after(one, job.preempting(one, PREEMPTION, NOW))
    one = after(one, job.stopped(one, [], NOW))
    for again in (
        job.stopped(one, [], NOW + minutes(1)),
        job.preempting(one, PREEMPTION, NOW + minutes(1)),
        job.running(one, [], NOW + minutes(1), started=True),
    ):
        assert again == one.status
    one = after(one, job.admitted(one, ADMISSION, NOW, checkpoint_interval_seconds=1570.0))
    one = after(one, job.finished(one, [], NOW, succeeded=False, message="exit 1"))
    late = NOW + minutes(30)
    refusal = request.JobRefusal(job=one.key, reason="BidTooLow", message="short")
    for again in (
        job.finished(one, [], late, succeeded=False, message="exit 1"),
        job.refused(one, refusal, late),
        job.stopped(one, [], late),
        job.running(one, [], late, started=True),
    ):
        assert again == one.status


def test_a_job_without_a_price_is_quoted_nothing() -> None:
    one = sample_farm.job(status={"reservePriceUsdPerGpuHour": "0.2"})
    refusal = request.JobRefusal(job=one.key, reason="PriceUntrusted", message="no price")
    status = job.refused(one, refusal, NOW)
    assert condition(status, "Quoted") == ("Unknown", "PriceUntrusted")
    assert "reservePriceUsdPerGpuHour" not in status


def test_all_conditions_of_a_job_stand_from_the_first_visit_on() -> None:
    refusal = request.JobRefusal(job="tenant/train", reason="NotEnoughRigs", message="none is free")
    status = job.refused(sample_farm.job(), refusal, NOW)
    assert [entry["type"] for entry in status["conditions"]] == list(job.KNOWN)
    assert after(sample_farm.job(), status).state is model.JobState.PENDING


def test_a_refusal_that_trembles_is_written_once() -> None:
    one = sample_farm.job()

    def refuse(reserve: float) -> dict[str, Any]:
        text = f"bids 0.20 $/GPU-h, {reserve - 0.2:.4f} $/GPU-h short"
        return job.refused(
            one,
            request.JobRefusal(job=one.key, reason="BidTooLow", message=text, reserve_usd_per_gpu_hour=reserve),
            NOW,
        )

    assert writes.compare(refuse(0.25), refuse(0.2502)) is writes.Change.NOTHING
    assert writes.compare(refuse(0.25), refuse(0.27)) is writes.Change.FIGURES


def test_measured_benchmarks_stand_in_the_coins_own_unit() -> None:
    found = {sample_farm.GPU: model.Benchmark(hashrate=0.0325, watts=128)}
    status = coin_status(measured=found)
    assert status["benchmarks"] == [{"gpu": sample_farm.GPU, "hashrate": "32.5", "watts": 128}]
    assert "benchmarks" not in coin_status()


def test_an_admitted_job_is_told_how_often_to_save() -> None:
    one = sample_farm.job()
    for seconds, words in ((1570.2, "26m"), (7260.0, "2h1m"), (430.4, "7m10s"), (0.2, "1s")):
        status = job.admitted(one, ADMISSION, NOW, checkpoint_interval_seconds=seconds)
        assert status["checkpoint"] == {"recommendedInterval": words}


# --- events ---------------------------------------------------------------------------------------------------


def told(before: records.Record | None, now_: records.Record | None, **over: Any) -> list[tuple[str, str, bool]]:
    emitted = events.switch(
        sample_farm.rig("rig-0"), sample_farm.node("rig-0"), before=before, after=now_, now=NOW, **over
    )
    assert [emit.ref.kind for emit in emitted] in ([], ["Rig", "Node"])
    assert len({emit.message for emit in emitted}) <= 1
    return [(emit.reason, emit.message, emit.warning) for emit in emitted[:1]]


def test_a_switch_is_told_when_it_begins_and_when_it_ends() -> None:
    made = decision(alternative(KAS, 0.3), alternative(TRAIN, 0.9))
    assert told(record(), switching(), decision=made) == [
        (
            "Switching",
            "Mining/kas -> AI/tenant/train: admitted with its gang (gains 0.6000 $/h, costs 0.0050 $ and 60 s)",
            False,
        )
    ]
    assert told(switching(), switching(step=records.Step.RELEASING)) == []
    done = switching(step=records.Step.SETTLED, deadline=None)
    assert told(switching(), done) == [("Switched", "Mining/kas -> AI/tenant/train done in 120 s", False)]
    assert told(done, done) == []
    assert told(None, record()) == []
    given_back = "no GPUPool selects it any more: the Node is as it was before, last in Mining/kas"
    assert told(record(), None) == [("Released", given_back, False)]
    assert told(None, None) == []


def test_a_failure_is_told_once_with_where_the_rig_goes() -> None:
    failed = switching(mode=KAS, reason=reasons.AGENT_SILENT, message="no word from the agent for 120 s")
    assert told(switching(), failed) == [
        (
            "SwitchFailed",
            "Mining/kas -> AI/tenant/train failed in Stopping: no word from the agent for 120 s; goes to Mining/kas",
            True,
        )
    ]
    assert told(failed, dataclasses.replace(failed, step=records.Step.STARTING)) == []


def test_a_hang_is_told() -> None:
    stuck = switching(reason=reasons.STUCK_TERMINATING, message="train-0 is Terminating for 6 min")
    assert told(switching(), stuck)[0][0] == "StuckTerminating"
    assert told(stuck, stuck) == []


def test_events_of_jobs_carry_numbers() -> None:
    one = sample_farm.job()
    assert (
        "0.2000 $/GPU-h beats the reserve of 0.1500 $/GPU-h; placed on rig-0 x2"
        in events.admitted(one, ADMISSION).message
    )
    stop = events.preempted(one, PREEMPTION)
    assert (stop.reason, stop.warning) == ("Preempting", True)
    assert "120 s" in stop.message
    assert events.finished(one, succeeded=False, message="exit 1").warning
    assert str(events.broken(one, reason="NodeGone", message="x" * 3000).ref) == "AIJob/tenant/train"
    assert len(events.broken(one, reason="NodeGone", message="x" * 3000).message) <= 1024
