"""The picture of money over time: against the best static mode, and against the clairvoyant."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from switchyard.backtest import result
from switchyard.backtest.report import canvas, pictures, roster, style, thinning, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

_GAINED_HEIGHT: Final = 270.0
_MISSED_HEIGHT: Final = 170.0
_TITLE_HEIGHT: Final = 30.0
_MOST_BASELINES: Final = 7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Curve:
    """A line: `important` ones are on the scale as a whole."""

    name: str
    usd: Floats
    colour: str
    width: float = 1.5
    dashed: bool = False
    important: bool = False


def profit(play: roster.Play, *, salt: str) -> tuple[str, str]:
    """Profit over time less that of a reference, so that differences show; and the picture's caption.

    Above, the reference is the best static mode; below, the clairvoyant, without the static modes.
    """
    shown, left_out = _compared(play)
    static, bound = (
        None if found is None or found.lanes is None else found for found in (play.best_static, play.clairvoyant)
    )
    looks = _looks(play, shown)
    base = np.zeros(play.subject.steps) if static is None else _counted(static)
    gained = [
        dataclasses.replace(looks[found.policy], usd=_counted(found) - base) for found in shown if found is not static
    ]
    missed: list[_Curve] = []
    if bound is not None:
        rivals = [found for found in shown if found is not bound and not roster.is_static(found.policy)]
        # Ours and the two that come nearest to it set the scale.
        scale = {play.subject.policy, *(found.policy for found in rivals[:3])}
        missed = [
            dataclasses.replace(
                looks[found.policy], usd=_counted(found) - _counted(bound), important=found.policy in scale
            )
            for found in rivals
        ]
    height = (
        _TITLE_HEIGHT + _GAINED_HEIGHT + (_TITLE_HEIGHT + 6 + _MISSED_HEIGHT if missed else 0) + pictures.DATES_HEIGHT
    )
    with canvas.settings(salt=salt):
        sheet = pictures.sheet_for(play.subject, height)
        title = "Profit" if static is None else f"Profit less that of {static.policy}, the best that never switches"
        name = "" if static is None else static.policy
        _panel(sheet, play, gained, title=title, reference=name, top=0, height=_GAINED_HEIGHT, dated=not missed)
        if missed and bound is not None:
            top = _TITLE_HEIGHT + _GAINED_HEIGHT + 6
            _panel(
                sheet, play, missed, title="Profit less that of the clairvoyant: what was missed",
                reference=bound.policy, top=top, height=_MISSED_HEIGHT, dated=True,
            )  # fmt: skip
        return sheet.svg(salt=salt, title="Profit over time, compared"), _caption(left_out)


def _looks(play: roster.Play, shown: Sequence[result.Result]) -> dict[str, _Curve]:
    """How the line of each policy looks, the same in both panels."""
    looks: dict[str, _Curve] = {}
    nothing = np.zeros(0)
    others = [found.policy for found in shown if found is not play.subject and found is not play.clairvoyant]
    for found in shown:
        name = found.policy
        if found is play.subject:
            looks[name] = _Curve(name=name, usd=nothing, colour=style.INK, width=2.6, important=True)
        elif found is play.clairvoyant:
            looks[name] = _Curve(name=name, usd=nothing, colour=style.INK, dashed=True, important=True)
        else:
            looks[name] = _Curve(name=name, usd=nothing, colour=style.policy_colour(others.index(name)))
    return looks


def _compared(play: roster.Play) -> tuple[list[result.Result], list[str]]:
    """Results to draw, the baselines being the best ones; and the policies for which there was no room."""
    kept = [found for found in (play.subject, play.clairvoyant, play.best_static) if found is not None]
    others = [found for found in play.baselines if found.lanes is not None and found not in kept]
    shown = [found for found in kept if found.lanes is not None] + others[:_MOST_BASELINES]
    shown.sort(key=lambda found: -found.measures.profit_usd)
    return list(dict.fromkeys(shown)), [found.policy for found in others[_MOST_BASELINES:]]


def _caption(left_out: Sequence[str]) -> str:
    text = (
        "Running differences since the end of the warm-up: a line that rises gains on the reference, one that falls "
        "loses to it. The figures on the right are those at the end; an arrow marks a line that ends beyond the scale."
    )
    if left_out:
        text += f" Not drawn, for want of room: {html.escape(', '.join(left_out))}."
    return text


def _counted(found: result.Result) -> Floats:
    """Running profit from the end of the warm-up on; 0 at its last step."""
    if found.lanes is None:
        return np.zeros(found.steps)
    earned = found.lanes.profit_usd
    return earned - (earned[found.warmup_steps - 1] if found.warmup_steps else 0.0)


def _panel(
    sheet: canvas.Sheet,
    play: roster.Play,
    curves: Sequence[_Curve],
    *,
    title: str,
    reference: str,
    top: float,
    height: float,
    dated: bool,
) -> None:
    warmup = play.subject.warmup_steps
    low, high = _window(
        [curve.usd[warmup:] for curve in curves], [curve.usd[warmup:] for curve in curves if curve.important]
    )
    sheet.write(canvas.LEFT, top + 13, pictures.short(title, 90), bold=True, size=12)
    top += _TITLE_HEIGHT
    panel = sheet.panel(top=top, height=height, dated=dated, warmup_steps=warmup)
    panel.set_ylim(low, high)
    panel.yaxis.set_major_formatter(lambda value, _: words.usd(round(value, 6), signed=True).replace(".00", ""))
    panel.locator_params(axis="y", nbins=6)
    panel.grid(axis="y", color=style.RULE, linewidth=0.6)
    panel.set_axisbelow(True)
    labels = []
    if reference:
        panel.axhline(0, color=style.QUIET, linewidth=1.4, zorder=2)
        labels.append((0.0, style.QUIET, reference, False))
    for curve in curves:
        kept = warmup + thinning.extremes(curve.usd[warmup:], canvas.COLUMNS // 2)
        ours = curve.name == play.subject.policy
        (line,) = panel.plot(
            sheet.times(kept), curve.usd[kept], color=curve.colour, linewidth=curve.width, zorder=4 if ours else 3
        )
        if curve.dashed:
            line.set_dashes((4, 2.5))
        last = float(curve.usd[-1])
        labels.append((last, curve.colour, f"{words.usd(last, signed=bool(reference))}  {curve.name}", ours))
    _ends(sheet, panel, labels, low=low, high=high, top=top, height=height)


def _window(curves: Sequence[Floats], important: Sequence[Floats]) -> tuple[float, float]:
    """The scale: all of the important curves, and of others what lies within half as much again."""
    low = min((float(values.min()) for values in important if values.size), default=0.0)
    high = max((float(values.max()) for values in important if values.size), default=0.0)
    low, high = min(low, 0.0), max(high, 0.0)
    reach = (high - low) or 1.0
    low = min(low, max(min((float(values.min()) for values in curves if values.size), default=0.0), low - reach / 2))
    high = max(high, min(max((float(values.max()) for values in curves if values.size), default=0.0), high + reach / 2))
    return low - 0.04 * reach, high + 0.05 * reach


def _ends(
    sheet: canvas.Sheet,
    panel: Axes,
    labels: Sequence[tuple[float, str, str, bool]],
    *,
    low: float,
    high: float,
    top: float,
    height: float,
) -> None:
    """What each line is, at its end."""
    heights = [top + height * (high - min(max(value, low), high)) / (high - low) for value, *_ in labels]
    places = thinning.spread(heights, gap=16.0, low=top + 2, high=top + height - 2)
    for (value, colour, text, bold), y, place in zip(labels, heights, places, strict=True):
        panel.plot(
            [1, 1 + 11 / (canvas.WIDTH - canvas.LEFT - canvas.RIGHT)],
            [1 - (each - top) / height for each in (y, place)],
            transform=panel.transAxes,
            color=colour,
            linewidth=1.5,
            clip_on=False,
        )
        beyond = "↓ " if value < low else "↑ " if value > high else ""
        sheet.write(pictures.LABELS_LEFT, place, pictures.short(f"{beyond}{text}", 31), bold=bold)
