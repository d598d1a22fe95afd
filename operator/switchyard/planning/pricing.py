"""What scarcity is worth on this farm: the farm as a program of counts, asked now and then, and its prices kept.

Prices are asked for only while somebody waits: every `REPRICE_HOURS`, or sooner where what is wanted has changed much.
They decide who is weighed first and who makes room for whom. Without an answer the plan is made without prices.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model
from switchyard.planning import arrivals, draw, gangs, placing, priced, program, program_fits, program_values, standing
from switchyard.planning import request as planning
from switchyard.valuation import values

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Solve = Callable[[program_values.Problem], program_values.Prices | program_values.Failure]

SOLVE: Final[Solve] = program.price

REPRICE_HOURS: Final = 2.5
_SOONEST_HOURS: Final = 0.5
"""Prices are not asked for again within this time, whatever happens."""

_RETRY_HOURS: Final = 1 / 6
"""Nor within this time where there was no answer."""

_CHANGE: Final = 0.25
"""Of the farm's rigs: where gangs want so many more or fewer than then, prices are asked for again."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """Prices as a gang is told them."""

    desk: standing.Desk
    prices: program_values.Prices
    _least: dict[float, Mapping[str, float]] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def rig_usd_per_hour(self, class_key: str, circuit: str, hours: float) -> float:
        """What a rig fetches beyond its best local mode over the next `hours`, the watts of AI work included, $/h."""
        prices = self.prices
        found = prices.surcharge(block_key(class_key, circuit), hours)
        if circuit in prices.usd_per_watt_hour:
            watts = self.desk.request.classes[class_key].ai_watts
            found += watts * prices.circuit_surcharge(circuit, hours)
        return found

    def least_usd_per_hour(self, class_key: str, hours: float) -> float:
        """The same of the circuit where a class's rigs are cheapest."""
        if hours not in self._least:
            self._least.clear()  # jobs are asked about one by one
            self._least[hours] = self._least_by_class(hours)
        return self._least[hours].get(class_key, 0.0)

    def rigs_usd_per_hour(self, hours: float) -> Mapping[tuple[str, str], float]:
        """The same of every block that has a price, by class and circuit."""
        table = _table(self.prices)
        return dict(zip(table.keys, self._by_block(table, hours).tolist(), strict=True)) if table.keys else {}

    def _least_by_class(self, hours: float) -> Mapping[str, float]:
        table = _table(self.prices)
        if not table.keys:
            return {}
        least = np.minimum.reduceat(self._by_block(table, hours), table.starts)
        return dict(zip(table.classes, least.tolist(), strict=True))

    def _by_block(self, table: _Table, hours: float) -> Floats:
        """`rig_usd_per_hour` of all blocks at once, [N]: a large farm has hundreds."""
        classes = self.desk.request.classes
        inside, spans = self.prices.spans(hours)
        rigs, watts = np.zeros(len(table.keys)), np.zeros(len(table.keys))
        for step, span in enumerate(spans):
            rigs += table.usd_per_rig_hour[step] * span
            watts += table.usd_per_watt_hour[step] * span
        found = rigs / inside + table.usd_per_start / inside
        ai_watts = np.array([classes[key].ai_watts if key in classes else 0.0 for key in table.classes])
        return np.asarray(found + ai_watts[table.class_of] * (watts / inside))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """Prices of all N blocks, those of a class together; T steps.

    Attributes:
        keys: class and circuit of each block.
        classes: C of them, in order.
        class_of: number of each block's class, [N].
        starts: the first block of each class, [C].
        usd_per_rig_hour: [T, N].
        usd_per_start: [N].
        usd_per_watt_hour: [T, N].
    """

    keys: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    class_of: Ints
    starts: Ints
    usd_per_rig_hour: Floats
    usd_per_start: Floats
    usd_per_watt_hour: Floats


@functools.lru_cache(maxsize=4)
def _table(prices: program_values.Prices) -> _Table:
    keys = sorted((parts[0], parts[2]) for parts in (key.rpartition("|") for key in prices.usd_per_rig_hour))
    classes = tuple(dict.fromkeys(class_key for class_key, _ in keys))
    number = {class_key: at for at, class_key in enumerate(classes)}
    class_of = np.array([number[class_key] for class_key, _ in keys], dtype=np.int64)
    none = np.zeros(len(prices.edges_hours) - 1)
    blocks = [block_key(*key) for key in keys]
    return _Table(
        keys=tuple(keys),
        classes=classes,
        class_of=class_of,
        starts=np.searchsorted(class_of, np.arange(len(classes))),
        usd_per_rig_hour=np.array([prices.usd_per_rig_hour[block] for block in blocks]).T,
        usd_per_start=np.array([prices.usd_per_start.get(block, 0.0) for block in blocks]),
        usd_per_watt_hour=np.array([prices.usd_per_watt_hour.get(circuit, none) for _, circuit in keys]).T,
    )


def remembered(desk: standing.Desk) -> priced.Book:
    """What is known of demand, the jobs that are new among it."""
    book = desk.request.memory.book
    if book is None:
        return priced.Book(arrivals=arrivals.History(desk.now), newest=desk.now)
    fresh = [job for job in desk.jobs.values() if job.created_at > book.newest]
    if not fresh:
        return book
    came = [
        arrival for job in sorted(fresh, key=lambda job: (job.created_at, job.key)) if (arrival := _arrival(desk, job))
    ]
    newest = max(job.created_at for job in fresh)
    return dataclasses.replace(book, arrivals=book.arrivals.grown(came), newest=newest)


def asked(desk: standing.Desk, book: priced.Book, *, working: Mapping[str, gangs.Gang], solve: Solve) -> priced.Book:
    """The same with prices that are fit for now; as it is where nobody waits."""
    waiting = [job for _, job in sorted(desk.jobs.items()) if job.state is model.JobState.PENDING and not job.suspend]
    if not waiting:
        return book
    wanted = _wanted_rigs(desk, [*waiting, *{job.key: job for job in desk.gang_of.values()}.values()])
    if not _due(desk, book.last, wanted):
        return book
    answer: program_values.Prices | program_values.Failure
    try:
        answer = solve(problem(desk, waiting=waiting, working=working, history=book.arrivals))
    except Exception as found:  # noqa: BLE001 - whatever it was: a plan without prices is better than none
        answer = program_values.Failure(reason=program.FAILED, message=f"{type(found).__name__}: {found}")
    last = priced.Priced(at=desk.now, wanted_rigs=wanted, prices=None)
    if isinstance(answer, program_values.Failure):
        last = dataclasses.replace(last, failure=answer.reason, message=answer.message)
    else:
        last = dataclasses.replace(last, prices=answer)
    return dataclasses.replace(book, last=last)


def problem(
    desk: standing.Desk,
    *,
    waiting: list[model.Job],
    working: Mapping[str, gangs.Gang],
    history: arrivals.History,
) -> program_values.Problem:
    """The farm for `program.price`. Rigs that gangs can never have (held, pinned elsewhere) are not in it."""
    views: dict[str, list[planning.RigView]] = {}
    for view in desk.views.values():
        if _counts(desk, view):
            views.setdefault(block_key(view.class_key, _circuit(desk, view)), []).append(view)
    edges = program_values.EDGES_HOURS
    classes = desk.request.classes
    value_of = {key: classes[found[0].class_key] for key, found in views.items()}
    fits = program_fits.Fits(value_of)
    wanted = [_gang(desk, job, fits.of(job)) for job in waiting]
    held = [_working(desk, job, views, working.get(job.key)) for job in _at_work(desk)]
    flows = tuple(
        program_values.Flow(
            usd_per_unit_hour=each.usd_per_gpu_hour,
            hours=each.hours,
            units=each.gpus,
            rigs_per_unit={key: 1 / _gpus(value) for key, value in fitting.items()},
            watts_per_rig={key: value.ai_watts for key, value in fitting.items()},
        )
        for each in history.expected(desk.now, edges)
        if (fitting := {key: value for key, value in value_of.items() if value.rig_class.key in each.classes})
    )
    return program_values.Problem(
        blocks={key: _block(desk, found, value_of[key], edges) for key, found in views.items()},
        gangs=tuple(gang for gang in wanted if gang is not None),
        working=tuple(work for work in held if work is not None),
        flows=flows,
        circuits=_circuits(desk, views),
        quotas=_quotas(desk, value_of),
        edges_hours=edges,
    )


def block_key(class_key: str, circuit: str) -> str:
    """Name of a block: rigs of one class on one circuit."""
    return f"{class_key}|{circuit}"


def patience_hours(desk: standing.Desk, job: model.Job) -> float:
    """How long a job may still wait before its deadline is past saving."""
    if job.deadline is None:
        return math.inf
    return max(0.0, (job.deadline - desk.now).total_seconds() / 3600 - placing.remaining_hours(job))


def _due(desk: standing.Desk, last: priced.Priced | None, wanted: float) -> bool:
    if last is None:
        return True
    age = (desk.now - last.at) / datetime.timedelta(hours=1)
    if last.prices is None:
        return age >= _RETRY_HOURS
    changed = abs(wanted - last.wanted_rigs) > max(2.0, _CHANGE * len(desk.views))
    return age >= REPRICE_HOURS or (changed and age >= _SOONEST_HOURS)


def _arrival(desk: standing.Desk, job: model.Job) -> arrivals.Arrival | None:
    """A job as demand: it takes whole rigs, so what it pays is spread over all GPUs of the rigs that it needs."""
    fitting = {key: value for key, value in desk.request.classes.items() if value.slots.get(job.key)}
    if not fitting:
        return None
    gpus = min(_rigs(value, job) * _gpus(value) for value in fitting.values())
    return arrivals.Arrival(
        at=job.created_at,
        gpus=gpus,
        hours=job.duration_seconds / 3600,
        usd_per_gpu_hour=job.bid_usd_per_gpu_hour * job.gpus / gpus,
        classes=frozenset(fitting),
    )


def _wanted_rigs(desk: standing.Desk, jobs: list[model.Job]) -> float:
    total = 0
    for job in jobs:
        if job.placement:
            total += len(job.placement)
            continue
        needed = [_rigs(value, job) for value in desk.request.classes.values() if value.slots.get(job.key)]
        total += min(needed, default=0)
    return float(total)


def _rigs(value: values.ClassValue, job: model.Job) -> int:
    return -(-job.replicas // value.slots[job.key])


def _gpus(value: values.ClassValue) -> int:
    return max(1, len(value.rig_class.hardware.gpus))


def _at_work(desk: standing.Desk) -> list[model.Job]:
    return [job for _, job in sorted({job.key: job for job in desk.gang_of.values()}.items())]


def _circuit(desk: standing.Desk, view: planning.RigView) -> str:
    return view.circuit if view.circuit in desk.request.circuits else ""


def _counts(desk: standing.Desk, view: planning.RigView) -> bool:
    value = desk.request.classes.get(view.class_key)
    return (
        value is not None
        and value.usd_per_kwh is not None
        and not view.held
        and view.enforced
        and view.pin in (model.Pin.AUTO, model.Pin.AI)
        and any(mode.kind is not model.ModeKind.AI for mode in value.worths)
    )


def _block(
    desk: standing.Desk, views: list[planning.RigView], value: values.ClassValue, edges: tuple[float, ...]
) -> program_values.Block:
    local = standing.choices(value)
    best = max(local, key=lambda mode: (value.worths[mode].net_usd_per_hour, str(mode)))
    modes = []
    for mode in local:
        worth = value.worths[mode]
        usd = (worth.revenue_usd_per_hour - worth.fees_usd_per_hour) * worth.trust
        modes.append(program_values.LocalMode(usd_per_hour=usd, watts=worth.watts))
    origins: dict[model.Mode, int] = {}
    for view in views:
        if placing.free(view) and view.name not in desk.gang_of:
            origin = placing.kind_of(desk, view).origin
            origins[origin] = origins.get(origin, 0) + 1
    return program_values.Block(
        rigs=len(views),
        origins=tuple(
            program_values.Origin(rigs=rigs, in_usd=_usd(desk, value, origin, standing.OVER))
            for origin, rigs in sorted(origins.items(), key=lambda item: str(item[0]))
        ),
        modes=tuple(modes),
        usd_per_watt_hour=_power(value, edges),
        circuit=_circuit(desk, views[0]),
        later_in_usd=_usd(desk, value, best, standing.OVER),
        out_usd=_usd(desk, value, standing.OVER, best),
    )


def _usd(desk: standing.Desk, value: values.ClassValue, origin: model.Mode, target: model.Mode) -> float:
    found = desk.move_usd(value, origin, target)
    return found if math.isfinite(found) else 0.0


def _power(value: values.ClassValue, edges: tuple[float, ...]) -> tuple[float, ...]:
    """$ per watt-hour of a rig, per step, as far as anybody can tell."""
    if value.outlook is None or value.usd_per_kwh in (None, 0.0):
        return (value.usd_per_watt_hour,) * (len(edges) - 1)
    found = value.outlook.means(edges) * value.pue / 1000
    return tuple(found.tolist())


def _gang(desk: standing.Desk, job: model.Job, fits: Mapping[str, program_values.Fit]) -> program_values.Gang | None:
    hours, patience = placing.remaining_hours(job), patience_hours(desk, job)
    if not fits or (job.deadline is not None and patience <= 0):
        return None
    return program_values.Gang(
        key=job.key,
        usd_per_hour=job.bid_usd_per_gpu_hour * job.gpus,
        hours=hours,
        replicas=job.replicas,
        fits=fits,
        last_start_hours=patience,
    )


def _working(
    desk: standing.Desk,
    job: model.Job,
    views: Mapping[str, list[planning.RigView]],
    gang: gangs.Gang | None,
) -> program_values.Working | None:
    rigs: dict[str, int] = {}
    for placement in job.placement:
        view = desk.views.get(placement.rig)
        if view is not None and _counts(desk, view):
            key = block_key(view.class_key, _circuit(desk, view))
            rigs[key] = rigs.get(key, 0) + 1
    if not rigs:
        return None
    classes = desk.request.classes
    return program_values.Working(
        key=job.key,
        usd_per_hour=job.bid_usd_per_gpu_hour * job.gpus,
        hours=placing.remaining_hours(job),
        rigs=rigs,
        watts={key: classes[views[key][0].class_key].ai_watts for key in rigs},
        stop_usd=gang.stop_usd if gang is not None and gang.stoppable else None,
    )


def _circuits(desk: standing.Desk, views: Mapping[str, list[planning.RigView]]) -> Mapping[str, program_values.Circuit]:
    """Circuits with what is left of them when rigs that are not in the program draw what they draw."""
    inside = {view.name for found in views.values() for view in found}
    left = {key: circuit.limit_watts for key, circuit in desk.request.circuits.items()}
    if left:
        meter = draw.Meter(desk.request)
        for view in desk.views.values():
            if view.circuit in left and view.name not in inside:
                left[view.circuit] -= meter.feared(view)
    return {key: program_values.Circuit(limit_watts=max(0.0, watts)) for key, watts in left.items()}


def _quotas(desk: standing.Desk, value_of: Mapping[str, values.ClassValue]) -> tuple[program_values.Quota, ...]:
    found = []
    for share in desk.request.shares:
        blocks = frozenset(key for key, value in value_of.items() if value.rig_class.pool == share.pool)
        if blocks and share.kind is model.ModeKind.AI and share.most is not None:
            found.append(program_values.Quota(blocks=blocks, most=share.most))
    return tuple(found)
