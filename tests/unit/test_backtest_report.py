"""The HTML report of a back-test: what is in it, that it needs nothing else, and that it stays small."""

from __future__ import annotations

import builtins
import dataclasses
import html
import html.parser
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sample_results
from switchyard.backtest import report, result, script
from switchyard.backtest.report import roster, style, thinning, words

_VOID = {"wbr", "meta", "br", "path", "use", "rect", "circle", "line"}


class Reader(html.parser.HTMLParser):
    """Sees to it that all elements are closed, and keeps attributes, ids, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data.strip())


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def written(folder: Path, results: Sequence[result.Result], **more: Any) -> str:
    path = folder / "report.html"
    report.write(path, results, **more)
    return path.read_text(encoding="utf-8")


def pictures(text: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", text, re.DOTALL)


@pytest.fixture(scope="module")
def results() -> list[result.Result]:
    return sample_results.results(days=12, warmup_days=2)


@pytest.fixture(scope="module")
def page(results: list[result.Result], tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("report"), results, command="switchyard backtest a.yaml --html b.html")


def test_it_needs_nothing_from_outside(page: str) -> None:
    reader = read(page)

    assert not re.search(r"https?:|@import|<script|<link|<iframe|<img|<object", page, re.IGNORECASE)
    for tag, name, value in reader.attributes:
        assert name not in {"src", "srcset", "action", "data"}, (tag, name, value)
        assert not name.endswith("href") or value.startswith("#"), (tag, name, value)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_every_reference_within_it_leads_to_one_element(page: str) -> None:
    reader = read(page)

    assert len(set(reader.ids)) == len(reader.ids)
    links = {value[1:] for _, name, value in reader.attributes if name.endswith("href")}
    links |= set(re.findall(r"url\(#([^)]*)\)", page))
    assert links
    assert links <= set(reader.ids)


def test_every_policy_is_in_it_with_its_figures(page: str, results: list[result.Result]) -> None:
    rows = re.findall(r'<tr[^>]*><th scope="row">(.*?)</th>(.*?)</tr>', page)

    assert [name for name, _ in rows] == [
        each.policy for each in sorted(results, key=lambda each: -each.measures.profit_usd)
    ]
    cells = {name: re.sub(r"<[^>]*>", " ", rest).split("  ") for name, rest in rows}
    for each in results:
        shown = {cell.strip() for cell in cells[each.policy]}
        measures = each.measures
        assert words.usd(measures.profit_usd) in shown
        assert f"{measures.pct_of_clairvoyant:.1f} %" in shown
        assert words.percent(None if measures.capture is None else 100 * measures.capture, 0) in shown
        assert words.usd(measures.regret_usd_per_gpu_year) in shown
        assert f"{measures.switches_per_gpu_day:.2f}" in shown
        assert str(measures.evictions) in shown
        assert f"{measures.lost_gpu_hours:,.1f}" in shown
        if measures.plan_seconds_p50 is not None:
            assert "2.1 / 14" in shown


def test_the_best_is_bold_and_the_clairvoyant_is_no_competitor(page: str, results: list[result.Result]) -> None:
    best = max((each for each in results if each.policy != "clairvoyant"), key=lambda each: each.measures.profit_usd)
    bold = re.findall(r'<th scope="row">([^<]*)</th><td><b>', page)

    assert bold == [best.policy]


def test_it_says_in_words_how_ours_fared(page: str, results: list[result.Result]) -> None:
    text = " ".join(read(page).text)
    by_name = {each.policy: each.measures.profit_usd for each in results}
    static = max(("static:zec", "static:ai"), key=lambda name: by_name[name])
    ahead = by_name["switchyard"] - by_name[static]

    assert f"{words.usd(ahead)} more than the best that never switches ({static})" in text
    per_year = by_name["switchyard"] / sample_results.GPUS / 10 * 365
    assert words.usd(per_year) in text
    assert "64 GPUs, 10 days from 2017-10-07 to 2017-10-17 in steps of 10 minutes" in text
    assert "power.csv: doubled hour, 3 times (the later one holds)" in text
    assert "switchyard backtest a.yaml --html b.html" in text
    for term, _ in words.MEANINGS:
        assert term in text


def test_the_pictures_show_all_prices_modes_and_decisions(page: str, results: list[result.Result]) -> None:
    profit, modes, prices = pictures(page)
    ours = next(each for each in results if each.policy == "switchyard")
    assert ours.lanes is not None

    for label in ours.lanes.prices:
        name, _, unit = label.partition(", ")
        assert f">{name}</text>" in prices
        assert f">{unit}</text>" in prices
    for label in ours.lanes.gpus_in_mode:
        assert modes.count(f">{label}</text>") == 2  # ours and the clairvoyant's
    for index, decision in enumerate(ours.lanes.dearest, start=1):
        assert f">{index}</text>" in modes
        assert words.moment(decision.at) in page
    for each in results:
        assert each.policy in profit
    share = 100 * ours.lanes.gpus_in_mode["AI"][ours.warmup_steps :].sum() / (10 * 144 * sample_results.GPUS)
    assert f">{share:.1f} %</text>" in modes


def test_the_same_results_give_the_same_bytes(page: str, tmp_path: Path) -> None:
    again = sample_results.results(days=12, warmup_days=2)

    assert written(tmp_path, again, command="switchyard backtest a.yaml --html b.html") == page
    other = sample_results.results(days=12, warmup_days=2, seed=1)
    assert pictures(written(tmp_path, other)) != pictures(page)


def test_names_stay_text(tmp_path: Path) -> None:
    nasty = '<script>alert("x")</script> & $a$ \u718a'
    results = sample_results.results(days=3, warmup_days=0, scenario=nasty, why=nasty)
    renamed = [
        dataclasses.replace(
            each,
            policy=nasty if each.policy == "greedy" else each.policy,
            description=nasty,
            repairs=(script.Repair(file=nasty, kind=nasty, count=2, detail=nasty),),
            lanes=each.lanes
            and dataclasses.replace(
                each.lanes,
                prices={f"coin {nasty}, {nasty}": np.ones(each.steps), f"AI, {nasty}": np.zeros(each.steps)},
                gpus_in_mode={f"mining {nasty}": np.full(each.steps, 64.0), nasty: np.zeros(each.steps)},
            ),
        )
        for each in results
    ]
    page = written(tmp_path, [*renamed, *sample_results.grid(scenarios=[nasty], scales=[7], days=4)], command=nasty)

    assert "<script" not in page
    # Title, headings, description, two lists of repairs with three names each, decisions, tables, the command.
    assert " ".join(read(page).text).count(nasty) >= 10
    assert len(pictures(page)) == 3


def test_a_year_of_ten_minute_steps_stays_small(tmp_path: Path) -> None:
    page = written(tmp_path, sample_results.results(days=365))

    sizes = [len(picture.encode()) for picture in pictures(page)]
    assert len(sizes) == 3
    assert max(sizes) < 300_000


def test_without_lanes_there_are_tables_only_and_no_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _forbid(monkeypatch, "matplotlib")
    page = written(tmp_path, sample_results.results(days=4, warmup_days=1, lanes=False))

    assert not pictures(page)
    assert len(re.findall('<th scope="row">', page)) == 7


def test_with_lanes_and_without_matplotlib_the_extra_is_named(
    results: list[result.Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forbid(monkeypatch, "matplotlib")

    with pytest.raises(report.PicturesError, match=r"pip install 'switchyard\[report\]'"):
        report.write(tmp_path / "report.html", results)
    assert not (tmp_path / "report.html").exists()


def _forbid(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    real = builtins.__import__

    def importing(name: str, *arguments: Any, **more: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_lanes_of_some_policies_only(results: list[result.Result], tmp_path: Path) -> None:
    """A bound of a linear programme has no lanes; neither do policies for which nobody asked."""
    some = [
        each if each.policy in {"switchyard", "greedy"} else dataclasses.replace(each, lanes=None) for each in results
    ]
    profit, modes, _ = pictures(written(tmp_path, some))

    assert "greedy" in profit
    assert "static:zec" not in profit
    assert "clairvoyant" not in modes


def test_several_plays_are_told_at_a_glance(tmp_path: Path) -> None:
    results = sample_results.grid(scenarios=["one", "other"], scales=[1, 4], seeds=[0, 1], days=4)
    page = written(tmp_path, results)
    table = page[page.index("At a glance") : page.index("<section")].replace("<wbr>", "")
    rows = re.findall(r"<td>×(\d+)</td>(.*?)</tr>", table)

    assert [scale for scale, _ in rows] == ["1", "4", "1", "4"]
    heads = re.findall(r'<th scope="col" style="[^"]*">([^<]*)</th>', table)
    assert heads[0] == "switchyard"
    assert set(heads) == {each.policy for each in results} - {"clairvoyant"}
    ours = [each.measures.pct_of_clairvoyant for each in results if each.policy == "switchyard"]
    by_row = [[share for share in ours[index : index + 2] if share is not None] for index in (0, 2, 4, 6)]
    firsts = [re.findall(r">(\d+\.\d)<", row)[0] for _, row in rows]
    assert firsts == [f"{sum(pair) / 2:.1f}" for pair in by_row]
    assert page.count("<details><summary>Costs of switching") == 8


def test_a_policy_that_was_not_played_everywhere_has_no_mean(tmp_path: Path) -> None:
    results = sample_results.grid(scenarios=["one", "other"], scales=[1], days=4)
    some = [each for each in results if each.policy != "greedy" or each.scenario == "one"]
    page = written(tmp_path, some)
    table = page[page.index("At a glance") : page.index("<section")].replace("<wbr>", "")
    heads = re.findall(r'<th scope="col" style="[^"]*">([^<]*)</th>', table)
    sums = [re.findall(r'<td class="cell"[^>]*>([^<]*)</td>', row) for row in table.split('<tr class="sum">')[1:]]

    assert [len(row) for row in sums] == [len(heads)] * 2
    assert {name for name, *cells in zip(heads, *sums, strict=True) if "\N{EN DASH}" in cells} == {"greedy"}
    reader = read(page)
    assert {value for _, name, value in reader.attributes if name == "href"} <= {f"#{each}" for each in reader.ids}


def test_a_circuit_over_its_limit_is_said_loudly(results: list[result.Result], tmp_path: Path) -> None:
    over = [
        dataclasses.replace(each, measures=dataclasses.replace(each.measures, cap_violations=3))
        if each.policy == "greedy"
        else each
        for each in results
    ]
    page = written(tmp_path, [dataclasses.replace(each, lanes=None) for each in over])

    assert "limit was exceeded</b> by greedy in 3 of 1,440" in page


def test_without_ours_the_best_other_is_told_of(results: list[result.Result], tmp_path: Path) -> None:
    others = [dataclasses.replace(each, lanes=None) for each in results if each.policy != "switchyard"]
    best = max((each for each in others if each.policy != "clairvoyant"), key=lambda each: each.measures.profit_usd)
    page = written(tmp_path, others)

    assert f"switchyard was not among the policies: the figures are those of {best.policy}" in page


def test_only_the_clairvoyant(results: list[result.Result], tmp_path: Path) -> None:
    alone = [each for each in results if each.policy == "clairvoyant"]

    assert len(pictures(written(tmp_path, alone))) == 3


def test_no_results(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name a scenario"):
        report.write(tmp_path / "report.html", [])


def test_no_spike_is_lost_and_no_gap_is_bridged() -> None:
    values = np.zeros(50_000)
    values[[17, 31_234]] = 5.0, -7.0
    values[40_000:41_000] = np.nan
    kept = thinning.extremes(values, 700)

    assert len(kept) <= 1402
    assert np.nanmax(values[kept]) == 5.0
    assert np.nanmin(values[kept]) == -7.0
    assert np.isnan(values[kept]).any()
    assert list(kept) == sorted(set(kept))


def test_areas_keep_their_size() -> None:
    values = np.random.default_rng(3).random(9_999)
    bounds = thinning.edges(len(values), 700)

    assert np.diff(bounds) @ thinning.means(values, bounds) == pytest.approx(values.sum())


@pytest.mark.parametrize("wanted", [[], [5.0], [1, 1, 1, 50], [98, 99, 100], [3, 2, 1], [-40, 140]])
def test_labels_do_not_overlap(wanted: list[float]) -> None:
    places = thinning.spread(wanted, gap=10, low=0, high=100)
    ordered = sorted(places)

    assert all(later - earlier >= 10 - 1e-9 for earlier, later in itertools.pairwise(ordered))
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in places)
    assert sorted(range(len(places)), key=lambda index: wanted[index]) == sorted(
        range(len(places)), key=lambda index: places[index]
    )


def test_a_coin_has_one_colour_and_kinds_have_theirs() -> None:
    labels = ["AI", "idle", "off", "mining zec", "mining eth", "coin zec rigs-a, $/GPU-h after power"]
    colours = style.colours(labels)

    assert colours["mining zec"] == colours["coin zec rigs-a, $/GPU-h after power"]
    assert len({colours[label] for label in labels[:5]}) == 5
    assert style.colours(["off", "AI"]) == {"off": colours["off"], "AI": colours["AI"]}


@pytest.mark.parametrize("percent", [-20.0, 0.0, 53.1, 80.0, 95.0, 99.9, 100.0, 100.2])
def test_numbers_on_colours_can_be_read(percent: float) -> None:
    background, ink = style.shade(percent)

    def light(colour: str) -> float:
        channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(background), light(ink)))
    assert (high + 0.05) / (low + 0.05) > 4.5


def test_numbers_in_words() -> None:
    assert words.usd(-0.001) == "$0.00"
    assert words.usd(12345.6, signed=True) == "+$12,346"
    assert words.usd(-3.456) == "−$3.46"
    assert words.number(float("nan")) == "–"
    assert words.span(5400) == "1.5 hours"
    assert words.span(86400 * 53) == "53 days"


def test_who_is_who(results: list[result.Result]) -> None:
    doubled = [*results, dataclasses.replace(results[0], policy="best-static"), dataclasses.replace(results[0], seed=1)]
    plays = roster.plays(doubled)

    assert [play.seed for play in plays] == [0, 1]
    assert plays[0].best_static is not None
    assert plays[0].best_static.policy == "best-static"
    assert plays[0].subject.policy == "switchyard"
    assert plays[1].best_static is None
