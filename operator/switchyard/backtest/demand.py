"""GPUs that are rented by the hour: prices, and how many are wanted at each step."""

from __future__ import annotations

import numpy as np

from switchyard.backtest import arrivals, script, sources, timeline, work

Floats = timeline.Floats


def demands(files: sources.Sources) -> tuple[script.DemandScript, ...]:
    """All demands. Raises ScenarioError and MissingDataError as `Sources` does."""
    return tuple(_demand(files, name, demand) for name, demand in files.scene.demands.items())


def _demand(files: sources.Sources, name: str, demand: work.Demand) -> script.DemandScript:
    place = f"demands.{name}"
    prices = files.money(demand.usd_per_gpu_hour)
    if (prices < 0).any():
        raise files.error(
            f"{place}.usdPerGpuHour", "is below 0 somewhere within the scenario; correct the file or scale"
        )
    gpus = files.scene.groups[demand.group].gpus
    return script.DemandScript(
        name=name,
        group=demand.group,
        usd_per_gpu_hour=prices * (1 - demand.fee),
        gpus_wanted=_wanted(files, name, demand.wanted, gpus=gpus),
    )


def _wanted(files: sources.Sources, name: str, wanted: work.Wanted, *, gpus: int) -> timeline.Ints:
    """GPUs wanted at each step, whole ones, never more than there are."""
    place = f"demands.{name}.wanted"
    if wanted.gpus is not None:
        if wanted.gpus > gpus:
            raise files.error(f"{place}.gpus", f"is {wanted.gpus}, and the group has {gpus}; write at most that")
        return np.full(files.axis.steps, wanted.gpus, dtype=np.int64)
    if wanted.availability is not None:
        shares = files.number(wanted.availability)
        if (shares < 0).any() or (shares > 1).any():
            raise files.error(f"{place}.availability", "must lie between 0 and 1; scale the series")
        return _whole(shares * gpus, gpus=gpus)
    if wanted.series is not None:
        raw = files.steps(wanted.series)
        if (raw < 0).any():
            raise files.error(f"{place}.series", "is below 0 somewhere within the scenario; correct the file or scale")
        if wanted.sample is not None and wanted.sample.sigma:
            raw = raw * np.exp(_wander(files, name, wanted.sample))
    else:
        assert wanted.jobs is not None  # noqa: S101  the model demands one of the four
        raw = _running(files, name, wanted.jobs, wanted.sample)
    if wanted.load is not None:
        return _whole(raw * _scale(files, place, raw, load=wanted.load, gpus=gpus), gpus=gpus)
    return _whole(raw * (wanted.scale or 1.0), gpus=gpus)


def _whole(wanted: Floats, *, gpus: int) -> timeline.Ints:
    return np.clip(np.rint(wanted), 0, gpus).astype(np.int64)


def _scale(files: sources.Sources, place: str, raw: Floats, *, load: float, gpus: int) -> float:
    """The factor at which, cut at what there is and rounded, so many GPUs are wanted on average. By bisection."""
    reachable = float((raw > 0).mean())
    if reachable < load:
        raise files.error(
            f"{place}.load",
            f"is {load:g}, and anything at all is wanted in only {reachable:.0%} of the steps; lower it",
        )
    low, high = 0.0, gpus / float(raw[raw > 0].min())
    for _ in range(60):
        middle = (low + high) / 2
        if _whole(raw * middle, gpus=gpus).mean() < load * gpus:
            low = middle
        else:
            high = middle
    return high


def _wander(files: sources.Sources, name: str, sample: work.Sample) -> Floats:
    """An AR(1) process that begins in its stationary distribution."""
    chance = files.chance("demand", name)
    keep = 0.5 ** (files.axis.step_seconds / sample.half_life)
    shocks = chance.standard_normal(files.axis.steps) * sample.sigma * np.sqrt(1 - keep * keep)
    found = np.empty(files.axis.steps)
    value = float(chance.standard_normal()) * sample.sigma
    for step, shock in enumerate(shocks.tolist()):
        value = keep * value + shock
        found[step] = value
    return found


def _running(files: sources.Sources, name: str, layout: work.JobList, sample: work.Sample | None) -> Floats:
    """GPUs of jobs that would run had each begun on its arrival: the mean over each step."""
    jobs = arrivals.read(files, f"demands.{name}.wanted.jobs", layout)
    starts, gpus = jobs.arrival, jobs.gpus.astype(np.float64)
    durations = jobs.duration
    if sample is not None:
        chance = files.chance("demand", name)
        kept = chance.random(starts.size) < sample.keep
        starts, durations, gpus = starts[kept], durations[kept], gpus[kept]
        starts = starts + chance.uniform(-sample.jitter, sample.jitter, starts.size)
    edges = files.axis.edges
    begun = _since(starts, gpus, edges)
    ended = _since(starts + durations, gpus, edges)
    return np.maximum(np.diff(begun - ended) / files.axis.step_seconds, 0.0)


def _since(events: Floats, weights: Floats, edges: Floats) -> Floats:
    """GPU-seconds since all events until each edge: the sum of weight x (edge - event) over the events before it."""
    order = np.argsort(events)
    events, weights = events[order] - edges[0], weights[order]
    count = np.searchsorted(events, edges - edges[0], side="right")
    weight = np.concatenate(([0.0], np.cumsum(weights)))[count]
    moment = np.concatenate(([0.0], np.cumsum(weights * events)))[count]
    found: Floats = weight * (edges - edges[0]) - moment
    return found
