"""A sheet to draw on: panels above one another with one time axis, and out of it a small SVG to put into a page.

matplotlib is imported only here and only when a picture is drawn.
"""

from __future__ import annotations

import datetime
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from switchyard.backtest.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH: Final = 1000.0
LEFT: Final = 62.0
RIGHT: Final = 208.0
COLUMNS: Final = 700
"""A sheet's width, its margins, and columns of pixels worth drawing, in points."""

_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 11.0,
    "text.color": style.INK,
    "axes.edgecolor": style.QUIET,
    "axes.labelcolor": style.INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.color": style.QUIET,
    "ytick.color": style.QUIET,
    "xtick.labelcolor": style.QUIET,
    "ytick.labelcolor": style.QUIET,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "path.simplify": True,
}

_DATES: Final = ["%Y", "%b", "%-d %b", "%H:%M", "%H:%M", "%S"]
_FIRST_DATES: Final = ["", "%b %Y", "%-d %b", "%-d %b", "%H:%M", "%H:%M"]
"""How years, months, days, hours, minutes and seconds are written, and the first of each."""

_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_OPENING = re.compile(r"<svg[^>]*>")
_NAMED = re.compile(r' id="([^"]*)"')
_USED = re.compile(r"#([A-Za-z0-9_.-]+)")
_POINTS = re.compile(r' d="([^"]*)"')
_DECIMAL = re.compile(r"-?\d+\.\d+")


class PicturesError(RuntimeError):
    """Pictures cannot be drawn here."""


def ensure() -> None:
    """See whether pictures can be drawn. Raises PicturesError that names what to install."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as problem:
        raise PicturesError(
            "a report with pictures needs matplotlib, which is not installed: pip install 'switchyard[report]'"
        ) from problem


class Sheet:
    """`width` is fixed; `height` in points. Places are told from the top left corner, as in SVG."""

    def __init__(self, *, height: float, start: datetime.datetime, step_seconds: int, steps: int) -> None:
        from matplotlib import figure

        self._height = height
        self._start = np.datetime64(start.astimezone(datetime.UTC).replace(tzinfo=None), "s")
        self._step = np.timedelta64(step_seconds, "s")
        self._steps = steps
        self.figure: Figure = figure.Figure(figsize=(WIDTH / 72, height / 72), dpi=72)

    def times(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Where steps begin, on the time axis."""
        from matplotlib import dates

        return np.asarray(dates.date2num(self._start + indices * self._step), dtype=np.float64)

    def panel(self, *, top: float, height: float, dated: bool, warmup_steps: int = 0) -> Axes:
        """An empty panel; `dated` ones have the dates below them. The warm-up is shaded."""
        from matplotlib import dates

        place = (LEFT / WIDTH, 1 - (top + height) / self._height, 1 - (LEFT + RIGHT) / WIDTH, height / self._height)
        panel = self.figure.add_axes(place)
        begin, end = self.times(np.array([0, self._steps], dtype=np.int64))
        panel.set_xlim(begin, end)
        if warmup_steps:
            last = self.times(np.array([warmup_steps], dtype=np.int64))[0]
            panel.axvspan(begin, last, color=style.WARMUP, linewidth=0, zorder=0)
        locator = dates.AutoDateLocator(tz=datetime.UTC, minticks=4, maxticks=9)
        panel.xaxis.set_major_locator(locator)
        if dated:
            formatter = dates.ConciseDateFormatter(
                locator, tz=datetime.UTC, formats=_DATES, zero_formats=_FIRST_DATES, show_offset=False
            )
            panel.xaxis.set_major_formatter(formatter)
            panel.tick_params(axis="x", length=3, labelsize=10.5)
        else:
            panel.tick_params(axis="x", length=0, labelbottom=False)
            panel.spines["bottom"].set_visible(False)
        panel.tick_params(axis="y", length=0, labelsize=10.5)
        panel.spines["left"].set_visible(False)
        return panel

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        bold: bool = False,
        size: float = 11.0,
        colour: str = style.INK,
        align: str = "left",
    ) -> None:
        """Text, centred on `y`."""
        self.figure.text(
            x / WIDTH,
            1 - y / self._height,
            text,
            fontsize=size,
            fontweight="bold" if bold else "normal",
            color=colour,
            va="center",
            ha=align,
        )

    def swatch(self, x: float, y: float, colour: str) -> None:
        """A small square of a colour, centred on `y`."""
        from matplotlib import patches

        side = 10.0
        self.figure.add_artist(
            patches.Rectangle(
                (x / WIDTH, 1 - (y + side / 2) / self._height),
                side / WIDTH,
                side / self._height,
                facecolor=colour,
                edgecolor="none",
            )
        )

    def svg(self, *, salt: str, title: str) -> str:
        """The sheet as an `<svg>` element for a page. `salt` keeps its names apart from those of other pictures."""
        from matplotlib.backends import backend_svg

        file = io.StringIO()
        with warnings.catch_warnings():
            # A name in letters that the measuring font has not: the browser's fonts have them.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            backend_svg.FigureCanvasSVG(self.figure).print_svg(
                file, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
            )
        return _inline(file.getvalue(), salt=salt, title=title, height=self._height)


@contextmanager
def settings(*, salt: str) -> Iterator[None]:
    """Everything that is drawn within looks alike, whatever the machine's own settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        mpl.rcParams["svg.hashsalt"] = salt
        yield


def _inline(text: str, *, salt: str, title: str, height: float) -> str:
    """Without prologue, metadata and names that nothing refers to, numbers to a tenth of a point."""
    text = _METADATA.sub("", _PROLOGUE.sub("", text, count=1)).strip()
    opening = f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{title}">'
    text = _OPENING.sub(lambda _: opening, text, count=1)
    used = set(_USED.findall(text))

    def renamed(found: re.Match[str]) -> str:
        return f' id="{salt}-{found[1]}"' if found[1] in used else ""

    named = set(_NAMED.findall(text)) & used
    text = _NAMED.sub(renamed, text)
    text = re.sub(
        r'(xlink:href="#|url\(#)([^")]*)',
        lambda found: f"{found[1]}{salt}-{found[2]}" if found[2] in named else found[0],
        text,
    )
    return _POINTS.sub(lambda found: f' d="{_rounded(found[1])}"', text)


def _rounded(path: str) -> str:
    return " ".join(_DECIMAL.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), path).split())
