"""What the plan remembers of bid prices and of the jobs that came."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np

from switchyard.planning import arrivals, program_values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Priced:
    """The last prices.

    Attributes:
        at: when they were asked for.
        wanted_rigs: that gangs, waiting and at work, wanted then.
        prices: None where there was no answer.
        failure: why there was none: "" or a reason of `program_values.Failure`.
        message: the same for people.
    """

    at: datetime.datetime
    wanted_rigs: float
    prices: program_values.Prices | None
    failure: str = ""
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Book:
    """What is known of demand.

    Attributes:
        arrivals: jobs that have come.
        newest: the youngest job that has been counted; those that were created later are new.
        tried_at: when every waiting gang was last weighed against those at work.
        last: prices.
    """

    arrivals: arrivals.History
    newest: datetime.datetime
    tried_at: datetime.datetime | None = None
    last: Priced | None = None


def dump(book: Book) -> dict[str, Any]:
    """As JSON. A failure is not kept: after a restart it is tried again."""
    found: dict[str, Any] = {"arrivals": book.arrivals.dump(), "newest": book.newest.isoformat()}
    last = book.last
    if last is not None and last.prices is not None:
        found["prices"] = {
            "at": last.at.isoformat(),
            "wantedRigs": round(last.wanted_rigs, 3),
            "edgesHours": list(last.prices.edges_hours),
            "usdPerRigHour": _rounded(last.prices.usd_per_rig_hour),
            "usdPerStart": {key: round(usd, 6) for key, usd in last.prices.usd_per_start.items()},
            "usdPerWattHour": _rounded(last.prices.usd_per_watt_hour),
        }
    return found


def load(found: Mapping[str, Any]) -> Book:
    """What `dump` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    newest = datetime.datetime.fromisoformat(found["newest"])
    if newest.tzinfo is None:
        raise ValueError("newest: has no time zone")
    kept = found.get("prices")
    last = None
    if kept is not None:
        at = datetime.datetime.fromisoformat(kept["at"])
        if at.tzinfo is None:
            raise ValueError("prices.at: has no time zone")
        edges = tuple(float(edge) for edge in kept["edgesHours"])
        last = Priced(
            at=at,
            wanted_rigs=float(kept["wantedRigs"]),
            prices=program_values.Prices(
                edges_hours=edges,
                usd_per_rig_hour=_read(kept["usdPerRigHour"], len(edges) - 1),
                usd_per_start={str(key): float(usd) for key, usd in kept["usdPerStart"].items()},
                usd_per_watt_hour=_read(kept["usdPerWattHour"], len(edges) - 1),
            ),
        )
    return Book(arrivals=arrivals.History.load(found["arrivals"]), newest=newest, last=last)


def _rounded(prices: Mapping[str, program_values.Floats]) -> dict[str, list[float]]:
    return {key: np.round(figures, 9).tolist() for key, figures in sorted(prices.items())}


def _read(kept: Mapping[str, Any], steps: int) -> dict[str, program_values.Floats]:
    found = {str(key): np.array(figures, dtype=np.float64) for key, figures in kept.items()}
    if any(figures.shape != (steps,) or not np.isfinite(figures).all() for figures in found.values()):
        raise ValueError(f"prices: {steps} finite figures expected for each")
    return found
