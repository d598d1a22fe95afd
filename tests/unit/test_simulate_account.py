from __future__ import annotations

import dataclasses
import datetime
import itertools
import pathlib

import pytest
import yaml

from switchyard.simulate import account, arrivals, baseline, machines, series, sight, work, world

ROOT = pathlib.Path(__file__).parents[2]
DEMO = ROOT / "examples/demo"
HOUR = 3600.0
CARD = machines.Card(
    model="card",
    memory_mib=8192,
    compute_capability=(8, 6),
    pcie_generation=3,
    pcie_width=1,
    link_gigabytes_per_second=0.8,
)


def rig(name: str) -> machines.Machine:
    return machines.Machine(
        name=name, kind="kind", zone="zone", cards=(CARD, CARD), host_memory_mib=8192, cpu_cores=2, host_watts=100
    )


def truth(*, price: series.Series | None = None, revenue: float = 1.0, rigs: int = 1) -> world.World:
    """Rigs of two cards: 2 hashes and 400 W mining, 500 W at work, 120 W idle, 10 W off; power costs 0.1 $/kWh."""
    coin = world.Coin(
        name="kas",
        hashrate={"card": 1.0},
        watts={"card": 150},
        kept=0.9,
        startup_seconds=60,
        minimum_mib=4096,
        revenue=series.Series.constant(revenue),
    )
    site = world.Site(
        name="site", zone="zone", jurisdiction="US-TX", pue=1.5, price=price or series.Series.constant(0.1)
    )
    names = [f"rig-{number}" for number in range(rigs)]
    return world.World(
        rigs={name: rig(name) for name in names},
        sites={"zone": site},
        coins={"kas": coin},
        classes={name: frozenset({"Batch"}) for name in names},
        power={"card": (200, 10)},
        off_watts=10,
    )


def job(
    *, hour: float = 0.0, hours: float = 2.0, replicas: int = 1, bid: float = 1.0, name: str = "job"
) -> arrivals.Arrival:
    return arrivals.Arrival(
        at=datetime.datetime.fromtimestamp(hour * HOUR, tz=datetime.UTC),
        namespace="ns",
        name=name,
        workload_class="Batch",
        replicas=replicas,
        gpus_per_replica=2,
        work_seconds=hours * HOUR,
        bid=bid,
        needs=arrivals.Needs(gpu_mib=8192),
        spec={},
    )


def pod(name: str, *, node: str = "rig-0", coin: str = "", work_of: str = "") -> sight.Pod:
    return sight.Pod(
        namespace="ns",
        name=name,
        uid=name,
        owner="",
        coin=coin,
        job=work_of,
        node=node,
        claim="",
        gpus=2,
        holds=True,
        running=True,
        deleting=False,
        labels={},
        annotations={},
        containers=(),
    )


def books(
    world_: world.World, *jobs: arrivals.Arrival, profile: str = "idle", gangs: dict[str, work.Gang] | None = None
) -> account.Account:
    return account.Account(
        world_, jobs, start=0.0, end=10 * HOUR, profile=lambda _: profile, gangs=gangs if gangs is not None else {}
    )


def test_a_miner_earns_after_its_startup_and_draws_from_the_start() -> None:
    it = books(truth())
    it.see(pod("m", coin="kas"), now=0.0)
    it.pass_time(HOUR)
    assert it.totals.mining_usd == pytest.approx(2 * 0.9 * (HOUR - 60) / HOUR)
    assert it.totals.power_usd == pytest.approx(0.4 * 1.5 * 0.1)


def test_idle_and_off_rigs_draw_what_their_agents_say() -> None:
    for profile, watts in (("idle", 120), ("off", 10), ("stock", 120)):
        it = books(truth(), profile=profile)
        it.pass_time(HOUR)
        assert it.totals.earned_usd == pytest.approx(-watts / 1000 * 1.5 * 0.1)


def test_negative_prices_pay() -> None:
    it = books(truth(price=series.Series.constant(-0.1)))
    it.pass_time(HOUR)
    assert it.totals.earned_usd > 0


def test_a_gang_earns_only_whole_and_never_twice() -> None:
    gang = work.Gang(replicas=2, total_seconds=2 * HOUR, checkpoint_every_seconds=1e9)
    it = books(truth(rigs=2), job(replicas=2), gangs={"ns/job": gang})
    one, two = pod("a", work_of="ns/job"), pod("b", node="rig-1", work_of="ns/job")
    it.see(one, now=0.0)
    it.pass_time(HOUR)
    assert it.totals.work_usd == 0

    it.see(two, now=HOUR)
    gang.observe(running=frozenset("ab"), now=HOUR)
    gang.observe(running=frozenset("ab"), now=2 * HOUR)
    it.pass_time(2 * HOUR)
    assert it.totals.work_usd == pytest.approx(4.0)

    # Broken up without a checkpoint: the same hour is worked again, for nothing.
    gang.observe(running=frozenset("a"), now=2 * HOUR)
    gang.observe(running=frozenset("ac"), now=2 * HOUR)
    gang.observe(running=frozenset("ac"), now=3 * HOUR)
    it.pass_time(3 * HOUR)
    assert it.totals.work_usd == pytest.approx(4.0)


def test_nothing_is_counted_outside_the_window() -> None:
    it = books(truth())
    it.see(pod("m", coin="kas"), now=-5 * HOUR)
    it.pass_time(0.0)
    assert it.totals == account.Totals()
    it.pass_time(10 * HOUR)
    until_end = dataclasses.replace(it.totals)
    it.pass_time(20 * HOUR)
    assert it.totals == until_end


# --- the best static farm ----------------------------------------------------------------------------------------


def test_without_jobs_it_is_the_best_fixed_mode() -> None:
    mining = baseline.best(truth(revenue=1.0), [], start=0, end=10 * HOUR)
    assert mining.mode == {"kind": "kas"}
    assert mining.usd == pytest.approx(10 * (2 * 0.9 - 0.4 * 1.5 * 0.1))
    off = baseline.best(truth(revenue=0.0), [], start=0, end=10 * HOUR)
    assert off.mode == {"kind": "off"}
    assert off.usd == pytest.approx(-10 * 0.01 * 1.5 * 0.1)
    paid_to_idle = baseline.best(truth(revenue=0.0, price=series.Series.constant(-0.1)), [], start=0, end=10 * HOUR)
    assert paid_to_idle.mode == {"kind": "kas"}


def test_it_sets_rigs_aside_where_jobs_pay_for_them() -> None:
    jobs = [job(hours=8), job(hours=8, name="other")]
    two = baseline.best(truth(revenue=0.0, rigs=3), jobs, start=0, end=10 * HOUR)
    assert two.ai == {"kind": 2}
    assert two.jobs == 2
    # Each job earns 2 $/h; its rig draws 500 W for 8 h and 120 W for 2 h; the third rig is off.
    power = (2 * (0.5 * 8 + 0.12 * 2) + 0.01 * 10) * 1.5 * 0.1
    assert two.usd == pytest.approx(2 * 16 - power)


def test_jobs_wait_for_their_turn_and_end_with_the_window() -> None:
    jobs = [job(hours=8), job(hours=8, name="other")]
    one = baseline.best(truth(revenue=0.0, rigs=1), jobs, start=0, end=10 * HOUR)
    assert one.jobs == 1
    assert one.usd == pytest.approx(2 * 10 - 0.5 * 10 * 1.5 * 0.1)


def test_a_gang_that_never_fits_lets_others_pass() -> None:
    jobs = [job(hours=8, replicas=5), job(hours=8, name="other")]
    assert baseline.best(truth(revenue=0.0, rigs=2), jobs, start=0, end=10 * HOUR).jobs == 1


def test_bids_below_the_floor_are_turned_away() -> None:
    # 2 GPUs at 0.02 $ do not pay for 380 W more at 0.6 $/kWh.
    cheap = baseline.best(
        truth(revenue=0.0, price=series.Series.constant(0.4)), [job(bid=0.02)], start=0, end=10 * HOUR
    )
    assert cheap.jobs == 0


def test_it_is_never_below_what_a_brute_force_finds() -> None:
    it = truth(revenue=0.4, rigs=3, price=series.Series(moments=(0.0, 5 * HOUR), values=(0.05, 2.0)))
    jobs = [job(hour=hour, hours=2.0, name=f"job-{hour}", bid=0.5) for hour in range(6)]
    search = baseline._Search(it, jobs, start=0, end=10 * HOUR)
    brute = max(
        search._worth({"kind": count}, floor, order)[0]
        for count, floor, order in itertools.product(range(4), baseline.FLOORS_USD_PER_GPU_HOUR, search.orders())
    )
    assert baseline.best(it, jobs, start=0, end=10 * HOUR).usd == pytest.approx(brute)


# --- the demo's own farm -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> world.World:
    manifests = [
        document
        for path in sorted(DEMO.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document
    ]
    return world.build(manifests, rigs=machines.load(DEMO / "simulation/rigs.yaml"), root=ROOT)


def test_the_demo_farm_is_what_its_files_say(demo: world.World) -> None:
    assert len(demo.rigs) == 24
    assert {site.name for site in demo.sites.values()} == {"permian", "houston"}
    assert set(demo.coins) == {"quai", "erg", "etc"}
    one = demo.rigs["ampere-10g-01"]
    quai = demo.coins["quai"]
    assert demo.hashrate(one, quai) == pytest.approx(6 * 46.4e6)
    assert demo.mining_watts(one, quai) == 80 + 6 * 279
    assert demo.working_watts(one, 6) == 80 + 6 * 320
    mixed = demo.rigs["mixed-01"]
    assert demo.hashrate(mixed, quai) == pytest.approx(4 * 25.6e6 + 2 * 9.55e6)
    assert demo.working_watts(mixed, 5) == 80 + 4 * 220 + 170 + 18
    assert demo.classes["cmp-01"] == frozenset()
    assert "Training" in demo.classes["deep-01"]
    at = datetime.datetime(2021, 10, 20, 23, 30, tzinfo=datetime.UTC).timestamp()
    assert demo.sites["permian-1"].price.at(at) == pytest.approx(0.39997 + 0.010)
    assert demo.coins["etc"].revenue.at(at) == pytest.approx(0.000778 / 1e6 / 24)


def test_the_same_seed_draws_the_same_customers(demo: world.World) -> None:
    start = datetime.datetime(2021, 10, 18, 5, tzinfo=datetime.UTC)
    jobs = arrivals.draw(DEMO / "simulation/demand.yaml", start=start, hours=96)
    assert jobs == arrivals.draw(DEMO / "simulation/demand.yaml", start=start, hours=96)
    assert 30 <= len(jobs) <= 55
    assert len({each.key for each in jobs}) == len(jobs)
    assert list(jobs) == sorted(jobs, key=lambda each: each.at)
    assert len({each.namespace for each in jobs}) == 2
    nowhere = {
        each.name.rpartition("-")[0]
        for each in jobs
        if not any(each.slots(one, jurisdiction=demo.site(one).jurisdiction) for one in demo.rigs.values())
    }
    assert nowhere == {"giant", "at-home", "new-chips"}
    shorter = arrivals.draw(DEMO / "simulation/demand.yaml", start=start, hours=60)
    assert {each.key for each in shorter} <= {each.key for each in jobs}
