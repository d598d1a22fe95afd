"""The farm of a Script as the operator knows farms. It stands still: what moves are prices, jobs and modes."""

from __future__ import annotations

from typing import Final

import immutables

from switchyard.backtest import script as scripts
from switchyard.fleet import model

_NOBODY: Final = model.Selector()


def power_feed(site: str) -> str:
    """Name of the feed of a site's price of power."""
    return f"power-{site}"


def coin_feed(coin: str) -> str:
    """Name of the feed of a coin's revenue."""
    return f"coin-{coin}"


def rig_name(group: scripts.GroupScript, index: int) -> str:
    """Name of a rig of a group."""
    return f"{group.name}-{index:04d}"


def build(script: scripts.Script) -> model.Farm:
    """Sites, pools (one per group), coins and rigs."""
    sites = {site.name: _site(site) for site in script.sites}
    pools = {group.name: _pool(group) for group in script.groups}
    coins = {coin.name: _coin(script, coin) for coin in script.coins}
    rigs: dict[str, model.Rig] = {}
    pool_of: dict[str, str] = {}
    for group in script.groups:
        gpu = model.Gpu(model=_gpu(group), memory_mib=group.gpu_memory_mib)
        hardware = model.Hardware(gpus=(gpu,) * group.gpus_per_rig)
        for index in range(group.rigs):
            name = rig_name(group, index)
            pool_of[name] = group.name
            rigs[name] = model.Rig(
                name=name,
                uid=name,
                generation=1,
                resource_version="1",
                node_name=name,
                site=group.site,
                labels={},
                pin=model.Pin.AUTO,
                maintenance=False,
                base_watts=_watts(group.base_watts),
                hardware=hardware,
                readback=None,
                status={},
            )
    return model.Farm(
        sites=immutables.Map(sites),
        pools=immutables.Map(pools),
        coins=immutables.Map(coins),
        rigs=immutables.Map(rigs),
        pool_of=immutables.Map(pool_of),
    )


def _site(site: scripts.SiteScript) -> model.Site:
    return model.Site(
        name=site.name,
        uid=site.name,
        generation=1,
        node_selector=_NOBODY,
        jurisdiction="",
        time_zone=site.time_zone,
        tariff=model.FeedTariff(feed=power_feed(site.name), adder_usd_per_kwh=0.0),
        pue=site.pue,
        status={},
    )


def _pool(group: scripts.GroupScript) -> model.Pool:
    return model.Pool(
        name=group.name,
        uid=group.name,
        generation=1,
        rig_selector=_NOBODY,
        gpu_models=(),
        enforce=True,
        coins=tuple(group.yields),
        workload_classes=frozenset(model.WorkloadClass) if group.ai else frozenset(),
        idle=group.idle,
        off=group.off,
        power={_gpu(group): model.PowerProfile(ai_watts=_watts(group.ai_watts), idle_watts=_watts(group.idle_watts))},
        off_watts=_watts(group.off_watts),
        max_switching="100%",
        status={},
    )


def _coin(script: scripts.Script, coin: scripts.CoinScript) -> model.Coin:
    return model.Coin(
        name=coin.name,
        uid=coin.name,
        generation=1,
        algorithm="",
        unit="GH/s",
        revenue_feed=coin_feed(coin.name),
        pool_fee=coin.fee,
        dev_fee=0.0,
        min_gpu_memory_mib=0,
        startup_seconds=0.0,
        wallet_secret="",
        wallet_key="",
        pool_urls=(),
        miner_image="",
        miner_args=(),
        benchmarks={
            _gpu(group): model.Benchmark(
                hashrate=group.yields[coin.name].hashrate, watts=_watts(group.yields[coin.name].watts)
            )
            for group in script.groups
            if coin.name in group.yields
        },
        status={},
    )


def _gpu(group: scripts.GroupScript) -> str:
    """The name of a group's GPUs: two groups may tune the same card differently."""
    return f"{group.gpu} of {group.name}"


def _watts(watts: float) -> int:
    """Watts as the farm has them: whole. Fractions pass unchanged, for valuation only multiplies them."""
    return int(watts) if float(watts).is_integer() else watts  # type: ignore[return-value]
