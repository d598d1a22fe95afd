"""What moves between the modes of a line cost, $."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model
from switchyard.planning import remembered, standing, work_function
from switchyard.valuation import values

Floats = npt.NDArray[np.float64]


def costs(
    desk: standing.Desk,
    value: values.ClassValue,
    modes: tuple[model.Mode, ...],
    known: remembered.Costs | None,
) -> remembered.Costs:
    """From each of these modes to each, those of `known` where nothing has changed since."""
    if known is not None and known.source is desk.request.costs and known.modes == modes:
        return known
    size = len(modes)
    seconds, usd = np.zeros((size, size)), np.zeros((size, size))
    for x, origin in enumerate(modes):
        for y, target in enumerate(modes):
            cost = desk.cost(value.rig_class.key, origin, target)
            seconds[x, y] = 0.0 if cost is None else cost.seconds
            usd[x, y] = standing.NEVER_USD if cost is None else cost.usd
    timed = bool(seconds.any())
    return remembered.Costs(
        source=desk.request.costs,
        modes=modes,
        seconds=seconds,
        usd=usd,
        metric=None if timed else work_function.metric(usd),
    )


def dollars(
    found: remembered.Costs, value: values.ClassValue, modes: tuple[model.Mode, ...], work_usd_per_hour: float | None
) -> Floats:
    """[K, K] with what the seconds of a move are worth at the better of both rates."""
    rates = np.array([standing.rate(value, mode) for mode in modes])
    if work_usd_per_hour is not None:
        rates[-1] = max(work_usd_per_hour, value.ai_watts * abs(value.usd_per_watt_hour))
    usd: Floats = found.seconds / 3600 * np.maximum(rates[:, None], rates[None, :]) + found.usd
    return usd
