"""The composition root: the only place that reads the environment and wires parts."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import gc
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import kopf

import switchyard
from switchyard import clock as clocks
from switchyard import handlers
from switchyard.cluster import commands, names
from switchyard.fleet import store as stores
from switchyard.handover import machine
from switchyard.kube import client as kube
from switchyard.kube import credentials, errors, executor, reflector
from switchyard.loop import cycle, keeping
from switchyard.market import feeds as feeding
from switchyard.telemetry import logs, metrics, server

_LOG = logging.getLogger(__name__)

RIGS: Final = kube.Resource(api_version=names.API_VERSION, plural="rigs", kind="Rig", namespaced=False)
AIJOBS: Final = kube.Resource(api_version=names.API_VERSION, plural="aijobs", kind="AIJob", namespaced=True)
NODES: Final = kube.Resource(api_version="v1", plural="nodes", kind="Node", namespaced=False)
PODS: Final = kube.Resource(api_version="v1", plural="pods", kind="Pod", namespaced=True)
JOBS: Final = kube.Resource(api_version="batch/v1", plural="jobs", kind="Job", namespaced=True)
SECRETS: Final = kube.Resource(api_version="v1", plural="secrets", kind="Secret", namespaced=True)
FEW: Final = tuple(
    kube.Resource(api_version=names.API_VERSION, plural=plural, kind=kind, namespaced=False)
    for plural, kind in (("sites", "Site"), ("gpupools", "GPUPool"), ("coins", "Coin"), ("pricefeeds", "PriceFeed"))
)

_SWEEP_SECONDS: Final = 300.0
_LOGIN_LASTS: Final = datetime.timedelta(minutes=30)
_WALLET_SECONDS: Final = 2.0
_STUCK_SECONDS: Final = 300.0
_LAST_WORDS_SECONDS: Final = 5.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `switchyard run` can be told.

    Attributes:
        kubeconfig: path; None for the usual places (KUBECONFIG, ~/.kube/config, the Pod's own service account).
        miners_namespace: where miner Pods and wallet Secrets live.
        plan_seconds: farm time between planning ticks.
        host, port: where /metrics, /healthz and /readyz are served; port 0 picks a free one.
        log_level: of the root logger.
        log_json: JSON lines, plain ones, or None: plain in a terminal.
        replay_start, replay_epoch, replay_speed: farm time instead of real time (see `clock.ReplayClock`).
        handover_patience: factor on every deadline and wait of a hand-over (see `handover.settings`).
        writes_per_second: bound on what the API server is asked to change.
        prices: folder of price files; feeds may name files in it only. None: any path.
        memory_name: of the ConfigMap that keeps what was learned through a restart.
        memory_namespace: where it is; None for the Pod's own namespace, outside a cluster that of the miners.
    """

    kubeconfig: Path | None = None
    miners_namespace: str = "switchyard-miners"
    plan_seconds: float = 60.0
    host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the Pod
    port: int = 8080
    log_level: str = "INFO"
    log_json: bool | None = None
    replay_start: datetime.datetime | None = None
    replay_epoch: float = 0.0
    replay_speed: float = 1.0
    handover_patience: float = 1.0
    writes_per_second: float = 400.0
    prices: Path | None = None
    memory_name: str = "switchyard-memory"
    memory_namespace: str | None = None

    def clock(self) -> clocks.Clock:
        """Real time, or the replay's."""
        if self.replay_start is None:
            return clocks.SystemClock()
        return clocks.ReplayClock(start=self.replay_start, epoch=self.replay_epoch, speed=self.replay_speed)


class Inlet:
    """Where every object enters: the store, and for a PriceFeed its source as well.

    Objects come from kopf, from our watches and from our lists, and may overtake each other. The store knows which is
    the newer; the feeds follow the store.
    """

    def __init__(self, *, store: stores.Store, feeds: feeding.Feeds) -> None:
        self._store = store
        self._feeds = feeds

    def apply(self, plural: str, body: Mapping[str, Any]) -> None:
        """An object was seen, new or changed."""
        self._store.apply(plural, body)
        if plural == "pricefeeds":
            metadata = body["metadata"]
            feed = self._store.snapshot().feeds.get(metadata["name"])
            if feed is not None and feed.uid == metadata["uid"]:
                created = datetime.datetime.fromisoformat(metadata["creationTimestamp"])
                self._feeds.set(feed.name, feed.spec, created, last_good=feed.status.get("lastGood"))

    def remove(self, plural: str, namespace: str | None, name: str, *, resource_version: int | None = None) -> None:
        """An object is gone."""
        self._store.remove(plural, namespace, name, resource_version=resource_version)
        self._forget_feeds(plural)

    def sweep(self, plural: str, present: set[tuple[str | None, str]], *, resource_version: int | None = None) -> None:
        """These and no others exist."""
        self._store.sweep(plural, present, resource_version=resource_version)
        self._forget_feeds(plural)

    def _forget_feeds(self, plural: str) -> None:
        if plural == "pricefeeds":
            for name in self._feeds.names() - set(self._store.snapshot().feeds):
                self._feeds.remove(name)


async def run(options: Options) -> None:
    """Run the operator until it is told to stop (SIGTERM, SIGINT).

    Raises:
        SystemExit: a part of it has failed for good. Started again it continues: the cluster holds all state.
    """
    logs.configure(level=options.log_level, json=options.log_json)
    clock = options.clock()
    access = _credentials(options)
    metric = metrics.Metrics(version=switchyard.__version__)
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(kube.Client(credentials=access))
        store = stores.Store()
        feeds = feeding.Feeds(clock, aiohttp.ClientSession, folder=options.prices)
        inlet = Inlet(store=store, feeds=feeds)
        hands = executor.Executor(
            client=client, writes_per_second=options.writes_per_second, on_result=_count_into(metric)
        )
        news = executor.Executor(
            client=client, workers=4, writes_per_second=options.writes_per_second / 4, on_result=_count_into(metric)
        )
        farm = cycle.Cycle(
            store=store,
            feeds=feeds,
            executor=hands,
            news_executor=news,
            clock=clock,
            metrics=metric,
            settings=cycle.Settings(
                plan_seconds=options.plan_seconds,
                # A replay that plans once a second sees half an hour at a time; ten minutes is what policies live on.
                plan_gap_seconds=min(1.0, clock.real_seconds(600.0)),
                # Nobody reads figures more often than every ten seconds of his own time.
                figures_seconds=max(600.0, 10.0 * options.replay_speed),
                handover=machine.Settings(miner_namespace=options.miners_namespace).stretched(
                    options.replay_speed * options.handover_patience
                ),
            ),
        )
        watches = {
            resource.plural: reflector.Reflector(
                client=client,
                resource=resource,
                sink=inlet,
                on_trouble=_relists_into(metric),
                on_life=metric.watch_event,
            )
            for resource in (RIGS, AIJOBS, NODES, PODS, JOBS)
        }
        memory = keeping.Keeper(
            ref=keeping.ref(name=options.memory_name, namespace=_memory_namespace(options)),
            sections=farm.sections,
            speed=options.replay_speed,
            read=client.get,
            executor=news,
        )
        few_known, wallets_known = asyncio.Event(), asyncio.Event()
        checks = _Checks(farm=farm, watches=watches, few_known=few_known)
        port = await stack.enter_async_context(
            server.serve(
                server.application(metrics=metric, live=checks.live(), ready=checks.ready()),
                host=options.host,
                port=options.port,
            )
        )
        _LOG.info("switchyard %s serves /metrics, /healthz and /readyz on port %d", switchyard.__version__, port)
        # Ours start before kopf does: when it ends, kopf cancels every task that is younger than itself.
        parts = [
            *(asyncio.create_task(watch.run(), name=f"watch of {plural}") for plural, watch in watches.items()),
            asyncio.create_task(feeds.run(), name="feeds"),
            asyncio.create_task(_know_few(client, inlet, few_known), name="lists of the few"),
            asyncio.create_task(
                _know_wallets(client, store, options.miners_namespace, few_known, wallets_known), name="wallets"
            ),
            asyncio.create_task(metric.measure_loop_lag(), name="loop lag"),
            asyncio.create_task(farm.teller.run(), name="teller"),
            asyncio.create_task(_turn(farm, watches, wallets_known, memory), name="cycle"),
            asyncio.create_task(memory.run(), name="memory"),
            asyncio.create_task(_kopf(inlet, access), name="kopf"),
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                # kopf minds the signals: when it ends in good order, somebody asked for it.
                if part.get_name() != "kopf" or part.exception() is not None:
                    _LOG.error("%s has ended, so the operator ends", part.get_name(), exc_info=part.exception())
                    raise SystemExit(1)
            _LOG.info("told to stop; the rigs go on with what they do")
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            await _keep(memory)


def _credentials(options: Options) -> credentials.Credentials:
    """The path that was given, else KUBECONFIG, else the Pod's service account, else the usual file."""
    path = str(options.kubeconfig) if options.kubeconfig else os.environ.get("KUBECONFIG", "")
    if not path and "KUBERNETES_SERVICE_HOST" in os.environ:
        return credentials.in_cluster(environ=os.environ)
    return credentials.from_kubeconfig(path or str(Path.home() / ".kube" / "config"))


def _memory_namespace(options: Options) -> str:
    """Where it was told, else where the Pod is, else with the miners, whose namespace there must be."""
    own = credentials.SERVICE_ACCOUNT / "namespace"
    if options.memory_namespace:
        return options.memory_namespace
    return own.read_text().strip() if own.is_file() else options.miners_namespace


async def _keep(memory: keeping.Keeper) -> None:
    """Once more at the end; a server that does not answer must not keep the operator from ending."""
    try:
        async with asyncio.timeout(_LAST_WORDS_SECONDS):
            await memory.keep()
    except TimeoutError:
        _LOG.warning("the memory could not be written in time: what was learned since its last writing is lost")


async def _turn(
    farm: cycle.Cycle,
    watches: Mapping[str, reflector.Reflector],
    wallets_known: asyncio.Event,
    memory: keeping.Keeper,
) -> None:
    """No plan before the farm is known whole: half a farm looks like one whose other half is free."""
    await asyncio.gather(memory.recall(), wallets_known.wait(), *(watch.synced.wait() for watch in watches.values()))
    # Most of what is there by now stays. Looking it through for garbage again and again takes a fifth of a large plan.
    gc.collect()
    gc.freeze()
    await farm.run()


async def _kopf(inlet: Inlet, access: credentials.Credentials) -> None:
    # The same credentials as everybody's, over a session of its own. kopf asks again when they have run out.
    async def log_in() -> kopf.AiohttpSession:
        now = await access.access()
        return kopf.AiohttpSession(
            server=now.server,
            aiohttp_session=aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=now.tls if now.tls is not None else True),
                headers={"Authorization": now.authorization} if now.authorization else {},
                proxy=now.proxy,
            ),
            expiration=datetime.datetime.now(datetime.UTC) + _LOGIN_LASTS,
        )

    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    handlers.configure(settings)
    handlers.register(registry=registry, sink=inlet, login=log_in)
    await kopf.operator(registry=registry, settings=settings, standalone=True, clusterwide=True)


async def _know_few(client: kube.Client, inlet: Inlet, known: asyncio.Event) -> None:
    """List the kinds that kopf serves.

    At start, since kopf never says when its first list is complete; and from time to time, since after a relist it
    never says what was deleted meanwhile.
    """
    while True:
        try:
            for resource in FEW:
                present: set[tuple[str | None, str]] = set()
                version = ""
                async for page in client.pages(resource):
                    version = page.resource_version
                    for body in page.items:
                        present.add((None, body["metadata"]["name"]))
                        inlet.apply(resource.plural, body)
                inlet.sweep(resource.plural, present, resource_version=int(version) if version.isdigit() else None)
            known.set()
        except errors.KubeError as error:
            _LOG.warning("cannot list %s: %s", resource.plural, error)
        await asyncio.sleep(_SWEEP_SECONDS if known.is_set() else 1.0)


async def _know_wallets(
    client: kube.Client, store: stores.Store, namespace: str, few_known: asyncio.Event, known: asyncio.Event
) -> None:
    """Know which wallet Secrets exist, by metadata alone: what is in them never enters this process."""
    await few_known.wait()
    while True:
        for secret in sorted({coin.wallet_secret for coin in store.snapshot().coins.values()}):
            try:
                store.apply("secrets", await client.get(SECRETS.ref(secret, namespace), metadata_only=True))
            except errors.ApiError as error:
                if error.status == 404:
                    store.remove("secrets", namespace, secret)
                else:
                    _LOG.warning("cannot look for Secret %s/%s: %s", namespace, secret, error)
            except errors.UnreachableError:
                break
        else:
            known.set()
        await asyncio.sleep(_WALLET_SECONDS)


def _count_into(metric: metrics.Metrics) -> Callable[[commands.Result, float], None]:
    def count(result: commands.Result, seconds: float) -> None:
        metric.command(kind=type(result.command).__name__.lower(), outcome=result.outcome.value, seconds=seconds)

    return count


def _relists_into(metric: metrics.Metrics) -> Callable[[str, str], None]:
    def count(plural: str, trouble: str) -> None:
        if trouble == "expired":
            metric.relists.labels(plural).inc()

    return count


@dataclasses.dataclass(slots=True, kw_only=True)
class _Checks:
    """What the probes ask. Ready: the farm is known and plans are made. Live: turns go through, watches hear."""

    farm: cycle.Cycle
    watches: Mapping[str, reflector.Reflector]
    few_known: asyncio.Event

    def ready(self) -> server.Checks:
        return {"farm": self._known, "plan": self._planned}

    def live(self) -> server.Checks:
        return {"turns": self._turning, "watches": self._watching}

    def _known(self) -> str | None:
        missing = [plural for plural, watch in self.watches.items() if not watch.synced.is_set()]
        if not self.few_known.is_set():
            missing.append("sites, pools, coins, feeds")
        return f"still listing {', '.join(missing)}" if missing else None

    def _planned(self) -> str | None:
        return None if self.farm.planned_at is not None else "no plan has been made yet"

    def _turning(self) -> str | None:
        idle = time.monotonic() - self.farm.turned_at
        # Before the first turn the farm is still being listed, which the other check minds.
        if self.farm.planned_at is None or idle < _STUCK_SECONDS:
            return None
        return f"no turn has gone through for {idle:.0f} s, {self.farm.failures} failed in a row"

    def _watching(self) -> str | None:
        now = asyncio.get_running_loop().time()
        silent = [
            plural
            for plural, watch in self.watches.items()
            if watch.synced.is_set() and now - watch.last_event_at > _STUCK_SECONDS
        ]
        return f"nothing heard of {', '.join(silent)} for {_STUCK_SECONDS:.0f} s" if silent else None
