"""Pictures of one result: prices, and what the GPUs did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from switchyard.backtest import result
from switchyard.backtest.report import canvas, roster, style, thinning, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

_LANE_HEIGHT: Final = 66.0
_LANE_GAP: Final = 22.0
_MODES_HEIGHT: Final = 190.0
_MARKS_HEIGHT: Final = 30.0
DATES_HEIGHT: Final = 34.0
LABELS_LEFT: Final = canvas.WIDTH - canvas.RIGHT + 14
_ROOM_FOR_SPIKES: Final = 0.35
_MOST_POINTS: Final = 9000


def short(name: str, length: int = 27) -> str:
    """A name for a place with little room."""
    return name if len(name) <= length else name[: length - 1] + "…"


def sheet_for(found: result.Result, height: float) -> canvas.Sheet:
    """An empty sheet with the time axis of a result."""
    return canvas.Sheet(height=height, start=found.start, step_seconds=found.step_seconds, steps=found.steps)


def prices(found: result.Result, lanes: result.Lanes, *, colours: Mapping[str, str], salt: str) -> str:
    """One panel for each price, all on one time axis; the coins on one scale, before the best of them in grey."""
    labels = list(lanes.prices)
    height = len(labels) * (_LANE_HEIGHT + _LANE_GAP) + DATES_HEIGHT
    columns = max(120, min(canvas.COLUMNS, _MOST_POINTS // max(1, len(labels))))
    coins: dict[str, list[str]] = {}
    for label in labels:
        if style.coin_of(label) is not None:
            coins.setdefault(label.partition(",")[2].strip(), []).append(label)
    with canvas.settings(salt=salt):
        sheet = sheet_for(found, height)
        for index, label in enumerate(labels):
            name, _, unit = (part.strip() for part in label.partition(","))
            top = index * (_LANE_HEIGHT + _LANE_GAP) + _LANE_GAP / 2
            panel = sheet.panel(
                top=top, height=_LANE_HEIGHT, dated=index == len(labels) - 1, warmup_steps=found.warmup_steps
            )
            same = coins.get(unit, []) if style.coin_of(label) is not None else []
            together = np.stack([lanes.prices[each] for each in same or [label]])
            low, high = _limits(together)
            if len(same) > 1:
                _line(sheet, panel, together.max(axis=0), columns // 3, colour="#b4bbc1", width=0.8)
            values = lanes.prices[label]
            _line(sheet, panel, np.clip(values, low, high), columns, colour=colours[label], width=1.0)
            if low < 0 < high:
                panel.axhline(0, color=style.QUIET, linewidth=0.6)
            panel.set_ylim(low, high)
            panel.set_yticks([low if low < 0 else 0, high] if low <= 0 else [low, high])
            panel.set_yticklabels([_tick(each) for each in panel.get_yticks()])
            panel.spines["bottom"].set_visible(True)
            panel.spines["bottom"].set_color(style.RULE)
            middle = top + _LANE_HEIGHT / 2
            sheet.swatch(LABELS_LEFT, middle - 16, colours[label])
            sheet.write(LABELS_LEFT + 16, middle - 16, short(name, 24), bold=True)
            sheet.write(LABELS_LEFT, middle, short(unit, 32), colour=style.QUIET, size=10.5)
            sheet.write(LABELS_LEFT, middle + 16, _range(values), colour=style.QUIET, size=10.5)
        return sheet.svg(salt=salt, title="Prices over time")


def _limits(values: Floats) -> tuple[float, float]:
    """Of the scale: all there is, but not far beyond what is usual; rarer spikes are cut at the edge."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = min(0.0, float(known.min())), max(0.0, float(known.max()))
    usual_low, usual_high = (float(each) for each in np.quantile(known, (0.005, 0.995)))
    reach = max(usual_high, 0.0) - min(usual_low, 0.0)
    if reach > 0:
        room = _ROOM_FOR_SPIKES * reach
        low, high = max(low, min(usual_low, 0.0) - room), min(high, max(usual_high, 0.0) + room)
    return (low, high) if high > low else (0.0, 1.0)


def _tick(value: float) -> str:
    return words.number(
        value, 0 if value == 0 or abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    )


def _range(values: Floats) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "no values"
    return f"mean {_tick(float(known.mean()))}, {_tick(float(known.min()))} to {_tick(float(known.max()))}"


def _line(sheet: canvas.Sheet, panel: Axes, values: Floats, columns: int, *, colour: str, width: float) -> None:
    kept = thinning.extremes(values, columns)
    few = len(values) <= 200
    if few:
        kept, values = np.append(kept, len(values)), np.append(values, values[-1:])
    panel.plot(
        sheet.times(kept), values[kept], color=colour, linewidth=width, drawstyle="steps-post" if few else "default"
    )


def modes(
    shown: Sequence[result.Result], *, colours: Mapping[str, str], decisions: Sequence[result.Decision], salt: str
) -> str:
    """What the GPUs did: a stacked area for each of `shown`, the first with `decisions` marked in their order."""
    order = _stacking(roster.modes(shown))
    tops, top = [], 0.0
    for index in range(len(shown)):
        top += 26 + (_MARKS_HEIGHT if index == 0 and decisions else 0)
        tops.append(top)
        top += _MODES_HEIGHT + 22
    with canvas.settings(salt=salt):
        sheet = sheet_for(shown[0], top - 22 + DATES_HEIGHT)
        for index, (found, at) in enumerate(zip(shown, tops, strict=True)):
            if found.lanes is None:
                continue
            panel = sheet.panel(top=at, height=_MODES_HEIGHT, dated=index == len(shown) - 1)
            title = at - 14 - (_MARKS_HEIGHT if index == 0 and decisions else 0)
            sheet.write(canvas.LEFT, title, f"{found.policy}: GPUs by what they do", bold=True, size=12)
            _stack(sheet, panel, found, found.lanes, order=order, colours=colours)
            _legend(sheet, found, found.lanes, order=order, colours=colours, top=at)
            if index == 0:
                _marks(sheet, panel, found, decisions, top=at)
        return sheet.svg(salt=salt, title="What the GPUs did over time")


def _stacking(labels: Sequence[str]) -> list[str]:
    """AI at the bottom, so that it can be compared with what is wanted; then coins, idle, off."""
    ranks = {"ai": 0, "mining": 1, "idle": 3, "off": 4}
    return sorted(labels, key=lambda label: (ranks.get((label.split() or [""])[0].lower(), 2), label))


def _stack(
    sheet: canvas.Sheet,
    panel: Axes,
    found: result.Result,
    lanes: result.Lanes,
    *,
    order: Sequence[str],
    colours: Mapping[str, str],
) -> None:
    present = [label for label in order if label in lanes.gpus_in_mode]
    few = found.steps <= 200
    bounds = thinning.edges(found.steps, max(150, min(canvas.COLUMNS, 4 * _MOST_POINTS // max(6, 6 * len(present)))))
    x = sheet.times(bounds) if few else (sheet.times(bounds[:-1]) + sheet.times(bounds[1:])) / 2
    if not few:
        x[0], x[-1] = sheet.times(bounds[[0, -1]])
    total = np.zeros(len(bounds) - 1)
    tops = [(label, total := total + thinning.means(lanes.gpus_in_mode[label], bounds)) for label in present]
    # Each area reaches down to 0 and the lower ones are painted over it: half as many points as bands would need.
    for index in reversed(range(len(tops))):
        label, upper = tops[index]
        if not lanes.gpus_in_mode[label].any():
            continue
        heights = np.append(upper, upper[-1:]) if few else upper
        kept = thinning.turning(heights)
        panel.fill_between(
            x[kept], heights[kept], step="post" if few else None, color=colours[label], linewidth=0, zorder=1
        )
    if lanes.gpus_wanted:
        wanted = np.minimum(np.sum([lanes.gpus_wanted[label] for label in lanes.gpus_wanted], axis=0), found.gpus)
        each = thinning.means(np.asarray(wanted, dtype=np.float64), bounds)
        heights = np.append(each, each[-1:]) if few else each
        for colour, width in (("#ffffff", 1.7), (style.INK, 0.8)):
            panel.plot(
                x, heights, color=colour, linewidth=width, drawstyle="steps-post" if few else "default", zorder=2
            )
    if found.warmup_steps:
        last = sheet.times(np.array([found.warmup_steps], dtype=np.int64))[0]
        panel.axvspan(panel.get_xlim()[0], last, color="#ffffff", alpha=0.55, linewidth=0, zorder=3)
    panel.set_ylim(0, found.gpus)
    panel.set_yticks([0, found.gpus / 2, found.gpus])
    panel.set_yticklabels([f"{each:g}" for each in (0, found.gpus / 2, found.gpus)])


def _legend(
    sheet: canvas.Sheet,
    found: result.Result,
    lanes: result.Lanes,
    *,
    order: Sequence[str],
    colours: Mapping[str, str],
    top: float,
) -> None:
    """The modes from the top of the stack down, with their share of the GPU-hours that count."""
    present = [label for label in reversed(order) if label in lanes.gpus_in_mode]
    line = min(18.0, (_MODES_HEIGHT - 18) / max(1, len(present) + bool(lanes.gpus_wanted)))
    counted = (found.steps - found.warmup_steps) * found.gpus
    y = top + 8
    sheet.write(canvas.WIDTH - 4, top - 12, "of GPU-hours", colour=style.QUIET, size=10, align="right")
    for label in present:
        share = 100 * float(lanes.gpus_in_mode[label][found.warmup_steps :].sum()) / counted if counted else 0.0
        sheet.swatch(LABELS_LEFT, y, colours[label])
        sheet.write(LABELS_LEFT + 16, y, short(label, 20))
        sheet.write(canvas.WIDTH - 4, y, words.percent(share), align="right", colour=style.QUIET)
        y += line
    if lanes.gpus_wanted:
        sheet.write(LABELS_LEFT, y + 4, "—", bold=True)
        sheet.write(LABELS_LEFT + 16, y + 4, "wanted for AI work")


def _marks(
    sheet: canvas.Sheet, panel: Axes, found: result.Result, decisions: Sequence[result.Decision], *, top: float
) -> None:
    width = canvas.WIDTH - canvas.LEFT - canvas.RIGHT
    seconds = found.steps * found.step_seconds
    wanted = [canvas.LEFT + width * (each.at - found.start).total_seconds() / seconds for each in decisions]
    places = thinning.spread(wanted, gap=19.0, low=canvas.LEFT + 8, high=canvas.LEFT + width - 8)
    begin, finish = panel.get_xlim()
    for index, (x, place) in enumerate(zip(wanted, places, strict=True)):
        share = (x - canvas.LEFT) / width
        place_share = (place - canvas.LEFT) / width
        at, beside = (begin + each * (finish - begin) for each in (share, place_share))
        # In the panel's own units: 1 is its top.
        upward = 14 / _MODES_HEIGHT
        blend = panel.get_xaxis_transform()
        panel.plot([at, at], [0, 1], transform=blend, color="#ffffff", linewidth=1.6, alpha=0.7, zorder=4)
        panel.plot([at, at], [0, 1], transform=blend, color=style.INK, linewidth=0.7, dashes=(3, 2), zorder=5)
        panel.plot([at, beside], [1, 1 + upward], transform=blend, color=style.INK, linewidth=0.7, clip_on=False)
        panel.plot(
            [beside], [1 + upward], transform=blend, color=style.INK, marker="o", markersize=15, clip_on=False, zorder=6
        )
        sheet.write(place, top - 14, str(index + 1), colour="#ffffff", size=9.5, bold=True, align="center")
