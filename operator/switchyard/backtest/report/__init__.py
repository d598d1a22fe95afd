"""A back-test as one HTML file: self-contained, the same bytes for the same results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from switchyard.backtest import result
from switchyard.backtest.report import canvas, page

PicturesError = canvas.PicturesError
ensure_pictures = canvas.ensure


def write(path: Path, results: Sequence[result.Result], *, command: str = "") -> None:
    """Write the report.

    Results without lanes get tables only; `command` is the command line that made them, shown at the foot.

    Raises:
        PicturesError: there are lanes to draw and matplotlib is not installed (`ensure_pictures` tells beforehand).
        ValueError: there are no results.
        OSError: the file cannot be written.
    """
    if not results:
        raise ValueError("a report needs results, and there are none: name a scenario and a policy")
    if any(found.lanes is not None for found in results):
        canvas.ensure()
    path.write_text(page.render(results, command=command), encoding="utf-8")
