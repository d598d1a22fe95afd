"""The tables of a report, as HTML."""

from __future__ import annotations

import html
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from switchyard.backtest import result
from switchyard.backtest.report import roster, style, words

Read = Callable[[result.Measures], float | None]

_COLUMNS: Final[tuple[tuple[str, Read, Callable[[float | None], str], int], ...]] = (
    ("% of clairvoyant", lambda each: each.pct_of_clairvoyant, words.percent, 1),
    (
        "capture",
        lambda each: None if each.capture is None else 100 * each.capture,
        lambda value: words.percent(value, 0),
        1,
    ),
    ("regret per GPU and year", lambda each: each.regret_usd_per_gpu_year, words.usd, -1),
    ("switches per GPU and day", lambda each: each.switches_per_gpu_day, lambda value: words.number(value, 2), 0),
    ("switching cost", lambda each: 100 * each.switching_cost_share, words.percent, 0),
    ("evictions", lambda each: each.evictions, words.number, -1),
    ("lost work, GPU-h", lambda each: each.lost_gpu_hours, lambda value: words.number(value, 1), -1),
    ("circuit over its limit", lambda each: each.cap_violations, words.number, -1),
)
"""Heading, value, its text, and whether more (1) or less (-1) of it is better; 0 for neither."""


def measures(play: roster.Play) -> str:
    """All policies with all measures, by profit; the best of each column in bold, the clairvoyant left aside."""
    head = ["profit", "vs best static", *(heading for heading, *_ in _COLUMNS), "to decide, ms"]
    best = {
        heading: _best([read(found.measures) for found in play.contenders], better)
        for heading, read, _, better in _COLUMNS
    }
    most = _best([found.measures.profit_usd for found in play.contenders], 1)
    static = play.best_static
    rows = []
    for found in play.results:
        profit = found.measures.profit_usd
        bound = roster.is_clairvoyant(found.policy)
        cells = [
            _cell(words.usd(profit), best=not bound and profit == most),
            _cell(words.NOTHING if static is None else words.usd(profit - static.measures.profit_usd, signed=True)),
        ]
        for heading, read, text, _ in _COLUMNS:
            value = read(found.measures)
            cells.append(_cell(text(value), best=not bound and value is not None and value == best[heading]))
        thought = found.measures.plan_seconds_p50, found.measures.plan_seconds_p99
        cells.append(_cell(words.NOTHING if None in thought else " / ".join(map(words.milliseconds, thought))))
        kind = ' class="bound"' if bound else ' class="ours"' if found is play.subject else ""
        rows.append(f'<tr{kind}><th scope="row">{html.escape(found.policy)}</th>{"".join(cells)}</tr>')
    heads = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in head)
    return (
        '<p class="quiet">All policies, the highest profit first. Bold: the best of those that do not know the '
        'future.</p><div class="scroll"><table class="measures"><thead><tr>'
        f'<th scope="col" class="text">policy</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _best(values: Sequence[float | None], better: int) -> float | None:
    """The best value, None where there is no better or all are equal."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not better or len(set(known)) < 2:
        return None
    return max(known) if better > 0 else min(known)


def _cell(text: str, *, best: bool = False) -> str:
    return f"<td><b>{text}</b></td>" if best else f"<td>{text}</td>"


def decisions(found: Sequence[result.Decision]) -> str:
    """The dearest decisions, numbered as in the picture."""
    reasoned = any(each.why for each in found)

    def why(each: result.Decision) -> str:
        return f'<td class="text">{html.escape(each.why) or words.NOTHING}</td>' if reasoned else ""

    reason = '<th class="text">the reason it had</th>' if reasoned else ""
    rows = "".join(
        f'<tr><td class="text"><span class="key">{index}</span></td><td class="text time">{words.moment(each.at)}</td>'
        f'<td>{words.usd(each.usd)}</td><td class="text">{html.escape(each.what)}</td>'
        f"{why(each)}</tr>"
        for index, each in enumerate(found, start=1)
    )
    return (
        '<div class="scroll"><table><thead><tr><th class="text"></th><th class="text">time, UTC</th><th>cost</th>'
        f'<th class="text">decision</th>{reason}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def overview(plays: Sequence[roster.Play], *, links: Mapping[tuple[str, float, int], str]) -> str:
    """Scenario and cost scale against policy: % of clairvoyant, the mean of all seeds, on a scale of colours."""
    cells: dict[tuple[str, float], dict[str, list[float]]] = {}
    first: dict[tuple[str, float], roster.Play] = {}
    for play in plays:
        row = cells.setdefault((play.scenario, play.cost_scale), {})
        first.setdefault((play.scenario, play.cost_scale), play)
        for found in play.contenders:
            if found.measures.pct_of_clairvoyant is not None:
                row.setdefault(found.policy, []).append(found.measures.pct_of_clairvoyant)
    policies = _ranked(cells)
    body = []
    for name, group in itertools.groupby(cells.items(), key=lambda item: item[0][0]):
        rows = list(group)
        head = f'<th scope="rowgroup" rowspan="{len(rows)}">{html.escape(name)}</th>'
        for index, (key, row) in enumerate(rows):
            link = links[first[key].anchor]
            tds = "".join(_shaded(row.get(policy, []), link=link) for policy in policies)
            opening = f'<tbody class="scenario"><tr>{head}' if index == 0 else "<tr>"
            body.append(f"{opening}<td>{words.scale(key[1])}</td>{tds}</tr>")
        body.append("</tbody>")
    body.append("<tbody>")
    everywhere = {policy for policy in policies if all(policy in row for row in cells.values())}
    for name, fold in (("lowest", min), ("mean", statistics.fmean)):
        # Over other scenarios than those of its neighbours a mean would compare with nothing.
        tds = "".join(
            _shaded([fold([statistics.fmean(row[policy]) for row in cells.values()])] if policy in everywhere else [])
            for policy in policies
        )
        body.append(f'<tr class="sum"><th scope="row" class="text">{name}</th><td></td>{tds}</tr>')
    heads = "".join(
        f'<th scope="col" style="text-align:center">{html.escape(policy).replace(":", ":<wbr>")}</th>'
        for policy in policies
    )
    seeds = max(len(values) for row in cells.values() for values in row.values()) if policies else 0
    spread = " Small: the lowest and the highest of the seeds." if seeds > 1 else ""
    return (
        f'<p class="quiet">% of the clairvoyant\'s profit; darker is better.{spread}</p>'
        '<div class="scroll"><table><thead><tr><th scope="col" class="text">scenario</th>'
        f'<th scope="col">costs</th>{heads}</tr>'
        f"</thead>{''.join(body)}</tbody></table></div>"
    )


def _ranked(cells: Mapping[tuple[str, float], Mapping[str, Sequence[float]]]) -> list[str]:
    """Ours first, the others by their mean."""
    gathered: dict[str, list[float]] = {}
    for row in cells.values():
        for policy, values in row.items():
            gathered.setdefault(policy, []).append(statistics.fmean(values))
    return sorted(
        gathered, key=lambda policy: (not roster.is_ours(policy), -statistics.fmean(gathered[policy]), policy)
    )


def _shaded(values: Sequence[float], *, link: str = "") -> str:
    if not values:
        return f'<td class="cell">{words.NOTHING}</td>'
    mean = statistics.fmean(values)
    background, ink = style.shade(mean)
    text = words.number(mean, 1)
    if len(values) > 1:
        text += f"<small>{words.number(min(values), 1)} to {words.number(max(values), 1)}</small>"
    if link:
        text = f'<a href="#{link}">{text}</a>'
    return f'<td class="cell" style="background:{background};color:{ink}">{text}</td>'
