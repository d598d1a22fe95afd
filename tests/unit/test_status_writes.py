from __future__ import annotations

import datetime
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from switchyard.cluster import commands, names
from switchyard.status import conditions, writes

NOW = datetime.datetime(2026, 7, 1, 12, 0, tzinfo=datetime.UTC)
REF = commands.Ref(api_version=names.API_VERSION, kind="Rig", plural="rigs", name="gpu-7")


def status(**over: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "observedGeneration": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Settled",
                "message": "In Mining/kas on gpu-100, 0.1234 $/h.",
                "lastTransitionTime": "2026-07-01T11:00:00Z",
                "observedGeneration": 1,
            }
        ],
        "pool": "main",
        "decision": {
            "at": "2026-07-01T11:55:00Z",
            "chosen": "Mining/kas",
            "reason": "Best",
            "message": "0.1234 $/h",
            "alternatives": [
                {"mode": "Mining/kas", "netUsdPerHour": "0.1234", "watts": 850, "regretUsd": "0"},
                {"mode": "Idle", "netUsdPerHour": "-0.0112", "watts": 90, "regretUsd": "0.5"},
            ],
        },
    }
    return {**given, **over}


def decision(**over: Any) -> dict[str, Any]:
    return {"decision": {**status()["decision"], **over}}


def condition(**over: Any) -> dict[str, Any]:
    return {"conditions": [{**status()["conditions"][0], **over}]}


def alternatives(**over: Any) -> dict[str, Any]:
    first, second = status()["decision"]["alternatives"]
    return decision(alternatives=[{**first, **over}, second])


@pytest.mark.parametrize(
    ("new", "change"),
    [
        # Times of looking, and numbers below a step.
        (decision(at="2026-07-01T12:00:00Z"), writes.Change.NOTHING),
        (condition(lastTransitionTime="2026-07-01T11:59:00Z"), writes.Change.NOTHING),
        (alternatives(netUsdPerHour="0.1254"), writes.Change.NOTHING),
        (alternatives(regretUsd="0.009"), writes.Change.NOTHING),
        (alternatives(watts=855), writes.Change.NOTHING),
        (decision(message="0.1240 $/h"), writes.Change.NOTHING),
        (condition(message="In Mining/kas on gpu-100, 0.1240 $/h."), writes.Change.NOTHING),
        (decision(alternatives=status()["decision"]["alternatives"][::-1]), writes.Change.NOTHING),
        (decision(heldBy=""), writes.Change.NOTHING),
        # Figures.
        (alternatives(netUsdPerHour="0.1274"), writes.Change.FIGURES),
        (alternatives(regretUsd="0.011"), writes.Change.FIGURES),
        (alternatives(lacks="0.0123 $/h short"), writes.Change.FIGURES),
        (alternatives(refused="NoTrustedPrice"), writes.Change.FIGURES),
        (decision(alternatives=status()["decision"]["alternatives"][:1]), writes.Change.FIGURES),
        (decision(message="0.1334 $/h"), writes.Change.FIGURES),
        (decision(heldBy="pool main: 6 of 6 rigs in a hand-over"), writes.Change.FIGURES),
        # A name is not a number, however close 100 and 101 are.
        (condition(message="In Mining/kas on gpu-101, 0.1234 $/h."), writes.Change.FIGURES),
        # News.
        (decision(chosen="Idle"), writes.Change.NEWS),
        (decision(reason="Budget"), writes.Change.NEWS),
        (condition(status="False"), writes.Change.NEWS),
        (condition(reason="NodeGone"), writes.Change.NEWS),
        (condition(observedGeneration=2), writes.Change.NEWS),
        ({"observedGeneration": 2}, writes.Change.NEWS),
        ({"pool": "other"}, writes.Change.NEWS),
        ({"mode": {"desired": "Idle", "observed": "Idle"}}, writes.Change.NEWS),
    ],
)
def test_what_counts_as_new(new: dict[str, Any], change: writes.Change) -> None:
    assert writes.compare(status(), status(**new)) is change
    assert writes.compare(status(**new), status()) is change


def test_what_is_left_out_is_news_but_other_writers_fields_are_not() -> None:
    new = status()
    del new["pool"]
    assert writes.compare(status(), new) is writes.Change.NEWS
    old = status(agent={"profile": "mining.kas"})
    old["conditions"] = [*old["conditions"], {"type": "Healthy", "status": "True"}]
    assert writes.compare(old, status()) is writes.Change.NOTHING


def test_a_small_drift_adds_up_until_it_is_written() -> None:
    written, prices = status(), [0.1234 * 1.005**tick for tick in range(9)]
    changes = [writes.compare(written, status(**alternatives(netUsdPerHour=f"{price:.6f}"))) for price in prices]
    assert changes[1] is writes.Change.NOTHING
    assert changes[-1] is writes.Change.FIGURES


def test_a_number_within_a_name_measures_nothing() -> None:
    one, other = status(**condition(message="on rack-1.100")), status(**condition(message="on rack-1.101"))
    assert writes.compare(one, other) is writes.Change.FIGURES
    one, other = status(**condition(message="costs 1.100 $")), status(**condition(message="costs 1.101 $"))
    assert writes.compare(one, other) is writes.Change.NOTHING


def test_figures_wait_and_news_do_not() -> None:
    every = datetime.timedelta(minutes=10)
    moved, chosen = status(**alternatives(netUsdPerHour="0.2")), status(**decision(chosen="Idle"))

    def write(new: dict[str, Any], minutes: float) -> commands.Patch | None:
        at = NOW + datetime.timedelta(minutes=minutes)
        return writes.patch(REF, old=status(), new=new, now=at, figures_every=every)

    assert write(moved, 4.9) is None  # the decision that stands is of 11:55
    assert write(moved, 5.0) is not None
    assert write(chosen, 0.0) is not None
    assert write(status(), 500.0) is None
    # A clock that was set back must not silence a rig until it has caught up.
    assert write(moved, -60.0) is not None


def test_the_patch_is_a_server_side_apply_of_the_whole_status() -> None:
    new = status(pool="other")
    patch = writes.patch(REF, old=status(), new=new, now=NOW, resource_version="7", uid="u")
    assert patch == commands.Patch(
        ref=REF,
        body={"status": new},
        type=commands.PatchType.APPLY,
        subresource="status",
        resource_version="7",
        uid="u",
        field_manager=names.MANAGER_OPERATOR,
    )


def test_times_of_values_count_only_when_they_are_far_apart() -> None:
    def good(as_of: str) -> dict[str, Any]:
        return {"lastGood": {"value": "1", "unit": "USD/kWh", "asOf": as_of}}

    assert writes.compare(good("2026-07-01T12:00:00Z"), good("2026-07-01T12:14:59Z")) is writes.Change.NOTHING
    assert writes.compare(good("2026-07-01T12:00:00Z"), good("2026-07-01T12:15:00Z")) is writes.Change.FIGURES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "message", "watts", "value"]), inner)
    ),
    max_leaves=8,
)


@hypothesis.given(st.dictionaries(st.text(max_size=6), json_values, max_size=4))
def test_the_same_status_is_never_written(value: dict[str, Any]) -> None:
    assert writes.compare(value, value) is writes.Change.NOTHING


@hypothesis.given(
    net=st.floats(-10, 10),
    noise=st.floats(-0.0009, 0.0009),
)
def test_noise_below_the_step_is_never_written(net: float, noise: float) -> None:
    old, new = f"{net:.6f}", f"{net + noise:.6f}"
    assert writes.compare(status(**alternatives(netUsdPerHour=old)), status(**alternatives(netUsdPerHour=new))) is (
        writes.Change.NOTHING
    )


# --- conditions -----------------------------------------------------------------------------------------------

KNOWN = ("Ready", "Switching", "Decided")
findings = st.lists(
    st.builds(
        conditions.Finding,
        st.sampled_from(KNOWN),
        st.sampled_from([conditions.TRUE, conditions.FALSE, conditions.UNKNOWN]),
        st.sampled_from(["One", "Two"]),
        st.sampled_from(["", "words"]),
    ),
    max_size=3,
)


@hypothesis.given(st.lists(findings, min_size=1, max_size=6))
def test_a_transition_time_moves_exactly_when_the_status_does(history: list[list[conditions.Finding]]) -> None:
    held: dict[str, Any] = {}
    for turn, found in enumerate(history):
        now = NOW + datetime.timedelta(minutes=turn)
        before = conditions.by_type(held)
        merged = conditions.merge(held, found, known=KNOWN, generation=turn, now=now)
        assert [entry["type"] for entry in merged] == list(KNOWN)
        for entry in merged:
            old = before.get(entry["type"])
            turned = old is None or old["status"] != entry["status"]
            assert entry["lastTransitionTime"] == (
                conditions.moment(now) if turned or old is None else old["lastTransitionTime"]
            )
        held = {"conditions": merged}


def test_every_known_type_is_set_on_the_first_visit() -> None:
    merged = conditions.merge({}, [conditions.true("Ready", "Good")], known=KNOWN, generation=3, now=NOW)
    assert [(entry["type"], entry["status"], entry["reason"]) for entry in merged] == [
        ("Ready", "True", "Good"),
        ("Switching", "Unknown", "NotYetKnown"),
        ("Decided", "Unknown", "NotYetKnown"),
    ]
    assert {entry["observedGeneration"] for entry in merged} == {3}


def test_a_type_nobody_has_heard_of_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="Redy"):
        conditions.merge({}, [conditions.true("Redy", "Good")], known=KNOWN, generation=1, now=NOW)


def test_a_long_message_is_cut() -> None:
    [entry] = conditions.merge(
        {}, [conditions.true("Ready", "Good", "x" * 5000)], known=("Ready",), generation=1, now=NOW
    )
    assert len(entry["message"]) == 1024
