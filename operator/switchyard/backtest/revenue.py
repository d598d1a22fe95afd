"""Coins of a scenario, and what each group's GPUs mine of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from switchyard.backtest import columns, markets, script, sources, timeline

Floats = timeline.Floats


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mined:
    """Coins, and by group and coin what one GPU does."""

    coins: tuple[script.CoinScript, ...]
    yields: Mapping[str, Mapping[str, script.Yield]]


def mined(files: sources.Sources) -> Mined:
    """All coins with their yields.

    A coin with a revenue per GPU and several models becomes a coin per model, `name@model`. Changes of a yield become
    changes of the coin's revenue: they must be the same, as a factor, in all groups that mine it.

    Raises:
        ScenarioError: a group's yields do not fit a coin, or files cannot be used.
        MissingDataError: data from outside is not there.
    """
    coins: list[script.CoinScript] = []
    yields: dict[str, dict[str, script.Yield]] = {name: {} for name in files.scene.groups}
    for name, coin in files.scene.coins.items():
        miners = [group for group, each in files.scene.groups.items() if name in each.yields]
        if coin.revenue.per_gpu is not None:
            _per_gpu(files, name, coin, coin.revenue.per_gpu, miners=miners, coins=coins, yields=yields)
            continue
        factor: Floats | None = None
        for group in miners:
            each, found = _yield(files, group, name)
            if factor is not None and not np.allclose(factor, found, rtol=1e-9, atol=0):
                raise files.error(
                    f"groups.{group}.yields.{name}",
                    f"changes otherwise than in group {miners[0]}; give each group a coin of its own (with the same "
                    "revenue, bounded by from and until)",
                )
            factor = found
            yields[group][name] = each
        revenue = _alive(files, f"coins.{name}", coin, functools.partial(_revenue, name=name, coin=coin))
        if factor is not None:
            revenue = revenue * factor
        coins.append(script.CoinScript(name=name, usd_per_unit_hour=revenue, fee=coin.fee))
    return Mined(coins=tuple(coins), yields=yields)


def _per_gpu(
    files: sources.Sources,
    name: str,
    coin: markets.Coin,
    prices: Mapping[str, float | columns.MoneySeries],
    *,
    miners: list[str],
    coins: list[script.CoinScript],
    yields: dict[str, dict[str, script.Yield]],
) -> None:
    names = {gpu: name if len(prices) == 1 else f"{name}@{gpu}" for gpu in prices}
    for gpu, price in prices.items():
        hourly = price if isinstance(price, columns.MoneySeries) else price / 24
        revenue = _alive(files, f"coins.{name}", coin, functools.partial(sources.Sources.money, value=hourly))
        coins.append(script.CoinScript(name=names[gpu], usd_per_unit_hour=revenue, fee=coin.fee))
    for group in miners:
        place, model = f"groups.{group}.yields.{name}", files.scene.groups[group].gpu
        if model not in names:
            raise files.error(place, f"coins.{name}.revenue.perGpu has no {model}; it has {', '.join(names)}")
        entries = _entries(files, group, name)
        if len(entries) > 1 or entries[0].hashrate is not None:
            raise files.error(place, "must be just watts: the coin's revenue is perGpu")
        # One unit of "hash rate" is one GPU.
        yields[group][names[model]] = script.Yield(hashrate=1.0, watts=entries[0].watts)


def _entries(files: sources.Sources, group: str, coin: str) -> tuple[markets.Yield, ...]:
    given = files.scene.groups[group].yields[coin]
    return (given,) if isinstance(given, markets.Yield) else given


def _yield(files: sources.Sources, group: str, name: str) -> tuple[script.Yield, Floats]:
    """What one GPU does at the scenario's first step, and the factor by which that changes, per step."""
    place = f"groups.{group}.yields.{name}"
    unit = files.scene.coins[name].unit
    entries = _entries(files, group, name)
    starts = files.axis.edges[:-1]
    rates, watts = np.zeros(files.axis.steps), np.zeros(files.axis.steps)
    before = -np.inf
    for index, entry in enumerate(entries):
        if entry.hashrate is None or unit is None:
            raise files.error(place, "needs hashrate, in the coin's unit")
        if (entry.start is None) != (index == 0):
            raise files.error(place, "the first entry must have no from, and all others must")
        since = -np.inf if entry.start is None else files.seconds(entry.start)
        if since <= before and index:
            raise files.error(place, "the moments in from must rise from entry to entry")
        before = since
        rates[starts >= since] = entry.hashrate * columns.to_canonical_rate(unit.value)
        watts[starts >= since] = entry.watts
    if np.ptp(watts) > 0:
        raise files.error(
            place, "watts must not change within the scenario; make two coins of it, bounded by until and from"
        )
    return script.Yield(hashrate=float(rates[0]), watts=float(watts[0])), rates / rates[0]


def _life(files: sources.Sources, place: str, coin: markets.Coin) -> tuple[int, int]:
    """First step at which a coin is mined, and first step after."""
    starts = files.axis.edges[:-1]
    first = 0 if coin.start is None else int(np.searchsorted(starts, files.seconds(coin.start), side="left"))
    last = files.axis.steps if coin.end is None else int(np.searchsorted(starts, files.seconds(coin.end), side="left"))
    if first >= last:
        raise files.error(place, "is never mined within the scenario: from and until leave nothing; leave the coin out")
    return first, last


def _alive(
    files: sources.Sources, place: str, coin: markets.Coin, revenue: Callable[[sources.Sources], Floats]
) -> Floats:
    """A coin's revenue, 0 before `from` and after `until`: its files need not go beyond these."""
    first, last = _life(files, place, coin)
    axis = dataclasses.replace(files.axis, start=float(files.axis.edges[first]), steps=last - first)
    found = np.zeros(files.axis.steps)
    found[first:last] = revenue(files.over(axis))
    if (found < 0).any():
        raise files.error(place, "is below 0 somewhere within the scenario; correct the file, its scale or where")
    return found


def _revenue(files: sources.Sources, name: str, coin: markets.Coin) -> Floats:
    place, revenue = f"coins.{name}.revenue", coin.revenue
    if revenue.fixed is not None:
        factor = columns.money_unit(revenue.fixed.unit).factor
        return np.full(files.axis.steps, revenue.fixed.value * factor)
    if revenue.series is not None:
        return files.money(revenue.series)
    assert revenue.network is not None  # noqa: S101  the model demands one of the four
    return _from_network(files, place, revenue.network, unit=coin.unit)


def _from_network(files: sources.Sources, place: str, network: markets.Network, *, unit: str | None) -> Floats:
    """$ per hour and GH/s (or Sol/s): price x coins per hour of a miner who is that share of the network."""
    price = files.number(network.usd_per_coin)
    if network.hashrate is not None and network.issued_per_day is not None and network.hashrate_unit is not None:
        coins = files.number(network.issued_per_day) + files.number(network.fees_per_day or 0.0)
        rate = files.number(network.hashrate) * columns.to_canonical_rate(network.hashrate_unit)
        what = "hashrate"
    else:
        assert network.block_reward is not None  # noqa: S101  the model demands the other three
        assert network.difficulty is not None  # noqa: S101
        assert network.hashes_per_difficulty is not None  # noqa: S101
        # A GH/s (or Sol/s) finds 86400 x rate / (difficulty x hashes per difficulty) blocks a day.
        coins = 86400 * files.number(network.block_reward)
        hashes = network.hashes_per_difficulty * (1.0 if unit == columns.SOLUTIONS else 1e-9)
        rate = files.number(network.difficulty) * hashes
        what = "difficulty"
    if (rate <= 0).any():
        raise files.error(f"{place}.network.{what}", "must be above 0 in every row within the scenario")
    return price * coins / rate / 24
