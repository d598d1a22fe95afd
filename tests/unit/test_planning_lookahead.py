"""When a look-ahead is solved anew."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pytest

import sample_farm as sample
from switchyard.market import forecast
from switchyard.planning import lookahead
from switchyard.valuation import values


def view(now_usd_per_kwh: float, *later: tuple[float, float], revenue: float = 0.1) -> lookahead.View:
    """Mining or off, at 1 kW; `later`: (hours ahead, price)."""
    hours, prices = (0.0, *(at for at, _ in later)), (now_usd_per_kwh, *(price for _, price in later))
    return lookahead.View(
        columns=(0, 1),
        state_of=np.array([0, 1]),
        revenue=np.array([revenue, 0.0]),
        watts=np.array([1000.0, 10.0]),
        rest_watts=10.0,
        moves_usd=np.array([[0.0, 0.01], [0.01, 0.0]]),
        eviction_usd=0.0,
        work=-1,
        tally=None,
        wanted_rigs=0.0,
        ranks=np.ones(1, dtype=np.int64),
        outlook=values.Outlook(now_usd_per_kwh, lambda: forecast.Path(hours=hours, values=prices)),
        pue=1.0,
    )


@pytest.mark.parametrize(
    ("hours", "usd_per_kwh", "revenue", "kept"),
    [
        (0.5, 0.05, 0.1, True),
        (1.5, 0.20, 0.1, True),
        (1.5, 0.22, 0.1, True),
        (1.5, 0.24, 0.1, False),
        (1.5, 0.05, 0.1, False),
        (0.5, 0.20, 0.1, False),
        (0.5, 0.05, 0.12, False),
        (lookahead.RESOLVE_HOURS, 0.20, 0.1, False),
    ],
    ids=["as now", "as foretold", "nearly", "dearer", "cheap for longer", "dear too soon", "a better coin", "old"],
)
def test_it_is_solved_anew_when_old_or_surprised(hours: float, usd_per_kwh: float, revenue: float, kept: bool) -> None:
    _, table = lookahead.look(view(0.05, (1.0, 0.20)), None, now=sample.NOW)
    later = sample.NOW + datetime.timedelta(hours=hours)
    _, found = lookahead.look(view(usd_per_kwh, revenue=revenue), table, now=later)
    assert (found is table) == kept


def test_means_of_an_outlook() -> None:
    told = values.Outlook(0.1, lambda: forecast.Path(hours=(0.0, 1.0, 3.0), values=(0.1, 0.4, 0.2)))
    assert told.means([0.0, 1.0, 2.0, 4.0, 5.0]) == pytest.approx([0.1, 0.4, 0.3, 0.2])
    assert told.means([0.5, 1.5]) == pytest.approx([0.25])
    assert [told.at(hours) for hours in (0.0, 0.99, 1.0, 2.99, 1e6)] == [0.1, 0.1, 0.4, 0.4, 0.2]
    assert values.Outlook(0.3).means([0.0, math.pi, 100.0]) == pytest.approx([0.3, 0.3])
