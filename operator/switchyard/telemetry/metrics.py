"""Metrics: what the operator measures about the farm and about itself, for Prometheus.

Labels are bounded on purpose: pools, sites, coins, feeds, kinds of mode, steps, outcomes. A rig's or a job's name is
never one: a farm of a thousand rigs has as many series as one of ten. Who looks for one rig asks its status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

import prometheus_client
from prometheus_client import core, exposition, registry

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STEPS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0)

Labels = tuple[str, ...]


class _Ages(registry.Collector):
    """Seconds since something last happened, worked out when Prometheus asks: an age that is stored is always wrong."""

    def __init__(self, *, name: str, documentation: str, label: str, timer: Callable[[], float]) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._timer = timer
        self._marks: dict[str, float] = {}

    def mark(self, key: str) -> None:
        self._marks[key] = self._timer()

    def collect(self) -> Iterable[core.Metric]:
        family = core.GaugeMetricFamily(self._name, self._documentation, labels=[self._label])
        now = self._timer()
        for key, at in sorted(self._marks.items()):
            family.add_metric([key], max(0.0, now - at))
        return [family]


class Metrics:
    """Every series of one operator, in a registry of its own (so that tests and simulations have theirs).

    The attributes are plain prometheus_client metrics; `replace` sets all series of a gauge at once and forgets those
    of pools, feeds and the like that are no more. `timer` gives monotonic seconds of the machine.
    """

    def __init__(self, *, version: str = "", timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self.registry = prometheus_client.CollectorRegistry(auto_describe=True)

        # The farm.
        self.rigs = self._gauge("rigs", "Rigs by observed mode; those in a hand-over are `switching`.", "pool", "mode")
        self.rigs_mining = self._gauge("rigs_mining", "Rigs that mine a coin.", "pool", "coin")
        self.rigs_gone = self._gauge("rigs_gone", "Rigs whose Node is absent or not ready.", "site")
        self.net_usd_per_hour = self._gauge(
            "net_usd_per_hour", "Revenue less fees and power of what the pool's rigs do now, $/h.", "pool"
        )
        self.moves_pending = self._gauge(
            "moves_pending", "Rigs that something holds back from a better mode (budget, hold, dwell).", "pool"
        )
        self.electricity_usd_per_kilowatt_hour = self._gauge(
            "electricity_usd_per_kilowatt_hour", "What a kilowatt-hour costs at the site now.", "site"
        )

        # Hand-overs. Durations are farm time.
        self.switches = self._counter(
            "switches", "Hand-overs that ended: `switched`, `failed` or `withdrawn`.", "from", "to", "outcome"
        )
        self.switch_seconds = self._histogram(
            "switch_duration_seconds", "From the claim of the Node to the settled mode.", _STEPS, "from", "to"
        )
        self.step_seconds = self._histogram("switch_step_duration_seconds", "One step of a hand-over.", _STEPS, "step")
        self.step_timeouts = self._counter("switch_step_timeouts", "Steps that ran past their deadline.", "step")

        # Planning.
        self.plan_seconds = self._histogram("plan_duration_seconds", "Working out one plan.", _FAST)
        self.plan_solver_failures = self._counter(
            "plan_solver_failures", "Times that bid prices were asked for in vain: `Late` or `Failed`.", "reason"
        )
        self.admissions = self._counter("job_admissions", "Gangs that were given rigs.")
        self.refusals = self._counter("job_refusals", "Times a job was newly refused, or for another reason.", "reason")
        self.preemptions = self._counter("job_preemptions", "Gangs that were told to stop.", "reason")
        self.jobs = self._gauge("jobs", "AIJobs by state.", "state")

        # The market.
        self.feed_trust = self._gauge("feed_trust_ratio", "Trust in the feed's last good value, 0 to 1.", "feed")
        self.feed_age_seconds = self._gauge("feed_age_seconds", "Age of the last good value, farm time.", "feed")
        self.feed_value = self._gauge(
            "feed_value", "Last good value: USD/kWh, or USD per GH/s (Sol/s) and hour.", "feed"
        )

        # The operator itself. Durations are the machine's time.
        self.commands = self._counter("commands", "Commands carried out, by kind and outcome.", "kind", "outcome")
        self.command_seconds = self._histogram(
            "command_duration_seconds", "One command, retries included.", _FAST, "kind"
        )
        self.status_writes = self._counter(
            "status_writes", "Statuses worked out: `written`, or `unchanged` and therefore not.", "kind", "outcome"
        )
        self.relists = self._counter("watch_relists", "Full lists a reflector had to fetch.", "resource")
        self.errors = self._counter("errors", "Unexpected errors that a loop survived.", "where")
        self.loop_lag_seconds = self._histogram(
            "loop_lag_seconds", "How much later than asked the event loop woke a sleeper.", _FAST
        )

        self._watch_ages = self._ages(
            "watch_last_event_age_seconds", "Since a reflector last heard anything, bookmarks included.", "resource"
        )
        self._plan_ages = self._ages("plan_age_seconds", "Since the last plan was done.", "plan")
        if version:
            self._gauge("build_info", "Always 1; the label tells the version.", "version").labels(version).set(1)

    def _gauge(self, name: str, documentation: str, *labels: str) -> prometheus_client.Gauge:
        return prometheus_client.Gauge(f"switchyard_{name}", documentation, labels, registry=self.registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> prometheus_client.Counter:
        return prometheus_client.Counter(f"switchyard_{name}", documentation, labels, registry=self.registry)

    def _histogram(
        self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str
    ) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            f"switchyard_{name}", documentation, labels, buckets=buckets, registry=self.registry
        )

    def _ages(self, name: str, documentation: str, label: str) -> _Ages:
        ages = _Ages(name=f"switchyard_{name}", documentation=documentation, label=label, timer=self._timer)
        self.registry.register(ages)
        return ages

    def replace(self, gauge: prometheus_client.Gauge, series: Mapping[Labels, float]) -> None:
        """Make `series` (label values in the gauge's own order -> value) all that the gauge shows."""
        shown = {tuple(str(value) for value in labels) for labels in _label_values(gauge)}
        for labels in shown - set(series):
            gauge.remove(*labels)
        for labels, value in series.items():
            gauge.labels(*labels).set(value)

    def planned(self, *, seconds: float) -> None:
        """A plan was done, and took so many seconds."""
        self.plan_seconds.observe(seconds)
        self._plan_ages.mark("current")

    def turn_failed(self) -> None:
        """A turn of the cycle, or the plan in it, was cut short by an unexpected error."""
        self.errors.labels("cycle").inc()

    def command(self, *, kind: str, outcome: str, seconds: float) -> None:
        """A command was carried out. `kind` is the command's class name in lower case, `outcome` an Outcome's value."""
        self.commands.labels(kind, outcome).inc()
        self.command_seconds.labels(kind).observe(seconds)

    def step(self, *, step: str, seconds: float, timed_out: bool = False) -> None:
        """A step of a hand-over ended after so many seconds of farm time."""
        self.step_seconds.labels(step).observe(seconds)
        if timed_out:
            self.step_timeouts.labels(step).inc()

    def switched(self, *, origin: str, target: str, outcome: str, seconds: float) -> None:
        """A hand-over ended. `origin` and `target` are kinds of mode, never names; seconds are farm time."""
        self.switches.labels(origin, target, outcome).inc()
        if outcome == "switched":
            self.switch_seconds.labels(origin, target).observe(seconds)

    def watch_event(self, resource: str) -> None:
        """A reflector heard something of `resource`."""
        self._watch_ages.mark(resource)

    async def measure_loop_lag(self, *, interval_seconds: float = 0.5) -> None:
        """Observe the event loop's lag until cancelled."""
        while True:
            started = self._timer()
            await asyncio.sleep(interval_seconds)
            self.loop_lag_seconds.observe(max(0.0, self._timer() - started - interval_seconds))

    def expose(self) -> tuple[bytes, str]:
        """All series in Prometheus' text format, and its content type."""
        return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_PLAIN_0_0_4


def _label_values(gauge: prometheus_client.Gauge) -> list[Labels]:
    names = gauge._labelnames  # noqa: SLF001 - prometheus_client tells the order of labels nowhere else
    return [tuple(sample.labels[name] for name in names) for metric in gauge.collect() for sample in metric.samples]
