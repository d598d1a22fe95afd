"""What the GPUs of a rig earn on a coin, before power."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from switchyard.fleet import model
from switchyard.market import quotes
from switchyard.valuation import nameplate, power, values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Yielded:
    """A rig on a coin: GH/s (or Sol/s), and the watts of all its GPUs (those that rest included)."""

    hashrate: float
    gpu_watts: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """A rig on a coin: $/h before fees, and of fees."""

    revenue_usd_per_hour: float
    fees_usd_per_hour: float


def profile(gpu: model.Gpu, profiles: Mapping[str, model.PowerProfile]) -> model.PowerProfile:
    """Watts of a GPU at work and at rest: the pool's word, else the nameplate's."""
    return profiles.get(gpu.model) or nameplate.profile(gpu.model)


def quoted(coin: model.Coin, market: quotes.Market) -> quotes.Quote | values.Refusal:
    """What a unit of hash rate earns on a coin, in USD per (GH/s) and hour (Sol/s coins: per (Sol/s) and hour)."""
    mode = model.mining(coin.name)
    quote = market.trusted(coin.revenue_feed)
    if quote is None:
        return values.Refusal(mode=mode, reason="NoTrustedPrice", lacks=power.untrusted(market, coin.revenue_feed))
    if quote.quantity != quotes.Quantity.COIN_REVENUE:
        lacks = f"PriceFeed {coin.revenue_feed} quotes {quote.quantity}, not CoinRevenue"
        return values.Refusal(mode=mode, reason="NoTrustedPrice", lacks=lacks)
    if quote.unit and ("Sol/s" in quote.unit) != (coin.unit == "Sol/s"):
        lacks = f"PriceFeed {coin.revenue_feed} quotes {quote.unit}, but the coin's hash rates are in {coin.unit}"
        return values.Refusal(mode=mode, reason="NoTrustedPrice", lacks=lacks)
    return quote


def yielded(
    *, coin: model.Coin, hardware: model.Hardware, profiles: Mapping[str, model.PowerProfile]
) -> Yielded | values.Refusal:
    """What a rig does on a coin.

    A GPU without a benchmark, or with less memory than the coin's dataset needs, does not mine and draws idle watts.
    With no GPU left that mines, the coin is refused.

    Args:
        coin: the coin; its benchmarks are in GH/s (Sol/s coins: Sol/s).
        hardware: the rig's.
        profiles: watts per GPU model, from the pool.
    """
    hashrate = watts = 0.0
    mining = False
    for gpu in hardware.gpus:
        benchmark = coin.benchmarks.get(gpu.model)
        if benchmark is None or gpu.memory_mib < coin.min_gpu_memory_mib:
            watts += profile(gpu, profiles).idle_watts
            continue
        mining = True
        hashrate += benchmark.hashrate
        watts += benchmark.watts
    if not mining:
        return _refusal(coin, hardware)
    return Yielded(hashrate=hashrate, gpu_watts=watts)


def mined(coin: model.Coin, done: Yielded, *, usd_per_hash_hour: float) -> Mined:
    """What a rig earns on a coin, at so many USD per (GH/s) and hour (Sol/s coins: per (Sol/s) and hour)."""
    gross = done.hashrate * usd_per_hash_hour
    # The pool pays out its share less its fee; the miner's developer takes his part of what is then left.
    kept = gross * (1 - coin.pool_fee) * (1 - coin.dev_fee)
    return Mined(revenue_usd_per_hour=gross, fees_usd_per_hour=gross - kept)


def _refusal(coin: model.Coin, hardware: model.Hardware) -> values.Refusal:
    mode = model.mining(coin.name)
    known = [gpu for gpu in hardware.gpus if gpu.model in coin.benchmarks]
    if not known:
        models = ", ".join(sorted({gpu.model for gpu in hardware.gpus}))
        return values.Refusal(mode=mode, reason="NoBenchmark", lacks=f"no benchmark of {models} for {coin.name}")
    most = max(gpu.memory_mib for gpu in known)
    return values.Refusal(
        mode=mode,
        reason="NotEnoughGpuMemory",
        lacks=f"needs {gib(coin.min_gpu_memory_mib)} GiB of GPU memory, the rig's cards have {gib(most)}",
    )


def gib(mib: float) -> str:
    """Mebibytes as people read them: GiB with one decimal, rounded down so that 7.99 never looks like 8.0."""
    return f"{int(mib * 10 / 1024) / 10:.1f}"
