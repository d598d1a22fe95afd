"""What the loop tells people: statuses that say something new, Events, metrics."""

from __future__ import annotations

import collections
import datetime
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import gangs, reasons
from switchyard.handover import pods as manifests
from switchyard.handover import record as rec
from switchyard.loop import holding, learning
from switchyard.market import feeds as feeding
from switchyard.market import quotes
from switchyard.planning import compose, draw
from switchyard.planning import request as planning
from switchyard.status import coin as coin_status
from switchyard.status import conditions, events, writes
from switchyard.status import feed as feed_status
from switchyard.status import job as job_status
from switchyard.status import pool as pool_status
from switchyard.status import rig as rig_status
from switchyard.status import site as site_status
from switchyard.telemetry import metrics as metering
from switchyard.valuation import checkpoints, values

_KINDS: Final = {
    "sites": "Site",
    "rigs": "Rig",
    "gpupools": "GPUPool",
    "coins": "Coin",
    "pricefeeds": "PriceFeed",
    "aijobs": "AIJob",
}


GANG_BROKEN: Final = "GangBroken"
"""Why a gang is being stopped that lost a rig: reason of its Preempted condition."""

TEMPLATE_INVALID: Final = "TemplateInvalid"
"""Why a job is over that never ran: reason of its Finished condition."""

_LOG = logging.getLogger(__name__)


class Reports:
    """Knows the last plan, and turns it and a snapshot into what has to be written. Remembers nothing that matters."""

    def __init__(
        self,
        *,
        feeds: feeding.Feeds,
        metrics: metering.Metrics,
        records: holding.Records,
        learner: learning.Learner,
        miners_namespace: str,
        figures_every: datetime.timedelta,
    ) -> None:
        self._feeds = feeds
        self._metrics = metrics
        self._records = records
        self._learner = learner
        self._miners_namespace = miners_namespace
        self._figures_every = figures_every
        self._reply: planning.PlanReply | None = None
        self._loads: Mapping[str, draw.Load] | None = None
        self._valuation: values.Valuation | None = None
        self._market = quotes.Market(at=datetime.datetime.min.replace(tzinfo=datetime.UTC), quotes={})
        self._planned_at: datetime.datetime | None = None

    def planned(
        self,
        *,
        market: quotes.Market,
        valuation: values.Valuation,
        request: planning.PlanRequest,
        reply: planning.PlanReply,
        now: datetime.datetime,
    ) -> None:
        """A plan was made: from now on statuses speak of this one."""
        self._market, self._valuation, self._reply, self._planned_at = market, valuation, reply, now
        self._loads = draw.loads(request)
        before, after = request.memory.book, reply.memory.book
        asked = after is not None and (before is None or after.last is not before.last)
        if reply.solver and asked:
            self._metrics.plan_solver_failures.labels(reply.solver).inc()
            _LOG.warning("gangs are weighed without bid prices (%s): %s", reply.solver, reply.solver_message)

    # --- jobs --------------------------------------------------------------------------------------------------

    def jobs(self, farm: model.Farm, reply: planning.PlanReply, *, now: datetime.datetime) -> list[cmd.Command]:
        """What the plan says to AIJobs. Whatever gives or takes rigs carries the version that was read."""
        commands: list[cmd.Command] = []
        for admission in reply.admissions:
            job = farm.jobs[admission.job]
            interval = checkpoints.interval_seconds(self._learner.learned, str(job.workload_class))
            status = job_status.admitted(job, admission, now, checkpoint_interval_seconds=interval)
            commands += self._job(job, status, now=now, decides=True)
            commands.append(events.admitted(job, admission))
            self._metrics.admissions.inc()
        for preemption in reply.preemptions:
            job = farm.jobs[preemption.job]
            commands += self._job(job, job_status.preempting(job, preemption, now), now=now, decides=True)
            commands.append(events.preempted(job, preemption))
            self._metrics.preemptions.labels(preemption.reason).inc()
        for refusal in reply.refusals:
            job = farm.jobs[refusal.job]
            known = conditions.by_type(job.status).get("Admitted", {}).get("reason")
            commands += self._job(job, job_status.refused(job, refusal, now), now=now)
            if known != refusal.reason:
                commands.append(events.refused(job, refusal))
                self._metrics.refusals.labels(refusal.reason).inc()
        return commands

    def gang(
        self, farm: model.Farm, job: model.Job, advance: gangs.GangAdvance, *, now: datetime.datetime
    ) -> list[cmd.Command]:
        """What became of a gang, on its AIJob."""
        pods = list(_pods(farm, job))
        told: cmd.Emit | None = None
        verdict, kinds = advance.verdict, gangs.VerdictKind
        match verdict.kind:
            case kinds.WAITING:
                return []
            case kinds.STOPPING:
                return self._job(job, job_status.stopping(job, pods, now), now=now)
            case kinds.STARTING | kinds.RUNNING:
                started = verdict.kind is kinds.RUNNING
                status = job_status.running(
                    job,
                    pods,
                    now,
                    started=started,
                    reason=verdict.reason,
                    message=verdict.message,
                    job_name=manifests.job_name(job),
                )
                return self._job(job, status, now=now)
            case kinds.BROKEN:
                # It is stopped like one that is preempted: notice, eviction, and only then does it wait again.
                lost = planning.Preemption(
                    job=job.key, reason=GANG_BROKEN, message=f"{verdict.reason}: {verdict.message}", targets={}
                )
                status = job_status.preempting(job, lost, now)
                told = events.broken(job, reason=verdict.reason, message=verdict.message)
            case kinds.STOPPED:
                why = conditions.by_type(job.status).get("Preempted", {}).get("reason")
                status = job_status.stopped(job, pods, now, reason=verdict.reason, broken=why == GANG_BROKEN)
            case kinds.SUCCEEDED | kinds.FAILED:
                succeeded = verdict.kind is kinds.SUCCEEDED
                status = job_status.finished(job, pods, now, succeeded=succeeded, message=verdict.message)
                told = events.finished(job, succeeded=succeeded, message=verdict.message)
        commands = self._job(job, status, now=now, decides=True)
        return [*commands, told] if commands and told is not None else commands

    def rejected(self, job: model.Job, message: str, *, now: datetime.datetime) -> list[cmd.Command]:
        """The API server will not have the gang's Job, today or tomorrow: only its owner can mend the template."""
        words = f"The API server refuses the Job of spec.template: {message}"
        status = job_status.finished(job, (), now, succeeded=False, reason=TEMPLATE_INVALID, message=words)
        return [
            *self._job(job, status, now=now, decides=True),
            events.finished(job, succeeded=False, message=words),
        ]

    def _job(
        self, job: model.Job, status: Mapping[str, object], *, now: datetime.datetime, decides: bool = False
    ) -> list[cmd.Command]:
        patch = writes.patch(
            _ref("aijobs", job.name, job.namespace),
            old=job.status,
            new=status,
            now=now,
            resource_version=job.resource_version if decides else None,
            uid=job.uid,
        )
        return [patch] if patch is not None else []

    # --- rigs --------------------------------------------------------------------------------------------------

    def switch(
        self,
        farm: model.Farm,
        rig: model.Rig,
        *,
        before: rec.Record | None,
        after: rec.Record | None,
        now: datetime.datetime,
    ) -> tuple[cmd.Emit, ...]:
        """Events and counts of one advance of a hand-over."""
        if before == after:
            return ()
        if (
            after is not None
            and before is not None
            and not before.settled
            and (before.step, before.since) != (after.step, after.since)
        ):
            seconds = max(0.0, (now - before.since).total_seconds())
            late = before.deadline is not None and now > before.deadline
            self._metrics.step(step=before.step.value, seconds=seconds, timed_out=late)
        if after is not None and before is not None and not before.settled and after.settled:
            self._metrics.switched(
                origin=before.origin.kind.value,
                target=before.mode.kind.value,
                outcome="switched" if after.mode == before.mode and after.reason not in reasons.WENT_BACK else "failed",
                seconds=max(0.0, (now - before.started).total_seconds()),
            )
        decision = self._reply.decisions.get(rig.name) if self._reply else None
        return events.switch(rig, farm.nodes.get(rig.node_name), before=before, after=after, now=now, decision=decision)

    def rigs(
        self, farm: model.Farm, which: Iterable[str], *, now: datetime.datetime, planned: bool
    ) -> list[cmd.Command]:
        """Statuses of these rigs. `planned`: with the new plan's decisions; else what stands of them stays."""
        commands: list[cmd.Command] = []
        decisions = self._reply.decisions if self._reply is not None and planned else {}
        unvalued = self._valuation.unvalued if self._valuation is not None else {}
        for name in which:
            rig = farm.rigs[name]
            site = farm.sites.get(rig.site)
            status = rig_status.status(
                rig,
                now=now,
                node=farm.nodes.get(rig.node_name),
                pool=farm.pools.get(farm.pool_of.get(name, "")),
                record=self._records.of(farm, rig),
                decision=decisions.get(name),
                unvalued=unvalued.get(name),
                contested=farm.contested.get(name, ()),
                circuits=site.circuits if site is not None else (),
            )
            commands += self._write("rigs", rig, status, now=now, every=self._figures_every)
        return commands

    # --- the few -----------------------------------------------------------------------------------------------

    def few(
        self, farm: model.Farm, problems: Mapping[tuple[str, str], str], *, now: datetime.datetime
    ) -> list[cmd.Command]:
        """Statuses of sites, pools, coins and feeds, and the metrics that speak of them."""
        held = {name: record for name, rig in farm.rigs.items() if (record := self._records.of(farm, rig)) is not None}
        members: dict[str, list[str]] = collections.defaultdict(list)
        for rig_name, pool_name in farm.pool_of.items():
            members[pool_name].append(rig_name)
        commands: list[cmd.Command] = []
        for pool in farm.pools.values():
            status = pool_status.status(
                pool,
                now=now,
                rigs=members[pool.name],
                records=held,
                valuation=self._valuation,
                decisions=self._reply.decisions if self._reply else {},
                planned_at=self._planned_at,
                solver=(self._reply.solver, self._reply.solver_message) if self._reply else ("", ""),
                coins=farm.coins.keys(),
                contested=farm.contested,
                problem=problems.get(("gpupools", pool.name), ""),
            )
            commands += self._write("gpupools", pool, status, now=now)
        commands += self._sites(farm, problems, now=now)
        for coin in farm.coins.values():
            status = coin_status.status(
                coin,
                now=now,
                quote=self._market.quotes.get(coin.revenue_feed),
                feeds=farm.feeds.keys(),
                secrets=farm.secrets,
                miners_namespace=self._miners_namespace,
                measured=self._learner.measured(coin),
                problem=problems.get(("coins", coin.name), ""),
            )
            commands += self._write("coins", coin, status, now=now)
        for feed in farm.feeds.values():
            status = feed_status.status(
                feed, now=now, state=self._feeds.state(feed.name), problem=problems.get(("pricefeeds", feed.name), "")
            )
            commands += self._write("pricefeeds", feed, status, now=now)
        self._measure(farm, members, held, now)
        return commands

    def _sites(
        self, farm: model.Farm, problems: Mapping[tuple[str, str], str], *, now: datetime.datetime
    ) -> list[cmd.Command]:
        counts: collections.Counter[str] = collections.Counter(rig.site for rig in farm.rigs.values())
        gone: collections.Counter[str] = collections.Counter(
            rig.site for rig in farm.rigs.values() if rig.node_name not in farm.nodes
        )
        rates = self._rates()
        commands: list[cmd.Command] = []
        for site in farm.sites.values():
            quote = self._market.quotes.get(site.tariff.feed) if isinstance(site.tariff, model.FeedTariff) else None
            status = site_status.status(
                site,
                now=now,
                rigs=counts[site.name],
                rigs_gone=gone[site.name],
                usd_per_kwh=rates.get(site.name),
                quote=quote,
                loads=None if self._loads is None else self._carried(site),
                problem=problems.get(("sites", site.name), ""),
            )
            commands += self._write("sites", site, status, now=now)
        self._metrics.replace(self._metrics.rigs_gone, {(name,): float(gone[name]) for name in farm.sites})
        self._metrics.replace(
            self._metrics.electricity_usd_per_kilowatt_hour, {(name,): rate for name, rate in rates.items()}
        )
        return commands

    def _carried(self, site: model.Site) -> dict[str, draw.Load]:
        """What a Site's circuits carry, by name. One that came after the last plan has no figures yet."""
        loads = {name: (self._loads or {}).get(compose.circuit_key(site.name, name)) for name in site.circuits}
        return {name: load for name, load in loads.items() if load is not None}

    def _rates(self) -> dict[str, float]:
        """$ per kWh by site, as far as it has rigs that were valued."""
        classes = self._valuation.classes.values() if self._valuation is not None else ()
        return {found.rig_class.site: found.usd_per_kwh for found in classes if found.usd_per_kwh is not None}

    def _measure(
        self,
        farm: model.Farm,
        members: Mapping[str, Collection[str]],
        held: Mapping[str, rec.Record],
        now: datetime.datetime,
    ) -> None:
        rigs: collections.Counter[tuple[str, str]] = collections.Counter()
        mining: collections.Counter[tuple[str, str]] = collections.Counter()
        for pool, names_ in members.items():
            for name in names_:
                record = held.get(name)
                mode = "none" if record is None else record.mode.kind.value if record.settled else names.SWITCHING
                rigs[pool, mode.lower()] += 1
                if record is not None and record.settled and record.mode.kind is model.ModeKind.MINING:
                    mining[pool, record.mode.name] += 1
        metrics = self._metrics
        metrics.replace(metrics.rigs, {key: float(count) for key, count in rigs.items()})
        metrics.replace(metrics.rigs_mining, {key: float(count) for key, count in mining.items()})
        metrics.replace(
            metrics.net_usd_per_hour,
            {
                (pool,): pool_status.net_usd_per_hour(names_, records=held, valuation=self._valuation)
                for pool, names_ in members.items()
            },
        )
        states = collections.Counter(job.state.value for job in farm.jobs.values())
        metrics.replace(metrics.jobs, {(state.value,): float(states[state.value]) for state in model.JobState})
        quotes_ = self._feeds.market(now).quotes
        metrics.replace(metrics.feed_trust, {(name,): quote.trust for name, quote in quotes_.items()})
        metrics.replace(metrics.feed_value, {(name,): quote.value for name, quote in quotes_.items()})
        metrics.replace(
            metrics.feed_age_seconds,
            {(name,): max(0.0, (now - quote.as_of).total_seconds()) for name, quote in quotes_.items()},
        )
        if self._reply is not None:
            held_back = collections.Counter(
                farm.pool_of.get(name, "") for name, decision in self._reply.decisions.items() if decision.held_by
            )
            metrics.replace(metrics.moves_pending, {(pool,): float(held_back[pool]) for pool in members})

    def _write(
        self,
        plural: str,
        thing: model.Site | model.Rig | model.Pool | model.Coin | model.Feed,
        status: Mapping[str, object],
        *,
        now: datetime.datetime,
        every: datetime.timedelta = datetime.timedelta(0),
    ) -> list[cmd.Command]:
        patch = writes.patch(
            _ref(plural, thing.name), old=thing.status, new=status, now=now, figures_every=every, uid=thing.uid
        )
        self._metrics.status_writes.labels(_KINDS[plural], "unchanged" if patch is None else "written").inc()
        return [patch] if patch is not None else []


def _ref(plural: str, name: str, namespace: str | None = None) -> cmd.Ref:
    return cmd.Ref(api_version=names.API_VERSION, kind=_KINDS[plural], plural=plural, name=name, namespace=namespace)


def _pods(farm: model.Farm, job: model.Job) -> Iterable[model.Pod]:
    nodes = {farm.rigs[placement.rig].node_name for placement in job.placement if placement.rig in farm.rigs}
    for node in nodes:
        for key in farm.pods_on.get(node, frozenset()):
            pod = farm.pods[key]
            if pod.job == job.name and pod.namespace == job.namespace:
                yield pod
