"""Colours and the style sheet. Every colour of a mode is one that colour-blind eyes tell from its neighbours'."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

INK: Final = "#1c2126"
QUIET: Final = "#5f6972"
RULE: Final = "#d5dadf"
WARMUP: Final = "#eef0f2"
POWER: Final = "#3d4750"

_AI: Final = "#0072b2"
_IDLE: Final = "#c3c9ce"
_OFF: Final = "#59626a"
# Okabe and Ito's colours without the blue of AI work, then Tol's muted ones.
_COINS: Final = (
    "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#882255", "#e8d400", "#999933", "#332288", "#44aa99",
)  # fmt: skip
_POLICIES: Final = ("#d55e00", "#009e73", "#cc79a7", "#0072b2", "#b58a00", "#882255", "#44aa99", "#7a7a2c")
_WORST: Final = (252, 243, 214)
_MIDDLE: Final = (150, 205, 196)
_BEST: Final = (14, 74, 122)


def coin_of(label: str) -> str | None:
    """The coin in a label of a lane or mode ("mining zec", "coin zec rigs-a, $/GPU-h"); None where it is about none."""
    words = label.partition(",")[0].split()
    return words[1] if len(words) > 1 and words[0].lower() in {"mining", "coin"} else None


def colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label of a mode or price. A coin has the same one wherever it appears in a report."""
    every = list(dict.fromkeys(labels))
    coins = sorted({coin for label in every if (coin := coin_of(label)) is not None})
    by_coin = {coin: _COINS[index % len(_COINS)] for index, coin in enumerate(coins)}
    return {label: _colour(label, by_coin) for label in every}


def _colour(label: str, by_coin: Mapping[str, str]) -> str:
    coin = coin_of(label)
    if coin is not None:
        return by_coin[coin]
    first = (label.split() or [""])[0].rstrip(",").lower()
    return {"ai": _AI, "idle": _IDLE, "off": _OFF, "power": POWER}.get(first, QUIET)


def policy_colour(index: int) -> str:
    """Of the baseline with this index."""
    return _POLICIES[index % len(_POLICIES)]


def shade(percent: float) -> tuple[str, str]:
    """Background and ink for a share of the clairvoyant's profit; most of the scale lies between 90 and 100 %."""
    lost = min(max(100 - percent, 0.0), 60.0)
    good = 1 - math.log1p(lost) / math.log1p(60.0)
    begin, finish, at = (_WORST, _MIDDLE, 2 * good) if good < 0.5 else (_MIDDLE, _BEST, 2 * good - 1)
    red, green, blue = (round(low + at * (high - low)) for low, high in zip(begin, finish, strict=True))
    light = 0.2126 * _linear(red) + 0.7152 * _linear(green) + 0.0722 * _linear(blue)
    return f"#{red:02x}{green:02x}{blue:02x}", INK if light > 0.2 else "#ffffff"


def _linear(channel: int) -> float:
    share = channel / 255
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)


SHEET: Final = """
:root { color-scheme: light; --ink: #1c2126; --quiet: #5f6972; --rule: #d5dadf; --tint: #eef4fa; --warn: #9a3412; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; font-size: 16px; }
main, footer { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 2.2rem 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.45rem; line-height: 1.25; margin: 3.2rem 0 .3rem; padding-top: 1.1rem;
  border-top: 3px solid var(--ink); }
h3 { font-size: 1.12rem; margin: 2.2rem 0 .3rem; }
h4 { font-size: 1rem; margin: 2rem 0 .2rem; }
p { margin: .35rem 0 .8rem; max-width: 46rem; overflow-wrap: anywhere; }
.quiet, figcaption { color: var(--quiet); font-size: .88rem; }
.lead { font-size: 1.12rem; max-width: 50rem; }
a { color: inherit; text-underline-offset: .15em; }
.quiet + .scroll { margin-top: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(155px, 1fr)); gap: 0 22px;
  margin: 1.1rem 0 1.4rem; }
.tile { border-top: 1px solid var(--ink); padding: .5rem 0 .7rem; }
.tile b { display: block; font-size: 1.55rem; line-height: 1.2; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--quiet); font-size: .84rem; line-height: 1.35; }
.scroll { overflow-x: auto; margin: .3rem 0 1rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
.measures { width: 100%; font-size: .84rem; }
.measures th, .measures td { padding: .32rem .38rem; }
th { font-weight: 600; vertical-align: bottom; line-height: 1.25; }
th, td { padding: .34rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; }
td { white-space: nowrap; }
th:first-child, td:first-child { padding-left: .45rem; }
thead th { border-bottom: 1.5px solid var(--ink); }
.text { text-align: left; }
td.text, th.text { overflow-wrap: anywhere; white-space: normal; }
td.time { white-space: nowrap; }
tbody th { text-align: left; white-space: nowrap; vertical-align: middle; }
tbody th, td.plain { font-weight: 400; }
td b { font-weight: 700; }
tr.ours { background: var(--tint); }
tr.ours th { font-weight: 700; }
tr.bound { color: var(--quiet); font-style: italic; }
.key { display: inline-block; min-width: 1.55em; height: 1.55em; line-height: 1.55em; border-radius: 1em;
  text-align: center;
  background: var(--ink); color: #fff; font-size: .78rem; font-weight: 600; }
td.cell { text-align: center; min-width: 4.6em; padding: .38rem .4rem; }
td.cell a { text-decoration: none; color: inherit; display: block; }
td.cell small { display: block; font-size: .72rem; line-height: 1.15; }
tr.sum th { font-weight: 700; }
tr.sum th, tr.sum td { border-bottom: 0; }
tr.sum td.cell, td.cell { border: 2px solid #fff; }
tbody.scenario { border-bottom: 1px solid var(--rule); }
.scenario th, .scenario td { border-bottom: 0; }
.notice { border-left: 4px solid #b7791f; background: #fdf6e7; padding: .6rem .9rem; margin: 1rem 0;
  font-size: .92rem; }
.notice.bad { border-color: var(--warn); background: #fdf0ea; }
.notice b { font-weight: 650; }
.notice ul { margin: .3rem 0 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
figure { margin: .4rem 0 1.2rem; }
figure .scroll { margin: 0; }
figure svg { display: block; width: 100%; min-width: 720px; height: auto; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial,
  sans-serif !important;
  font-variant-numeric: tabular-nums; }
figcaption { max-width: 50rem; margin-top: .3rem; }
details { margin: 1.2rem 0; border: 1px solid var(--rule); border-radius: 4px; padding: .55rem .9rem; }
summary { cursor: pointer; font-weight: 600; }
summary span { font-weight: 400; color: var(--quiet); }
dl { display: grid; grid-template-columns: minmax(9rem, 14rem) 1fr; gap: .45rem 1.2rem; font-size: .92rem;
  margin: .8rem 0 .4rem; }
dt { font-weight: 600; }
dd { margin: 0; }
footer { border-top: 1px solid var(--rule); margin-top: 3.5rem; padding-top: .8rem; padding-bottom: 2.5rem;
  color: var(--quiet); font-size: .84rem; }
footer code { overflow-wrap: anywhere; font-size: .82rem; }
@media (max-width: 560px) { main, footer { padding: 0 14px; } dl { grid-template-columns: 1fr; gap: .1rem; }
  dd { margin-bottom: .6rem; } h1 { font-size: 1.55rem; } .tile b { font-size: 1.3rem; } }
@media print { @page { margin: 14mm; } body { font-size: 11px; } main, footer { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } .scroll { overflow: visible; }
  figure, .tiles, .notice, tr { break-inside: avoid; } h2, h3, h4 { break-after: avoid; }
  figure svg { min-width: 0; } details::details-content { content-visibility: visible; height: auto; }
  a { text-decoration: none; } }
"""
