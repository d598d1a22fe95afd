"""The linear program of a farm: whole gangs, limits that hold, prices that mean what they say."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchyard.planning import program
from switchyard.planning import program_values as values

EDGES = (0.0, 0.5, 1.0, 2.0, 4.0)
CASES = settings(max_examples=120, deadline=None)


def solved(problem: values.Problem) -> values.Answer:
    answer = program.solve(problem)
    assert isinstance(answer, values.Answer), answer
    return answer


def block(
    rigs: int, *, net: float = 1.0, free: int | None = None, circuit: str = "", watts: float = 500.0
) -> values.Block:
    return values.Block(
        rigs=rigs,
        origins=(values.Origin(rigs=rigs if free is None else free, in_usd=0.1),),
        modes=(values.LocalMode(usd_per_hour=net, watts=watts), values.LocalMode(usd_per_hour=0.0, watts=50.0)),
        circuit=circuit,
        later_in_usd=0.1,
        out_usd=0.05,
    )


def gang(
    key: str, usd_per_hour: float, *, hours: float = 2.0, replicas: int = 1, last: float = 0.0, **slots: int
) -> values.Gang:
    fits = {name: values.Fit(slots=count, watts=1000.0) for name, count in (slots or {"a": 1}).items()}
    return values.Gang(
        key=key, usd_per_hour=usd_per_hour, hours=hours, replicas=replicas, fits=fits, last_start_hours=last
    )


def working(
    key: str, usd_per_hour: float, *, rigs: int, stop: float | None = 0.2, hours: float = 2.0
) -> values.Working:
    return values.Working(
        key=key, usd_per_hour=usd_per_hour, hours=hours, rigs={"a": rigs}, watts={"a": 1000.0}, stop_usd=stop
    )


# --- what a person can follow -------------------------------------------------------------------------------------


def test_a_farm_without_work_has_nothing_to_do_and_no_prices() -> None:
    answer = solved(values.Problem(blocks={"a": block(3)}))
    assert not answer.admitted
    assert answer.value_usd == answer.bound_usd == 0
    assert answer.prices.surcharge("a", 5) == 0
    assert answer.prices.surcharge("unknown", 5) == 0


def test_the_better_bid_gets_the_only_rig() -> None:
    answer = solved(values.Problem(blocks={"a": block(1)}, gangs=(gang("low", 2), gang("high", 3)), edges_hours=EDGES))
    assert answer.admitted == {"high": {"a": 1}}
    assert answer.value_usd == pytest.approx(2 * (3 - 1) - 0.15)


def test_the_price_of_a_rig_is_between_the_bid_that_gets_it_and_the_one_that_does_not() -> None:
    answer = solved(values.Problem(blocks={"a": block(1)}, gangs=(gang("low", 2), gang("high", 3)), edges_hours=EDGES))
    moves = 0.15 / 2
    assert 2 - 1 - moves - 1e-6 <= answer.prices.surcharge("a", 2) <= 3 - 1 - moves + 1e-6


def test_a_bid_below_mining_is_refused_and_makes_nothing_scarce() -> None:
    answer = solved(values.Problem(blocks={"a": block(1)}, gangs=(gang("low", 1.07),), edges_hours=EDGES))
    assert not answer.admitted
    assert answer.prices.surcharge("a", 4) == 0


def test_what_is_expected_keeps_a_poor_bid_out() -> None:
    flow = values.Flow(usd_per_unit_hour=3.0, hours=1.0, units=(0.0, 2.0, 2.0, 2.0), rigs_per_unit={"a": 1.0})
    poor = values.Problem(blocks={"a": block(1)}, gangs=(gang("poor", 1.5, hours=4),), edges_hours=EDGES)
    assert solved(poor).admitted
    rich = solved(dataclasses.replace(poor, flows=(flow,)))
    assert not rich.admitted
    assert rich.prices.surcharge("a", 4) > 0.5


def test_a_short_job_slips_in_before_the_rush() -> None:
    flow = values.Flow(usd_per_unit_hour=3.0, hours=1.0, units=(0.0, 0.0, 2.0, 4.0), rigs_per_unit={"a": 1.0})
    jobs = (gang("long", 1.5, hours=4), gang("short", 1.5, hours=0.5))
    answer = solved(values.Problem(blocks={"a": block(1)}, gangs=jobs, flows=(flow,), edges_hours=EDGES))
    assert set(answer.admitted) == {"short"}
    assert answer.prices.surcharge("a", 0.5) < answer.prices.surcharge("a", 4)


def test_a_gang_at_work_yields_to_one_that_pays_for_its_stop() -> None:
    farm = values.Problem(blocks={"a": block(2, free=0)}, working=(working("old", 3.0, rigs=2),), edges_hours=EDGES)
    better, hardly = gang("new", 6.0, replicas=2), gang("new", 3.1, replicas=2)
    answer = solved(dataclasses.replace(farm, gangs=(better,)))
    assert (answer.admitted, answer.stopped) == ({"new": {"a": 2}}, ("old",))
    answer = solved(dataclasses.replace(farm, gangs=(hardly,)))
    assert (answer.admitted, answer.stopped) == ({}, ())
    kept = dataclasses.replace(farm, gangs=(better,), working=(working("old", 3.0, rigs=2, stop=None),))
    assert (solved(kept).admitted, solved(kept).stopped) == ({}, ())


def test_a_gang_at_work_that_mining_beats_is_stopped() -> None:
    farm = values.Problem(blocks={"a": block(2, free=0)}, working=(working("old", 1.0, rigs=2),), edges_hours=EDGES)
    assert solved(farm).stopped == ("old",)


def test_a_gang_waits_for_rigs_that_are_soon_free() -> None:
    farm = values.Problem(
        blocks={"a": block(2, free=1)},
        working=(working("old", 5.0, rigs=1, hours=0.5),),
        gangs=(gang("big", 8.0, replicas=2, last=1.0), gang("small", 1.2, hours=4)),
        edges_hours=EDGES,
    )
    assert not solved(farm).admitted


def test_a_gang_is_spread_over_blocks_where_one_does_not_hold_it() -> None:
    farm = values.Problem(
        blocks={"a": block(1), "b": block(2, net=1.5)},
        gangs=(gang("big", 20.0, replicas=5, a=2, b=2),),
        edges_hours=EDGES,
    )
    assert solved(farm).admitted == {"big": {"a": 1, "b": 2}}


def test_a_short_circuit_has_a_price_and_puts_mining_aside() -> None:
    farm = values.Problem(
        blocks={"a": block(4, circuit="k")},
        gangs=(gang("one", 3.0, hours=4, replicas=1),),
        circuits={"k": values.Circuit(limit_watts=1700.0)},
        edges_hours=EDGES,
    )
    answer = solved(farm)
    assert answer.admitted == {"one": {"a": 1}}
    assert answer.prices.circuit_surcharge("k", 4) == pytest.approx(1 / 450)
    mining, idle = answer.local_rigs["a"]
    assert mining + idle == pytest.approx(3)
    assert 1000 + 500 * mining + 50 * idle <= 1700 + 1e-6
    poor = dataclasses.replace(farm, gangs=(gang("one", 2.1, hours=4),))
    assert not solved(poor).admitted


def test_a_circuit_that_nobody_can_hold_is_said_to_be_overdrawn() -> None:
    farm = values.Problem(
        blocks={"a": block(4, circuit="k")}, circuits={"k": values.Circuit(limit_watts=150.0)}, edges_hours=EDGES
    )
    assert solved(farm).excess_watts == {"k": pytest.approx(50.0)}


def test_hand_overs_and_quotas_limit_what_starts() -> None:
    jobs = tuple(gang(f"j{at}", 3.0 + at) for at in range(4))
    farm = values.Problem(blocks={"a": block(4)}, gangs=jobs, edges_hours=EDGES)
    assert set(solved(farm).admitted) == {"j0", "j1", "j2", "j3"}
    budget = values.Budget(blocks=frozenset({"a"}), left=2)
    assert set(solved(dataclasses.replace(farm, budgets=(budget,))).admitted) == {"j2", "j3"}
    quota = values.Quota(blocks=frozenset({"a"}), most=1)
    assert set(solved(dataclasses.replace(farm, quotas=(quota,))).admitted) == {"j3"}


def test_a_floor_keeps_a_gang_that_mining_beats() -> None:
    floor = values.Quota(blocks=frozenset({"a"}), least=2)
    farm = values.Problem(
        blocks={"a": block(2, free=0)},
        working=(working("old", 1.0, rigs=2),),
        quotas=(floor,),
        edges_hours=EDGES,
    )
    assert solved(farm).stopped == ()


def test_power_that_is_cheap_later_is_waited_for() -> None:
    night = dataclasses.replace(block(1, net=0.0), usd_per_watt_hour=(2e-3, 2e-3, 1e-5, 1e-5))
    farm = values.Problem(blocks={"a": night}, gangs=(gang("job", 1.5, hours=2, last=1.0),), edges_hours=EDGES)
    answer = solved(farm)
    assert not answer.admitted
    assert answer.value_usd > 1.0


def test_out_of_time_is_a_failure_and_no_exception() -> None:
    jobs = tuple(gang(f"j{at}", 1 + at % 7, replicas=1 + at % 5, last=9) for at in range(300))
    answer = program.solve(values.Problem(blocks={"a": block(40)}, gangs=jobs), limit_seconds=0.0)
    assert isinstance(answer, values.Failure)
    assert answer.reason == program.LATE


@pytest.mark.parametrize(
    ("problem", "named"),
    [
        (values.Problem(blocks={"a": block(1)}, gangs=(gang("j", 1, b=1),)), r"gangs\[j\].fits: there is no block b"),
        (values.Problem(blocks={"a": block(1)}, gangs=(gang("j", 1, replicas=0),)), r"gangs\[j\]"),
        (values.Problem(blocks={"a": dataclasses.replace(block(1), modes=())}), r"blocks\[a\].modes"),
        (
            values.Problem(blocks={"a": dataclasses.replace(block(1), usd_per_watt_hour=(1.0, 2.0))}),
            "2 figures for 8 steps",
        ),
        (
            values.Problem(blocks={"a": block(1)}, budgets=(values.Budget(blocks=frozenset({"z"}), left=1),)),
            "budgets.blocks: there is no block z",
        ),
        (
            values.Problem(blocks={"a": block(1, free=1)}, working=(working("w", 1.0, rigs=1),)),
            r"blocks\[a\].rigs: 1, but 2",
        ),
    ],
)
def test_a_problem_that_contradicts_itself_is_refused(problem: values.Problem, named: str) -> None:
    with pytest.raises(values.ProblemError, match=named):
        program.solve(problem)


# --- what holds of every problem ------------------------------------------------------------------------------------


@st.composite
def problems(draw: st.DrawFn, *, most_gangs: int = 6) -> values.Problem:
    names = ["a", "b"][: draw(st.integers(1, 2))]
    circuits = {"k": values.Circuit(limit_watts=draw(st.sampled_from([1500.0, 3000.0, 9e9])))}
    jobs_at_work: list[values.Working] = []
    blocks: dict[str, values.Block] = {}
    for name in names:
        free, busy = draw(st.integers(0, 4)), draw(st.integers(0, 3))
        blocks[name] = dataclasses.replace(
            block(
                free + busy, free=free, net=draw(st.sampled_from([0.2, 1.0])), circuit=draw(st.sampled_from(["", "k"]))
            ),
            usd_per_watt_hour=draw(st.sampled_from([0.0, 1e-4])),
        )
        if busy:
            jobs_at_work.append(
                values.Working(
                    key=f"at-work-{name}",
                    usd_per_hour=draw(st.floats(0.1, 8)),
                    hours=draw(st.floats(0.1, 6)),
                    rigs={name: busy},
                    watts={name: 900.0},
                    stop_usd=draw(st.none() | st.floats(0, 1)),
                )
            )
    jobs = tuple(
        values.Gang(
            key=f"g{at}",
            usd_per_hour=draw(st.floats(0.1, 12)),
            hours=draw(st.floats(0.1, 9)),
            replicas=draw(st.integers(1, 5)),
            fits={
                name: values.Fit(slots=draw(st.integers(1, 3)), watts=900.0)
                for name in draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
            },
            last_start_hours=draw(st.sampled_from([0.0, 1.0, math.inf])),
        )
        for at in range(draw(st.integers(0, most_gangs)))
    )
    return values.Problem(
        blocks=blocks,
        gangs=jobs,
        working=tuple(jobs_at_work),
        flows=(values.Flow(usd_per_unit_hour=2.0, hours=1.0, units=(0.0, 1.0, 1.0, 0.5), rigs_per_unit={"a": 0.5}),),
        circuits=circuits,
        quotas=(values.Quota(blocks=frozenset({"a"}), least=draw(st.integers(0, 2)), most=draw(st.integers(1, 5))),),
        budgets=(values.Budget(blocks=frozenset(names), left=draw(st.integers(0, 6))),),
        edges_hours=EDGES,
    )


def check_limits(problem: values.Problem, answer: values.Answer) -> None:
    waiting = {each.key: each for each in problem.gangs}
    kept = [work for work in problem.working if work.key not in answer.stopped]
    freed = {
        name: sum(work.rigs.get(name, 0) for work in problem.working if work.key in answer.stopped)
        for name in problem.blocks
    }
    taken = {name: sum(rigs.get(name, 0) for rigs in answer.admitted.values()) for name in problem.blocks}
    assert all(work.stop_usd is not None for work in problem.working if work.key in answer.stopped)
    for key, rigs in answer.admitted.items():
        assert sum(count * waiting[key].fits[name].slots for name, count in rigs.items()) >= waiting[key].replicas
        assert all(count > 0 for count in rigs.values())
    for name, found in problem.blocks.items():
        assert taken[name] <= sum(origin.rigs for origin in found.origins) + freed[name]
    for budget in problem.budgets:
        moves = sum(freed[name] + max(0, taken[name] - freed[name]) for name in budget.blocks)
        assert moves <= budget.left
    for quota in problem.quotas:
        before = sum(work.rigs.get(name, 0) for work in problem.working for name in quota.blocks)
        after = sum(taken[name] for name in quota.blocks) + sum(
            work.rigs.get(name, 0) for work in kept for name in quota.blocks
        )
        assert quota.most is None or after <= max(quota.most, before)
        assert after >= min(quota.least, before)
    for key, circuit in problem.circuits.items():
        fed = [name for name, found in problem.blocks.items() if found.circuit == key]
        drawn = 0.0
        for name in fed:
            busy = taken[name] + sum(work.rigs.get(name, 0) for work in kept)
            drawn += 900.0 * busy + 50.0 * (problem.blocks[name].rigs - busy)
        assert isinstance(circuit.limit_watts, float)
        assert drawn <= circuit.limit_watts + answer.excess_watts.get(key, 0.0) + 1e-3


@CASES
@given(problems())
def test_every_answer_keeps_gangs_whole_and_every_limit(problem: values.Problem) -> None:
    answer = solved(problem)
    check_limits(problem, answer)
    assert answer.value_usd <= answer.bound_usd + 1e-6
    assert all((prices > -1e-6).all() for prices in answer.prices.usd_per_watt_hour.values())
    for name, prices in answer.prices.usd_per_rig_hour.items():
        assert problem.blocks[name].circuit or (prices > -1e-6).all()


@CASES
@given(problems())
def test_the_order_in_which_things_are_told_does_not_matter_to_the_bound(problem: values.Problem) -> None:
    turned = dataclasses.replace(
        problem, gangs=problem.gangs[::-1], blocks=dict(reversed(list(problem.blocks.items())))
    )
    first, second, again = solved(problem), solved(turned), solved(problem)
    assert first.bound_usd == pytest.approx(second.bound_usd, abs=1e-6)
    assert (first.admitted, first.stopped, first.value_usd) == (again.admitted, again.stopped, again.value_usd)


@CASES
@given(problems())
def test_a_refused_gang_does_not_pay_the_prices_and_an_admitted_one_does(problem: values.Problem) -> None:
    """On farms where neither hand-overs nor quotas nor stops come in between, and gangs start now or never."""
    free = dataclasses.replace(
        problem,
        gangs=tuple(
            dataclasses.replace(each, last_start_hours=0.0, hours=min(each.hours, EDGES[-1])) for each in problem.gangs
        ),
        working=(),
        quotas=(),
        budgets=(),
        blocks={
            name: dataclasses.replace(found, origins=(values.Origin(rigs=found.rigs, in_usd=0.1),))
            for name, found in problem.blocks.items()
        },
    )
    answer = solved(free)
    if answer.gap > 1e-6:
        return
    for each in free.gangs:
        over = each.usd_per_hour * each.hours - least_cost(free, answer.prices, each)
        if each.key in answer.admitted:
            assert over >= -1e-5
        else:
            assert over <= 1e-5


def least_cost(problem: values.Problem, prices: values.Prices, each: values.Gang) -> float:
    """$ that a gang's rigs are worth at the prices, for its hours, as the linear program sees it."""
    needs = {name: -(-each.replicas // min(fit.slots, each.replicas)) for name, fit in each.fits.items()}
    alike = len(set(needs.values())) == 1
    costs = []
    for name, fit in each.fits.items():
        found = problem.blocks[name]
        assert isinstance(found.usd_per_watt_hour, float)
        local = max(mode.usd_per_hour - mode.watts * found.usd_per_watt_hour for mode in found.modes)
        hourly = local + fit.watts * found.usd_per_watt_hour + prices.surcharge(name, each.hours)
        hourly += fit.watts * prices.circuit_surcharge(found.circuit, each.hours)
        rigs = needs[name] if alike else each.replicas / min(fit.slots, each.replicas)
        costs.append(rigs * (hourly * each.hours + 0.15))
    return min(costs)


@CASES
@given(problems(most_gangs=4))
def test_the_plan_is_as_good_as_the_best_of_all_plans(problem: values.Problem) -> None:
    """Against every set of gangs on every split over blocks and every set of stops, each valued by the program."""
    now = dataclasses.replace(
        problem, gangs=tuple(dataclasses.replace(each, last_start_hours=0.0) for each in problem.gangs[:3]), flows=()
    )
    answer = solved(now)
    best = max(worth(now, starts, stops) for starts in all_starts(now) for stops in all_stops(now))
    excess = bool(answer.excess_watts) or best < -1e3
    if not excess:
        assert answer.value_usd == pytest.approx(best, rel=program.GOAL, abs=1e-5)


def test_the_search_is_not_misled_by_the_plan_so_far() -> None:
    """A solver that is told of a plan may answer with it, at a worth that it does not have."""
    modes = (values.LocalMode(usd_per_hour=0.2, watts=500.0), values.LocalMode(usd_per_hour=0.0, watts=50.0))
    farm = values.Problem(
        blocks={
            name: values.Block(
                rigs=rigs,
                origins=(values.Origin(rigs=free, in_usd=0.1),),
                modes=modes,
                usd_per_watt_hour=0.0,
                circuit=circuit,
                later_in_usd=0.1,
                out_usd=0.05,
            )
            for name, rigs, free, circuit in (("a", 1, 0, ""), ("b", 2, 2, "k"))
        },
        gangs=(
            values.Gang(
                key="new",
                usd_per_hour=1.0,
                hours=2.0,
                replicas=2,
                fits={"a": values.Fit(slots=2, watts=900.0), "b": values.Fit(slots=1, watts=900.0)},
                last_start_hours=0.0,
            ),
        ),
        working=(
            values.Working(key="old", usd_per_hour=1.0, hours=1.0, rigs={"a": 1}, watts={"a": 900.0}, stop_usd=0.0),
        ),
        circuits={"k": values.Circuit(limit_watts=1500.0)},
        quotas=(values.Quota(blocks=frozenset({"a"}), least=0, most=1),),
        budgets=(values.Budget(blocks=frozenset({"a", "b"}), left=3),),
        edges_hours=EDGES,
    )
    answer = solved(farm)
    assert (answer.admitted, answer.stopped) == ({"new": {"a": 1}}, ("old",))
    assert answer.value_usd == pytest.approx(1.45)


def test_what_the_linear_program_is_sure_of_is_found_where_rounding_missed_it() -> None:
    """A gang that starts for certain, but only where another is stopped whole."""

    def rigs(count: int) -> values.Block:
        return values.Block(
            rigs=count,
            origins=(values.Origin(rigs=0, in_usd=0.1),),
            modes=(values.LocalMode(usd_per_hour=0.2),),
            later_in_usd=0.1,
            out_usd=0.05,
        )

    fits = {"a": values.Fit(slots=3), "b": values.Fit(slots=1)}
    waiting = values.Gang(key="new", usd_per_hour=2.0, hours=3.0, replicas=4, fits=fits, last_start_hours=0.0)
    problem = values.Problem(
        blocks={"a": rigs(2), "b": rigs(1)},
        gangs=(waiting,),
        working=(
            values.Working(key="old", usd_per_hour=1.0, hours=4.0, rigs={"a": 2}, stop_usd=0.0),
            values.Working(key="kept", usd_per_hour=1.0, hours=1.0, rigs={"b": 1}),
        ),
        quotas=(values.Quota(blocks=frozenset({"a"}), most=1),),
        edges_hours=EDGES,
    )
    answer = solved(problem)
    assert answer.admitted == {"new": {"a": 2}}
    assert answer.stopped == ("old",)


def test_a_floor_counts_only_work_that_is_done_and_takes_what_pays_too_little() -> None:
    rigs = values.Block(rigs=2, origins=(), modes=(values.LocalMode(usd_per_hour=1.0),), later_in_usd=0.1)
    at_work = values.Working(key="old", usd_per_hour=1.0, hours=1.0, rigs={"a": 2}, stop_usd=0.0)
    floor = values.Quota(blocks=frozenset({"a"}), least=1)
    large = values.Gang(
        key="large", usd_per_hour=9.0, hours=1.0, replicas=3, fits={"a": values.Fit(slots=1)}, last_start_hours=0.0
    )
    problem = values.Problem(blocks={"a": rigs}, gangs=(large,), working=(at_work,), quotas=(floor,), edges_hours=EDGES)
    assert solved(problem).stopped == ()
    small = dataclasses.replace(large, key="small", usd_per_hour=0.95, replicas=1)
    better = solved(dataclasses.replace(problem, gangs=(small,)))
    assert (better.admitted, better.stopped) == ({"small": {"a": 1}}, ("old",))


def all_stops(problem: values.Problem) -> list[tuple[str, ...]]:
    free = [work.key for work in problem.working if work.stop_usd is not None]
    return [chosen for count in range(len(free) + 1) for chosen in itertools.combinations(free, count)]


def all_starts(problem: values.Problem) -> list[dict[str, dict[str, int]]]:
    ways: list[list[dict[str, int]]] = []
    for each in problem.gangs:
        names = sorted(each.fits)
        mine: list[dict[str, int]] = [{}]
        for counts in itertools.product(*(range(each.replicas + 1) for _ in names)):
            held = sum(count * each.fits[name].slots for count, name in zip(counts, names, strict=True))
            spare = min((each.fits[name].slots for count, name in zip(counts, names, strict=True) if count), default=0)
            if each.replicas <= held < each.replicas + spare:
                mine.append({name: count for count, name in zip(counts, names, strict=True) if count})
        ways.append(mine)
    keys = [each.key for each in problem.gangs]
    return [dict(zip(keys, chosen, strict=True)) for chosen in itertools.product(*ways)]


def worth(problem: values.Problem, starts: dict[str, dict[str, int]], stops: tuple[str, ...]) -> float:
    """$ of a plan over the look-ahead, -inf where it breaks a limit; every rig not at AI work does its best."""
    plan = values.Answer(
        admitted={key: rigs for key, rigs in starts.items() if rigs},
        stopped=stops,
        prices=values.Prices(edges_hours=EDGES, usd_per_rig_hour={}, usd_per_start={}, usd_per_watt_hour={}),
        value_usd=0.0,
        bound_usd=0.0,
        excess_watts={},
        local_rigs={},
    )
    try:
        check_limits(problem, plan)
    except AssertionError:
        return -math.inf
    edges = np.asarray(EDGES)
    hours = np.diff(edges)
    lengths = {work.key: work.hours for work in problem.working} | {each.key: each.hours for each in problem.gangs}
    worked = {key: values.covers(edges, 0.0, length) for key, length in lengths.items()}
    total = -sum(work.stop_usd or 0.0 for work in problem.working if work.key in stops)
    busy = {name: np.zeros(len(hours)) for name in problem.blocks}
    for work in problem.working:
        if work.key not in stops:
            total += work.usd_per_hour * float(worked[work.key] @ hours)
            for name, rigs in work.rigs.items():
                busy[name] += rigs * values.holds(edges, work.hours)
                total += given_back(problem.blocks[name], rigs, hours[0], worked[work.key][0])
    for each in problem.gangs:
        rigs_of = starts[each.key]
        if rigs_of:
            total += each.usd_per_hour * float(worked[each.key] @ hours)
            for name, rigs in rigs_of.items():
                busy[name] += rigs * values.holds(edges, each.hours)
                total += given_back(problem.blocks[name], rigs, hours[0], worked[each.key][0])
                # Every way in costs the same in these problems.
                total -= rigs * (0.05 + 0.1) * min(1.0, EDGES[-1] / each.hours)
    for quota in problem.quotas:
        before = sum(
            sum(work.rigs.get(name, 0) for name in quota.blocks) * values.holds(edges, work.hours)
            for work in problem.working
        )
        assert quota.most is not None
        if (sum(busy[name] for name in quota.blocks) > np.maximum(quota.most, before) + 1e-9).any():
            return -math.inf
    for step, length in enumerate(hours):
        room = {
            key: float(np.asarray(circuit.limit_watts))
            - sum(
                900.0 * busy[name][step] + 50.0 * (problem.blocks[name].rigs - busy[name][step])
                for name in problem.blocks
                if problem.blocks[name].circuit == key
            )
            for key, circuit in problem.circuits.items()
        }
        if min(room.values()) < -1e-6:
            return -math.inf
        by_gain = sorted(problem.blocks, key=lambda name: -gain(problem.blocks[name]))
        for name in by_gain:
            found = problem.blocks[name]
            assert isinstance(found.usd_per_watt_hour, float)
            power = found.usd_per_watt_hour
            best = max(mode.usd_per_hour - mode.watts * power for mode in found.modes)
            idle = 0.0 - 50.0 * power
            mining = found.modes[0].usd_per_hour - 500.0 * power
            count = found.rigs - busy[name][step]
            mined = count if found.circuit not in room else min(count, room[found.circuit] / 450.0)
            if mining <= idle:
                mined = 0.0
            if found.circuit in room:
                room[found.circuit] -= 450.0 * mined
            total += length * (mined * mining + (count - mined) * idle - found.rigs * best)
            total -= length * busy[name][step] * 900.0 * power
    return total


def given_back(found: values.Block, rigs: int, hours: float, share: float) -> float:
    """$ of the first step's rest when work ends within it: the rigs are held, but neither worked nor forgone."""
    assert isinstance(found.usd_per_watt_hour, float)
    local = max(mode.usd_per_hour - mode.watts * found.usd_per_watt_hour for mode in found.modes)
    return rigs * hours * (1 - share) * (local + 900.0 * found.usd_per_watt_hour)


def gain(found: values.Block) -> float:
    """$/h by which mining beats idling."""
    assert isinstance(found.usd_per_watt_hour, float)
    return found.modes[0].usd_per_hour - 450.0 * found.usd_per_watt_hour
