"""Coin: something to mine, and how it is mined."""

from __future__ import annotations

import enum
from typing import Annotated, ClassVar

import pydantic

from switchyard.api import base, fields


class HashrateUnit(enum.StrEnum):
    """Units of hash rates; equihash coins count solutions."""

    H = "H/s"
    KH = "kH/s"
    MH = "MH/s"
    GH = "GH/s"
    SOL = "Sol/s"


Fee = Annotated[float, fields.number(example="0.01", below=1, hint=': a fraction, so 1 % is "0.01"')]

PoolURL = Annotated[
    str,
    pydantic.Field(max_length=256),
    base.Rule(
        rule="self.matches('^(stratum[0-9]?([+](tcp|ssl|tls))?|https?)://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^ ]*)?$')",
        message="must be a pool's address such as stratum+tcp://pool.example.com:4444: scheme stratum, http or https, "
        "without a wallet or password: those come from the Secret",
    ),
]


class Wallet(base.Model):
    """Where the payout address is kept."""

    secret_name: Annotated[fields.Name, fields.name_of("Secret")]
    """Name of a Secret in the miners' namespace."""
    key: Annotated[
        str,
        pydantic.Field(min_length=1, max_length=253),
        base.Rule(
            rule="self.matches('^[A-Za-z0-9._-]+$')",
            message="must be a key of a Secret: letters, digits, '-', '_' and '.'",
        ),
    ] = "address"
    """Key within the Secret. Default address."""


class Miner(base.Model):
    """The program that mines."""

    image: Annotated[
        str,
        pydantic.Field(min_length=1, max_length=512),
        base.Rule(rule="!self.contains(' ')", message="must be a container image, such as ghcr.io/example/miner:1.2"),
    ]
    """Container image of the miner."""
    args: Annotated[tuple[Annotated[str, pydantic.Field(max_length=1024)], ...], pydantic.Field(max_length=64)] = ()
    """Arguments of the miner. Kubernetes puts in $(WALLET), $(POOL) (the first pool), $(POOLS) (all) and $(RIG)."""


class Benchmark(base.Model):
    """What one GPU of a model does on this coin."""

    gpu: fields.GpuModel
    """Model of the GPU, as its Node's label nvidia.com/gpu.product says it."""
    hashrate: Annotated[float, fields.number(example="98.5", least=None, above=0)]
    """Hash rate of one GPU in the coin's unit."""
    watts: Annotated[int, pydantic.Field(ge=1, le=2000)]
    """Watts of one GPU at that rate."""


class CoinSpec(base.Model):
    """How the coin is mined and what it pays."""

    algorithm: Annotated[
        str,
        pydantic.Field(max_length=63),
        base.Rule(
            rule="self.matches('^[A-Za-z0-9][A-Za-z0-9._/-]*$')",
            message='must be the name of an algorithm, such as "kawpow"',
        ),
    ]
    """Proof-of-work algorithm, such as kawpow or etchash."""
    unit: HashrateUnit
    """Unit of the hash rates in benchmarks."""
    revenue_feed: Annotated[fields.Name, fields.name_of("PriceFeed")]
    """Name of a PriceFeed of quantity CoinRevenue: what one unit of hash rate earns, before fees and power."""
    pool_fee: Fee = pydantic.Field("0.01", validate_default=True)
    """Share of the revenue that the pool keeps, a fraction from 0 to below 1. Default 0.01."""
    dev_fee: Fee = pydantic.Field("0.01", validate_default=True)
    """Share of the hash rate that the miner's developer takes, a fraction from 0 to below 1. Default 0.01."""
    min_gpu_memory: fields.Memory | None = None
    """Memory a GPU must have to hold the coin's dataset, such as 6Gi. Default: any GPU will do."""
    startup: Annotated[float, fields.duration(example="30s", most="1h")] = pydantic.Field("30s", validate_default=True)
    """Time from the miner's start until it hashes, dataset included. Part of what a switch costs. Default 30s."""
    wallet: Wallet
    """Where the payout address is kept."""
    pools: Annotated[tuple[PoolURL, ...], pydantic.Field(min_length=1, max_length=8)]
    """Addresses of mining pools, the first is used and the others take over in their order."""
    miner: Miner
    """The program that mines."""
    benchmarks: Annotated[tuple[Benchmark, ...], pydantic.Field(max_length=128), base.map_keyed_by("gpu")] = ()
    """What GPUs do on this coin. A rig with a model that is missing here cannot mine it."""


class MeasuredBenchmark(base.Model):
    """What one GPU of a model really does on this coin, as the farm's rigs measured it."""

    gpu: str
    """Model of the GPU."""
    hashrate: str
    """Hash rate of one GPU in the coin's unit."""
    watts: int
    """Watts of one GPU at that rate."""


class CoinStatus(base.Status):
    """What the coin pays now, and what GPUs really do on it."""

    usd_per_unit_hour: str | None = None
    """Revenue of one unit of hash rate before fees, US dollars per hour. Absent while no price is trusted."""
    benchmarks: Annotated[tuple[MeasuredBenchmark, ...], pydantic.Field(max_length=128), base.map_keyed_by("gpu")] = ()
    """Benchmarks as the rigs measured them; they are used in place of the spec's. Absent where none was measured."""


class Coin(base.Resource):
    """Something to mine: its algorithm, what it pays, which miner and pools serve it, and what each GPU does on it."""

    names: ClassVar = base.Names(
        kind="Coin",
        plural="coins",
        singular="coin",
        columns=(
            base.Column(name="Algorithm", path=".spec.algorithm"),
            base.Column(name="Unit", path=".spec.unit"),
            base.Column(name="$/unit/h", path=".status.usdPerUnitHour", description="Revenue of one unit of hash rate"),
            base.condition_column("PriceTrusted"),
            base.condition_column("WalletFound", name="Wallet"),
            base.condition_column("Ready"),
            base.Column(name="Feed", path=".spec.revenueFeed", priority=1),
            base.condition_column("Ready", name="Reason", field="reason", priority=1),
            base.AGE,
        ),
    )
    # The name stands in labels, in names of Pods and in the power profile mining.NAME, where a dot would mislead.
    rules: ClassVar = (base.name_rule(dots=False),)

    spec: CoinSpec
    status: CoinStatus = CoinStatus()
