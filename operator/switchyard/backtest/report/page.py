"""The page: from results to one HTML file that needs nothing else."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from typing import Final

import switchyard
from switchyard.backtest import result, script
from switchyard.backtest.report import pictures, profits, roster, style, tables, words

_MOST_OPEN: Final = 6
"""Plays shown at full length; of more, each is folded up."""


def render(results: Sequence[result.Result], *, command: str = "") -> str:
    """The whole page. `command` is the line that made it, for its foot."""
    plays = roster.plays(results)
    links = {play.anchor: f"play-{index}" for index, play in enumerate(plays, start=1)}
    colours = style.colours(
        label for each in results if each.lanes for label in itertools.chain(each.lanes.gpus_in_mode, each.lanes.prices)
    )
    names = list(dict.fromkeys(play.scenario for play in plays))
    title = f"Back-test: {', '.join(names) if len(names) <= 3 else f'{len(names)} scenarios'}"
    parts = [
        f"<h1>{html.escape(title) if len(names) > 1 else 'Back-test'}</h1>",
        '<p class="quiet">Prices and demand of the past, played again: every policy saw the present, what was '
        "published by then, and nothing of what came after. The clairvoyant alone knew it all.</p>",
    ]
    if len(plays) > 1:
        parts += ["<h3>At a glance</h3>", tables.overview(plays, links=links)]
    for name, group in itertools.groupby(plays, key=lambda play: play.scenario):
        parts.append(_scenario(name, list(group), links=links, colours=colours, folded=len(plays) > _MOST_OPEN))
    parts.append(_meanings())
    return _frame(title=title, body="\n".join(parts), foot=_foot(command))


def _frame(*, title: str, body: str, foot: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style.SHEET}</style>\n</head>\n<body>\n"
        f"<main>\n{body}\n</main>\n{foot}\n</body>\n</html>\n"
    )


def _scenario(
    name: str,
    plays: Sequence[roster.Play],
    *,
    links: dict[tuple[str, float, int], str],
    colours: dict[str, str],
    folded: bool,
) -> str:
    shown = plays[0].subject
    parts = [f"<section>\n<h2>{html.escape(name)}</h2>"]
    if shown.description:
        parts.append(f"<p>{html.escape(shown.description)}</p>")
    parts.append(f'<p class="quiet">{_extent(shown)}</p>')
    repairs = tuple(dict.fromkeys(repair for play in plays for repair in play.repairs))
    if repairs:
        parts.append(_repairs(repairs))
    for play in plays:
        heading = f"Costs of switching {words.scale(play.cost_scale)}, seed {play.seed}"
        body = _play(play, salt=links[play.anchor], colours=colours)
        inner = f'<div id="{links[play.anchor]}">\n{body}\n</div>'
        if folded:
            figures = play.subject.measures
            short = f"{words.usd(figures.profit_usd)}, {words.percent(figures.pct_of_clairvoyant)}"
            parts.append(f"<details><summary>{heading} <span>{short}</span></summary>{inner}</details>")
        else:
            parts.append(f"<h3>{heading}</h3>\n{inner}")
    parts.append("</section>")
    return "\n".join(parts)


def _extent(found: result.Result) -> str:
    seconds = (found.steps - found.warmup_steps) * found.step_seconds
    text = (
        f"{words.number(found.gpus)} GPUs, {words.span(seconds)} from {words.day(roster.counted_from(found))} to "
        f"{words.day(roster.end(found))} in steps of {words.span(found.step_seconds)}"
    )
    if found.warmup_steps:
        warmup = words.span(found.warmup_steps * found.step_seconds)
        text += f", after a warm-up of {warmup} that policies learn from and that is not counted"
    return text + ". All times are UTC."


def _repairs(repairs: Sequence[script.Repair]) -> str:
    lines = "".join(
        f"<li>{html.escape(each.file)}: {html.escape(words.spaced(each.kind))}, {words.times(each.count)}"
        f"{f' ({html.escape(each.detail)})' if each.detail else ''}</li>"
        for each in repairs
    )
    return f'<div class="notice"><b>The input was mended</b>, as the scenario allows:<ul>{lines}</ul></div>'


def _play(play: roster.Play, *, salt: str, colours: dict[str, str]) -> str:
    subject = play.subject
    parts = []
    if not roster.is_ours(subject.policy):
        parts.append(
            f'<div class="notice">{roster.OURS} was not among the policies: the figures are those of '
            f"{html.escape(subject.policy)}, the best that was.</div>"
        )
    over = [found for found in play.results if found.measures.cap_violations]
    if over:
        which = ", ".join(
            f"{html.escape(each.policy)} in {words.number(each.measures.cap_violations)}" for each in over
        )
        parts.append(
            f'<div class="notice bad"><b>A circuit\'s limit was exceeded</b> by {which} of '
            f"{words.number(subject.steps - subject.warmup_steps)} steps. A real circuit would have tripped.</div>"
        )
    parts += [f'<p class="lead">{_sentence(play)}</p>', _tiles(play), tables.measures(play)]
    parts += _pictures(play, salt=salt, colours=colours)
    return "\n".join(parts)


def _bound(play: roster.Play) -> str:
    if play.subject.measures.bound == "bound":
        return "of a bound that nobody can reach"
    return "of what perfect foresight would have earned"


def _sentence(play: roster.Play) -> str:
    found = play.subject
    profit = words.usd(found.measures.profit_usd)
    text = f"<b>{html.escape(found.policy)}</b> earned <b>{profit}</b> after power and switching"
    if found.measures.pct_of_clairvoyant is not None:
        text += f", <b>{words.percent(found.measures.pct_of_clairvoyant)}</b> {_bound(play)}"
    text += ". "
    compared = []
    if play.best_static is not None and play.best_static is not found:
        compared.append(_against(found, play.best_static, "the best that never switches"))
    rivals = [each for each in play.baselines if not roster.is_static(each.policy)]
    if rivals:
        hindsight = rivals[0].policy == "tuned-threshold"
        what = "the best pair of threshold and dwell in hindsight" if hindsight else "the best other policy"
        compared.append(_against(found, rivals[0], what))
    return text + (f"That is {' and '.join(compared)}." if compared else "")


def _against(found: result.Result, other: result.Result, what: str) -> str:
    gap = found.measures.profit_usd - other.measures.profit_usd
    name = html.escape(other.policy)
    if abs(gap) < 0.005:
        return f"as much as {what} ({name})"
    return f"{words.usd(abs(gap))} {'more' if gap > 0 else 'less'} than {what} ({name})"


def _tiles(play: roster.Play) -> str:
    found = play.subject
    figures = [
        (words.usd(found.measures.profit_usd), "profit after power and switching"),
        (words.percent(found.measures.pct_of_clairvoyant), _bound(play)),
    ]
    if play.best_static is not None:
        gap = found.measures.profit_usd - play.best_static.measures.profit_usd
        figures.append((words.usd(gap, signed=True), f"against the best static mode, {play.best_static.policy}"))
    if play.baselines:
        best = play.baselines[0]
        gap = found.measures.profit_usd - best.measures.profit_usd
        figures.append((words.usd(gap, signed=True), f"against the best baseline, {best.policy}"))
    figures += [
        (words.usd(roster.usd_per_gpu_year(found)), "per GPU and year"),
        (words.number(found.measures.switches_per_gpu_day, 2), "switches per GPU and day"),
    ]
    tiles = "".join(
        f'<div class="tile"><b>{value}</b><span>{html.escape(text)}</span></div>' for value, text in figures
    )
    return f'<div class="tiles">{tiles}</div>'


def _pictures(play: roster.Play, *, salt: str, colours: dict[str, str]) -> list[str]:
    """Pictures of what there are lanes for, and the dearest decisions."""
    subject, parts = play.subject, []
    lanes = subject.lanes
    if any(found.lanes for found in play.results):
        if lanes is not None:
            drawing, caption = profits.profit(play, salt=f"{salt}-profit")
            heading = "Profit over time"
            parts += [f"<h4>{heading}</h4>", _figure(drawing, caption)]
        shown = [found for found in (subject, play.clairvoyant) if found is not None and found.lanes is not None]
        shown = list(dict.fromkeys(shown))
        decisions = lanes.dearest[:10] if lanes is not None else ()
        if shown:
            drawing = pictures.modes(shown, colours=colours, decisions=decisions, salt=f"{salt}-modes")
            parts += ["<h4>What the GPUs did</h4>", _figure(drawing, _modes_caption(shown, bool(decisions)))]
    if lanes is not None and lanes.dearest:
        parts += [
            "<h4>The dearest decisions</h4>",
            f'<p class="quiet">Where {html.escape(subject.policy)} lost most in hindsight. '
            "The numbers are those of the picture above.</p>",
            tables.decisions(lanes.dearest[:10]),
        ]
    if lanes is not None and lanes.prices:
        drawing = pictures.prices(subject, lanes, colours=colours, salt=f"{salt}-prices")
        parts += ["<h4>Prices</h4>", _figure(drawing, _prices_caption(subject))]
    return parts


def _figure(drawing: str, caption: str) -> str:
    return f'<figure><div class="scroll">{drawing}</div><figcaption>{caption}</figcaption></figure>'


def _modes_caption(shown: Sequence[result.Result], marked: bool) -> str:
    text = "GPUs by what they do, AI work at the bottom."
    if any(found.lanes and found.lanes.gpus_wanted for found in shown):
        text += " The black line is how many were wanted for AI work, up to the size of the farm."
    if marked:
        text += " The numbers mark the dearest decisions, told below."
    if shown[0].warmup_steps:
        text += " Pale: the warm-up."
    if shown[0].steps > 2 * 700:
        text += " Each column of pixels is the mean of several steps."
    return text


def _prices_caption(found: result.Result) -> str:
    text = (
        "Each price on the same time axis. Coins share one scale; the grey line behind them is the best coin of the "
        "moment. Each column of pixels goes from the lowest to the highest value in it; spikes far beyond the usual "
        "are cut at the edge of their panel, and told on the right."
    )
    return text + (" Shaded: the warm-up." if found.warmup_steps else "")


def _meanings() -> str:
    lines = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(text)}</dd>" for term, text in words.MEANINGS)
    return f"<details><summary>What the measures mean</summary><dl>{lines}</dl></details>"


def _foot(command: str) -> str:
    text = f"Switchyard {switchyard.__version__}."
    if command:
        text += f" Made by <code>{html.escape(command)}</code>"
    return f"<footer>{text}</footer>"
