"""What the farm learns: averages that begin at the tables, hold against what hung, and survive being written down."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import immutables
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sample_farm as sample
from switchyard.fleet import model
from switchyard.valuation import checkpoints, switching_cost, worth
from switchyard.valuation import learned as learning

KEY = learning.Key(learning.Phase.RELEASE, "6x card")
SEED = model.Benchmark(hashrate=0.03, watts=130)
TIMES = st.floats(min_value=0.0, max_value=1e5)


def phases(*samples: float, prior: float) -> learning.Phases:
    found = learning.Phases()
    for seconds in samples:
        found = found.observed(KEY, seconds, prior)
    return found


def yields(*samples: tuple[float, float]) -> learning.Yields:
    found = learning.Yields()
    for hashrate, watts in samples:
        found = found.observed(sample.GPU, "kas", hashrate=hashrate, watts=watts, seed=SEED)
    return found


def measured(found: learning.Yields) -> model.Benchmark:
    return found.benchmark(sample.GPU, "kas", SEED)


@given(prior=TIMES, samples=st.lists(TIMES, max_size=60))
def test_an_estimate_stays_between_its_prior_and_its_samples(prior: float, samples: list[float]) -> None:
    expected = phases(*samples, prior=prior).seconds(KEY, prior)
    assert min([prior, *samples]) * (1 - 1e-9) - 1e-9 <= expected <= max([prior, *samples]) * (1 + 1e-9) + 1e-9


@given(prior=st.floats(min_value=5.0, max_value=600.0), hung=st.floats(min_value=0.0, max_value=1e9))
def test_one_that_hung_moves_little(prior: float, hung: float) -> None:
    before = phases(*[prior] * 8, prior=prior)
    after = before.observed(KEY, hung, prior).seconds(KEY, prior)
    # Nine samples and what is left of the prior: the new one is about a tenth of it all, and counts at most fourfold.
    assert after <= prior * (1 + 3 / 9.9)


def test_what_is_seen_again_and_again_is_believed_however_far_from_the_table() -> None:
    assert phases(*[480.0] * 60, prior=5.0).seconds(KEY, 5.0) == pytest.approx(480.0, rel=0.1)
    assert phases(*[1.0] * 60, prior=180.0).seconds(KEY, 180.0) < 10.0
    assert phases(9.0, prior=5.0).seconds(KEY, 5.0) == pytest.approx((0.95 * 4 * 5 + 9) / (0.95 * 4 + 1))


@pytest.mark.parametrize("nonsense", [math.nan, math.inf, -1.0])
def test_what_is_no_time_teaches_nothing(nonsense: float) -> None:
    assert phases(nonsense, prior=5.0) == learning.Phases()


def test_the_memory_is_bounded_and_forgets_what_was_seen_least() -> None:
    found = phases(5.0, 5.0, prior=5.0)
    for number in range(2100):
        found = found.observed(learning.Key(learning.Phase.LOAD_MINER, "6x card", f"coin-{number}"), 30.0, 30.0)
    assert len(found.known) == 2000
    assert KEY in found.known
    text = json.dumps(learning.dump(learning.Learned(phases=found)))
    assert len(text) < 200_000


def test_learned_phases_are_what_a_switch_costs_there_and_nowhere_else() -> None:
    rigs = [sample.rig("six"), sample.rig("two", hardware=sample.hardware(2))]
    farm = sample.farm(rigs=rigs, jobs=[sample.job(state=model.JobState.ADMITTED, notice_seconds=20.0)])
    valuation = worth.value(farm, sample.market(kas=4.0, rvn=3.0), sample.NOW)
    six, two = valuation.class_of["six"], valuation.class_of["two"]
    kas, rvn = (model.Mode(model.ModeKind.MINING, coin) for coin in ("kas", "rvn"))
    kind = learning.kind_of(rigs[0].hardware)
    found = learning.Phases()
    for _ in range(200):
        found = found.observed(learning.Key(learning.Phase.LOAD_MINER, kind, "kas"), 90.0, 30.0)
        found = found.observed(checkpoints.key("Batch"), 300.0, 60.0)
    costs = switching_cost.costs(farm, valuation, learning.Learned(phases=found))
    table = switching_cost.costs(farm, valuation)
    assert costs[six, rvn, kas].seconds == pytest.approx(table[six, rvn, kas].seconds + 60.0, abs=0.1)
    assert costs[six, kas, rvn] == table[six, kas, rvn]
    assert costs[two, rvn, kas] == table[two, rvn, kas]
    # Whoever is late is stopped all the same: never more than the notice.
    job = sample.job().mode
    assert costs[six, job, rvn] == table[six, job, rvn]


def test_measured_benchmarks_beat_the_table_in_what_a_rig_is_worth() -> None:
    farm = sample.farm()
    better = yields(*[(0.032, 120.0)] * 100).farm(farm)
    kas = model.Mode(model.ModeKind.MINING, "kas")
    (value,) = worth.value(better, sample.market(kas=4.0, rvn=3.0), sample.NOW).classes.values()
    assert value.worths[kas].revenue_usd_per_hour == pytest.approx(6 * 0.032 * 4.0, rel=1e-3)
    assert value.worths[kas].watts == 80 + 6 * 120
    assert farm.coins["rvn"] is better.coins["rvn"]
    assert learning.Yields().farm(farm) is farm


def test_a_rate_that_cannot_be_is_not_believed() -> None:
    steady = yields(*[(0.030, 130.0)] * 10)
    assert measured(steady.observed(sample.GPU, "kas", hashrate=0.037, watts=130.0, seed=SEED)) == measured(steady)
    for absurd in (0.0, 0.9, math.nan, math.inf):
        found = steady
        for _ in range(100):
            found = found.observed(sample.GPU, "kas", hashrate=absurd, watts=absurd, seed=SEED)
        assert measured(found) == measured(steady)


def test_a_rate_that_is_told_again_and_again_is_believed_in_the_end() -> None:
    # A card that was tuned: 25 % below the Coin's benchmark, for good.
    found = yields(*[(0.0225, 98.0)] * 100)
    assert measured(found).hashrate == pytest.approx(0.0225, rel=0.03)
    assert measured(found).watts == pytest.approx(98, abs=4)
    # One sick card among ten does not get there: the others say otherwise in between.
    farm = yields(*([(0.030, 130.0)] * 9 + [(0.0225, 98.0)]) * 30)
    assert measured(farm).hashrate == pytest.approx(0.030, rel=1e-3)


def test_quiet_hours_make_stops_rarer_and_crashes_make_them_more_frequent() -> None:
    prior = checkpoints.BETWEEN_STOPS_SECONDS
    quiet = learning.Stops().observed("Batch", ran_seconds=240 * 3600.0, stops=0)
    rough = learning.Stops().observed("Batch", ran_seconds=24 * 3600.0, stops=24)
    assert quiet.seconds_between("Batch", prior) == pytest.approx((24 + 240) / 4 * 3600)
    assert rough.seconds_between("Batch", prior) == pytest.approx((24 + 24) / 28 * 3600)
    assert quiet.seconds_between("HPC", prior) == prior
    assert quiet.observed("Batch", ran_seconds=math.nan, stops=1) == quiet
    # Half is forgotten with every 2000 hours.
    old = rough.observed("Batch", ran_seconds=2000 * 3600.0, stops=0)
    assert old.known["Batch"][1] == pytest.approx(12)


def everything() -> learning.Learned:
    return learning.Learned(
        phases=phases(7.0, 9.0, 1000.0, prior=5.0),
        yields=yields((0.031, 128.0), (0.04, 128.0)),
        stops=learning.Stops(immutables.Map({"Batch": (3600.0, 2.0)})),
    )


def test_what_was_learned_can_be_written_down_and_read_again() -> None:
    known = everything()
    text = json.dumps(learning.dump(known))
    again = learning.load(json.loads(text))
    assert json.dumps(learning.dump(again)) == text
    assert again.phases.seconds(KEY, 5.0) == pytest.approx(known.phases.seconds(KEY, 5.0), rel=1e-4)
    assert measured(again.yields).hashrate == pytest.approx(measured(known.yields).hashrate, rel=1e-4)
    assert again.stops == known.stops
    assert learning.load({}) == learning.NOTHING


@pytest.mark.parametrize(
    ("part", "row"),
    [
        ("phases", ["Release", "k", "", 5.0]),
        ("phases", ["Release", "k", "", -5.0, 1.0]),
        ("phases", ["Release", "k", None, 5.0, 1.0]),
        ("phases", ["Release", "k", "", math.nan, 1.0]),
        ("yields", ["gpu", "kas", 1, 1, 1, 1]),
        ("yields", "gpu"),
        ("stops", ["Batch", "many", 1]),
    ],
)
def test_half_a_memory_is_refused_with_the_row(part: str, row: Any) -> None:
    with pytest.raises(ValueError, match=rf"{part}\[0\]"):
        learning.load({part: [row]})


@pytest.mark.parametrize("found", [None, [], "x", {"phases": {}}])
def test_no_memory_is_refused(found: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        learning.load(found)


def test_a_phase_that_is_no_more_is_passed_over() -> None:
    assert learning.load({"phases": [["Dance", "k", "", 5.0, 1.0]]}) == learning.NOTHING


def test_a_weight_that_no_average_has_does_not_turn_the_prior_round() -> None:
    found = learning.load({"phases": [["Release", "6x card", "", 8.0, 1e6]]})
    assert found.phases.seconds(KEY, 5.0) == pytest.approx(8.0)


def test_like_hardware_is_one_kind_wherever_it_stands() -> None:
    one, other = sample.hardware(host_memory_mib=7900), sample.hardware(host_memory_mib=8100)
    mixed = dataclasses.replace(one, gpus=(sample.gpu(model="B"), *one.gpus))
    turned = dataclasses.replace(one, gpus=(*one.gpus, sample.gpu(model="B")))
    assert learning.kind_of(one) == learning.kind_of(other) == f"6x {sample.GPU}, 8 GiB, 2 cores"
    assert learning.kind_of(mixed) == learning.kind_of(turned) != learning.kind_of(one)
