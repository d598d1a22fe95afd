"""What the benchmark of policies sums up, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import sample_results
from bench import policies, policy_figures, policy_text, report
from switchyard.backtest.policies import naming, rules

_MACHINE = {"date": "2026-01-01", "cpu": "C", "cores": 2, "python": "3.11", "highspy": "1.11", "others_percent": 3}


def cell(
    name: str,
    shares: Mapping[str, float],
    *,
    scale: float = 1.0,
    seed: int = 0,
    half: str = "report",
    weekly: Mapping[str, Sequence[float]] | None = None,
    worth: float = 1.0,
) -> policy_figures.Cell:
    year = {"steps": 365, "warmup_steps": 0, "step_seconds": 86400, "gpus": 1}
    records: dict[str, dict[str, Any]] = {"clairvoyant": {"profit_usd": 100.0 * worth, **year}}
    records |= {
        policy: {
            "profit_usd": share * worth,
            "regret_usd_per_gpu_year": (100 - share) * worth,
            "pct_of_clairvoyant": share,
            "capture": (share - 80) / 20,
            "switches_per_gpu_day": 0.5,
            "cap_violations": 0,
            "plan_seconds_p50": 0.002,
            "plan_seconds_p99": None,
        }
        for policy, share in shares.items()
    }
    return policy_figures.Cell(
        scenario=name,
        half=half,
        level=policy_figures.NODE,
        cost_scale=scale,
        seed=seed,
        records=records,
        weekly_usd=weekly or {},
    )


def test_pairs_have_names_that_the_back_test_knows() -> None:
    assert [naming.parse(name) for name in policy_figures.PAIRS] == list(rules.PAIRS)
    assert {"threshold:5:30m", "threshold:10:1h", "threshold:10:4h", "threshold:20:12h"} <= set(policy_figures.PAIRS)


def test_seeds_are_one_cell_and_cells_weigh_alike() -> None:
    cells = [
        cell("a", {"switchyard": 90.0}),
        cell("a", {"switchyard": 98.0}, seed=1),
        cell("a", {"switchyard": 100.0}, scale=4.0),
    ]
    found = policy_figures.summary(cells, "switchyard")

    assert found is not None
    assert (found.lowest, found.mean, found.regret) == (94.0, 97.0, 3.0)
    assert (found.lowest_capture, found.mean_capture) == pytest.approx((70.0, 85.0))
    assert policy_figures.summary(cells, "wfa") is None


def test_the_best_fixed_pair_is_fixed_and_the_tuned_one_is_not() -> None:
    cells = [
        cell("a", {"switchyard": 99.0, "threshold:5:1h": 98.0, "threshold:50:4h": 90.0}),
        cell("b", {"switchyard": 98.0, "threshold:5:1h": 91.0, "threshold:50:4h": 95.0}),
    ]

    assert policy_figures.best_pair(cells) == "threshold:5:1h"
    assert policy_figures.regret_ratio(cells, "threshold:5:1h") == pytest.approx(5.5 / 1.5)
    tuned = policy_figures.summary(cells, policy_figures.TUNED)
    assert tuned is not None
    assert tuned.mean == 96.5


def test_an_interval_holds_the_mean_and_is_wider_where_weeks_differ() -> None:
    best = [100.0] * 8
    calm = cell("a", {}, weekly={"switchyard": [97.0, 98.0] * 4, "clairvoyant": best})
    wild = cell("a", {}, weekly={"switchyard": [85.0, 100.0] * 4, "clairvoyant": best})
    narrow, wide = policy_figures.interval([calm]), policy_figures.interval([wild])

    assert narrow is not None
    assert wide is not None
    assert 97.0 <= narrow[0] < 97.5 < narrow[1] <= 98.0
    assert wide[1] - wide[0] > 5 * (narrow[1] - narrow[0])
    assert policy_figures.interval([calm]) == narrow


def test_no_interval_of_few_weeks_or_of_a_bound() -> None:
    few = cell("a", {}, weekly={"switchyard": [1.0] * 3, "clairvoyant": [1.0] * 3})
    bound = cell("a", {}, weekly={"switchyard": [1.0] * 9})

    assert policy_figures.interval([few, bound]) is None


@pytest.mark.parametrize(("days", "warmup", "weeks"), [(35, 7, 4), (38, 7, 4), (10, 0, 1), (3, 1, 1)])
def test_weeks_add_up_to_the_profit(days: int, warmup: int, weeks: int) -> None:
    found = sample_results.results(days=days, warmup_days=warmup)[0]
    assert found.lanes is not None
    sums = policies.by_week(found, found.lanes)

    assert len(sums) == weeks
    assert sum(sums) == pytest.approx(found.measures.profit_usd)


def test_where_nothing_can_be_earned_money_counts_and_no_share() -> None:
    cells = [cell("a", {"switchyard": 98.0, "greedy": 90.0}), cell("b", {"switchyard": -50.0}, worth=0.01)]
    found = policy_figures.summary(cells, "switchyard")
    text = policy_text.Section(cells=cells, skipped={}, machine=_MACHINE).markdown()

    assert found is not None
    assert (found.lowest, found.mean) == (98.0, 98.0)
    assert found.regret_usd == pytest.approx((2.0 + 1.5) / 2)
    assert policy_figures.summary(cells[1:], "switchyard") is None
    assert "| b | x1 | $1.50 | - |" in text


def test_the_section_keeps_the_halves_apart(tmp_path: Path) -> None:
    cells = [
        cell("one", {"switchyard": 99.0, "greedy": 90.0, "threshold:5:30m": 95.0}),
        cell("one", {"switchyard": 97.0, "greedy": 50.0, "threshold:5:30m": 93.0}, scale=16.0),
        cell("other", {"switchyard": 60.0, "greedy": 70.0}, half="tune"),
    ]
    section = policy_text.Section(cells=cells, skipped={"third": "coins.csv is not there"}, machine=_MACHINE)
    path = tmp_path / "benchmarks.md"
    report.write(path, section)
    text = path.read_text()
    judged, tuned = text.split("### Tuned on")

    assert "| switchyard | 97.0 | 98.0 | 85.0 | 90.0 | 1.0 | 2.0 |" in judged
    assert "| greedy | 50.0 | 70.0 | -150.0 | -50.0 | 15.0 | 30.0 |" in judged
    assert "| best fixed pair: threshold:5:30m | 93.0 | 94.0 | 65.0 | 70.0 | 3.0 | 6.0 |" in judged
    assert "| one | x16 | 97.0 (85) | - | 93.0 (65) | 93.0 (65) |" in judged
    assert "| switchyard | 60.0 | 60.0 | -100.0 | -100.0 | 1.0 | 40.0 |" in tuned
    assert "- third: coins.csv is not there" in text
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.count("|") in {8, 16}, line


def test_absent_traces_are_skipped_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path), "--only", "report-a", "--processes", "1"]

    assert policies.main(arguments) == 0
    told = capsys.readouterr().out
    assert "skipped: report-a: its data are not there" in told
    assert "nothing was played, nothing is written" in told


def test_raw_figures_come_back_as_they_were() -> None:
    raw: dict[str, Any] = {
        "scenario": "a", "half": "tune", "level": "job", "cost_scale": 6.0, "seed": 2, "description": "more",
        "records": {"switchyard": {"profit_usd": 1.0}}, "weekly_usd": {"switchyard": [1.0]},
    }  # fmt: skip
    found = policy_figures.cell(raw)

    assert found.key == ("a", 6.0)
    assert found.measure("switchyard", "profit_usd") == 1.0
    assert found.share("switchyard") is None
