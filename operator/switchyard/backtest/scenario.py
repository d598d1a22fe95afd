"""Scenario files of a back-test: a farm, its markets and its customers, taken from YAML and CSV files of any shape.

`load` reads the YAML; `build.build` reads the files it names and makes a `script.Script` of both.
"""

from __future__ import annotations

import datetime
import pathlib
import zoneinfo
from typing import Annotated, Literal, Self

import pydantic

from switchyard.api import coin as coins
from switchyard.api import site as sites
from switchyard.backtest import columns, reading
from switchyard.fleet import model

ScenarioError = reading.ScenarioError
MissingDataError = reading.MissingDataError

Model = columns.Model
Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
Price = Annotated[float, pydantic.Field(gt=-10, lt=10)]


class Window(Model):
    """Hours of the week with their own price, in the site's time zone."""

    days: Annotated[tuple[sites.Day, ...], pydantic.Field(min_length=1, max_length=7)] = tuple(sites.Day)
    """Days on which the window begins. Default: every day."""
    start: columns.ClockTime = pydantic.Field(alias="from")
    """First minute of the window, HH:MM."""
    end: columns.ClockTime = pydantic.Field(alias="to")
    """First minute after it. Not later than from: it runs past midnight; equal: a whole day."""
    usd_per_kilowatt_hour: Price
    """Price within the window."""


class TimeOfUse(Model):
    """A price by the hour of the week."""

    windows: Annotated[tuple[Window, ...], pydantic.Field(min_length=1)]
    """Hours with their own price. Where windows overlap the first one counts."""
    otherwise: Price
    """$/kWh outside all windows."""


class Forecast(Model):
    """Forecasts of the price, day by day: at publishedAt, every hour of one local day becomes known."""

    column: str | None = None
    """Column of the forecast in the file of the price; the price's own column where the market settles a day ahead."""
    series: columns.MoneySeries | None = None
    """The forecast in a file of its own."""
    published_at: columns.ClockTime
    """Local time of publication."""
    days_before: Annotated[int, pydantic.Field(ge=0, le=7)] = 1
    """How many days before the day it speaks of. Default 1."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("column", "series")
        if self.series is not None:
            columns.check_kind(self.series, wanted="energy", example="USD/MWh")
        return self


class Tariff(Model):
    """What power costs: exactly one of fixed, timeOfUse and series."""

    fixed: Price | None = None
    """$/kWh, always the same."""
    time_of_use: TimeOfUse | None = None
    """By the hour of the week, in the site's time zone."""
    series: columns.MoneySeries | None = None
    """From a file; unit USD/kWh, USD/MWh, EUR/MWh, ct/kWh, ..."""
    adder_usd_per_kilowatt_hour: Price = 0.0
    """Grid fees and taxes on top; below 0 for a rebate."""
    forecast: Forecast | None = None
    """What is known of the series ahead of time. Without it policies see only the present price."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("fixed", "time_of_use", "series")
        if self.series is not None:
            columns.check_kind(self.series, wanted="energy", example="USD/MWh")
        if self.forecast is not None and self.series is None:
            raise ValueError("forecast needs series: other tariffs are known anyway")
        return self


class Site(Model):
    """A place with one price of power."""

    time_zone: columns.TimeZone = "UTC"
    """Zone of the tariff's windows and of the hour at which forecasts are published."""
    tariff: Tariff
    """What power costs."""
    pue: Annotated[float, pydantic.Field(ge=1, le=3)] = 1.0
    """Watts at the meter for each watt of a rig."""
    circuits: dict[Name, columns.Positive] = pydantic.Field(default_factory=dict)
    """Watts that the rigs of each circuit may draw in all."""


class FixedRevenue(Model):
    """A revenue that never changes."""

    value: columns.NotNegative
    """How much."""
    unit: str
    """Such as USD/(MH/s)/day."""

    @pydantic.model_validator(mode="after")
    def _dollars(self) -> Self:
        if columns.money_unit(self.unit).currency != "USD":
            raise ValueError(f"unit {self.unit} must be in USD")
        return self


class Network(Model):
    """Revenue from what the network pays out: price x (issued + fees) / hash rate, or price x reward / difficulty."""

    usd_per_coin: columns.Number
    """Price of a coin."""
    issued_per_day: columns.Number | None = None
    """New coins per day, all miners together."""
    fees_per_day: columns.Number | None = None
    """With issuedPerDay: coins of fees per day, all miners together."""
    hashrate: columns.Number | None = None
    """Hash rate of the network, in hashrateUnit."""
    hashrate_unit: Literal["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "Sol/s"] | None = None
    """Unit of hashrate."""
    block_reward: columns.Number | None = None
    """Coins per block."""
    difficulty: columns.Number | None = None
    """Difficulty of a block."""
    hashes_per_difficulty: columns.Positive | None = None
    """Hashes (or solutions) that a block of difficulty 1 takes on average: 1 for ETH, 2^32 = 4294967296 for BTC."""

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        by_rate = (self.issued_per_day, self.hashrate, self.hashrate_unit)
        by_difficulty = (self.block_reward, self.difficulty, self.hashes_per_difficulty)
        for way, other in ((by_rate, by_difficulty), (by_difficulty, (*by_rate, self.fees_per_day))):
            if all(part is not None for part in way) and all(part is None for part in other):
                return self
        raise ValueError(
            "needs either issuedPerDay, hashrate and hashrateUnit, or blockReward, difficulty and hashesPerDifficulty"
        )


class Revenue(Model):
    """What a coin earns, before fees: exactly one of fixed, series, network and perGpu."""

    fixed: FixedRevenue | None = None
    """Per unit of hash rate, always the same."""
    series: columns.MoneySeries | None = None
    """Per unit of hash rate, from a file; unit such as USD/(H/s)/day."""
    network: Network | None = None
    """From price, issuance and hash rate of the network."""
    per_gpu: Annotated[dict[str, columns.Money], pydantic.Field(min_length=1)] | None = None
    """By GPU model: what one GPU earns, a number in $ per day or a series in USD/day or USD/hour. Yields of such a coin
    have only watts."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("fixed", "series", "network", "per_gpu")
        for price in (self.per_gpu or {}).values():
            columns.check_kind(price, wanted="hours", example="USD/day")
        return self


class Coin(Model):
    """Something to mine."""

    unit: coins.HashrateUnit | None = None
    """Unit of the hash rates in yields. Needed unless revenue is perGpu."""
    revenue: Revenue
    """What it earns."""
    fee: columns.Share = 0.0
    """Share that the pool and the miner's developer keep."""
    start: columns.Moment | None = pydantic.Field(None, alias="from")
    """Before this moment it earns nothing."""
    end: columns.Moment | None = pydantic.Field(None, alias="until")
    """From this moment on it earns nothing."""

    @pydantic.model_validator(mode="after")
    def _units_fit(self) -> Self:
        if (self.unit is None) != (self.revenue.per_gpu is not None):
            raise ValueError("needs unit, the unit of the hash rates in yields, unless revenue is perGpu")
        if self.unit is None:
            return self
        wanted = "solutions" if self.unit == columns.SOLUTIONS else "hashrate"
        if self.revenue.series is not None:
            columns.check_kind(self.revenue.series, wanted=wanted, example=f"USD/({self.unit.value})/day")
        fixed, network = self.revenue.fixed, self.revenue.network
        if fixed is not None and columns.money_unit(fixed.unit).kind != wanted:
            raise ValueError(f"revenue.fixed.unit {fixed.unit} does not fit: write USD/({self.unit.value})/day")
        if network is not None and network.hashrate_unit is not None:
            counted = "solutions" if network.hashrate_unit == columns.SOLUTIONS else "hashrate"
            if counted != wanted:
                raise ValueError(
                    f"hashrateUnit {network.hashrate_unit} and unit {self.unit.value} cannot be converted: "
                    "solutions and hashes are counted differently"
                )
        return self


class Yield(Model):
    """What one GPU does on a coin, perhaps from some moment on."""

    hashrate: columns.Positive | None = None
    """In the coin's unit; not for coins whose revenue is perGpu."""
    watts: columns.NotNegative
    """Watts of the GPU at that rate."""
    start: columns.Moment | None = pydantic.Field(None, alias="from")
    """From when; the first of a list has none."""


class Group(Model):
    """Rigs that are all alike."""

    site: str
    """Name of the site they stand at."""
    circuit: str = ""
    """Which of the site's circuits feeds them."""
    rigs: Annotated[int, pydantic.Field(ge=1, le=100_000)]
    """How many."""
    gpus_per_rig: Annotated[int, pydantic.Field(ge=1, le=64)] = 1
    """GPUs in each."""
    gpu: Annotated[str, pydantic.Field(min_length=1, max_length=63)]
    """Model of the GPU."""
    gpu_memory_mib: Annotated[int, pydantic.Field(ge=1)] = 8192
    """Memory of one GPU."""
    yields: dict[str, Yield | Annotated[tuple[Yield, ...], pydantic.Field(min_length=1)]] = pydantic.Field(
        default_factory=dict
    )
    """By coin: what one GPU does. A list gives changes: the first entry without from, the others with."""
    ai: bool = True
    """Whether they may do AI work."""
    idle: bool = True
    """Whether they may stand idle."""
    off: bool = True
    """Whether they may be powered off."""
    ai_watts: columns.NotNegative
    """Of one GPU at AI work."""
    idle_watts: columns.NotNegative
    """Of one GPU at rest."""
    base_watts: columns.NotNegative = 0.0
    """Of a rig beside its GPUs."""
    off_watts: columns.NotNegative = 0.0
    """Of a whole rig that is off."""

    @property
    def gpus(self) -> int:
        """GPUs of all its rigs."""
        return self.rigs * self.gpus_per_rig


class Quantity(Model):
    """A number in a column of a list of jobs."""

    column: str
    """Which."""
    scale: columns.Positive = 1.0
    """It is multiplied by this; 60 makes seconds of minutes."""


class Bounds(Model):
    """What numbers of a column are kept."""

    least: float | None = None
    """Smallest that is kept."""
    most: float | None = None
    """Largest that is kept."""


class JobList(columns.Table):
    """A CSV file of jobs, one per row, in any order; `time` is the column of their arrivals."""

    duration: Quantity | None = None
    """Seconds of work."""
    end: str | None = None
    """Instead of duration: the column of the job's end, a time like that of its arrival."""
    begin: str | None = None
    """With end: the column of the moment it really began. Default: its arrival."""
    gpus: Quantity | Annotated[int, pydantic.Field(ge=1)]
    """GPUs of the whole job: a column, or the same number for all."""
    keep: dict[str, Bounds] = pydantic.Field(default_factory=dict)
    """Only rows whose numbers in these columns lie within bounds."""
    max_gpus: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Larger jobs are left out."""
    max_duration: columns.Span | None = None
    """Longer jobs are left out."""
    quiet: columns.Duration = 86400.0
    """The longest time without an arrival at either end of the scenario. Default 1d."""

    @pydantic.model_validator(mode="after")
    def _lasts(self) -> Self:
        self.exactly_one("duration", "end")
        if self.begin is not None and self.end is None:
            raise ValueError("begin needs end")
        return self


class Sample(Model):
    """Another realisation of the same demand, drawn with the seed."""

    keep: Annotated[float, pydantic.Field(gt=0, le=1)] = 1.0
    """Jobs: the share that is kept, chosen at random."""
    jitter: columns.Duration = 0.0
    """Jobs: arrivals are moved by up to this, earlier or later."""
    sigma: columns.NotNegative = 0.0
    """Series: they are multiplied by exp(z), z an AR(1) process with this standard deviation."""
    half_life: columns.Span = 21600.0
    """Series: the time after which half of a deviation is left. Default 6h."""


class Wanted(Model):
    """How many GPUs somebody would rent: exactly one of gpus, availability, series and jobs."""

    gpus: Annotated[int, pydantic.Field(ge=0)] | None = None
    """Always so many."""
    availability: columns.Number | None = None
    """Share of the group's GPUs, 0 to 1."""
    series: columns.Series | None = None
    """From a file, such as the number of busy nodes of a cluster."""
    jobs: JobList | None = None
    """From a list of jobs: the GPUs of all that would run had each begun on its arrival."""
    scale: columns.Positive | None = None
    """GPUs per unit of the series or list."""
    load: Annotated[float, pydantic.Field(gt=0, le=1)] | None = None
    """Instead of scale: chosen so that this share of the group's GPUs is wanted on average over the scenario."""
    sample: Sample | None = None
    """Draw another realisation with each seed."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("gpus", "availability", "series", "jobs")
        if self.scale is not None and self.load is not None:
            raise ValueError("scale and load exclude each other")
        if (self.scale or self.load or self.sample) and self.series is None and self.jobs is None:
            raise ValueError("scale, load and sample are for series and jobs")
        if self.sample is not None:
            for name, fits in (("keep", self.jobs), ("jitter", self.jobs), ("sigma", self.series)):
                if name in self.sample.model_fields_set and fits is None:
                    raise ValueError(f"sample.{name} does not fit here: keep and jitter are for jobs, sigma for series")
        return self


class Demand(Model):
    """GPUs of one group that are rented by the hour."""

    group: str
    """Name of the group."""
    usd_per_gpu_hour: columns.Money
    """What the customer pays: $ per GPU-hour, or a series in USD/hour."""
    fee: columns.Share = 0.0
    """Share that the market keeps."""
    wanted: Wanted
    """How many."""

    @pydantic.model_validator(mode="after")
    def _per_hour(self) -> Self:
        columns.check_kind(self.usd_per_gpu_hour, wanted="hours", example="USD/hour")
        return self


class Lognormal(Model):
    """A distribution whose logarithm is normal."""

    median: columns.Positive
    """Half of the draws lie below."""
    sigma: columns.NotNegative
    """Standard deviation of the logarithm."""


class Uniform(Model):
    """Every value between two bounds alike."""

    least: columns.NotNegative
    """Lower bound."""
    most: columns.NotNegative
    """Upper bound."""

    @pydantic.model_validator(mode="after")
    def _rising(self) -> Self:
        if self.most < self.least:
            raise ValueError("most must not be less than least")
        return self


class Bid(Model):
    """What jobs pay per GPU-hour, $: exactly one of fixed, column, lognormal and uniform."""

    fixed: columns.NotNegative | None = None
    """All the same."""
    column: Quantity | None = None
    """A column of the list."""
    lognormal: Lognormal | None = None
    """Drawn with the seed, job by job."""
    uniform: Uniform | None = None
    """Drawn with the seed, job by job."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("fixed", "column", "lognormal", "uniform")
        return self


class Deadline(Model):
    """Until when a job must be done: exactly one of column and factor."""

    column: str | None = None
    """A column of times, written as the arrivals; an empty cell is no deadline."""
    factor: Annotated[float, pydantic.Field(ge=1)] | None = None
    """So many times its duration after its arrival."""

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("column", "factor")
        return self


class Jobs(Model):
    """Customers' jobs, each a gang of equal replicas that is placed whole or not at all."""

    list: JobList
    """The file."""
    gpus_per_replica: Annotated[int, pydantic.Field(ge=1)]
    """Most GPUs of one rig in a replica. A larger job becomes the fewest equal replicas that fit."""
    bid: Bid
    """What they pay."""
    fee: columns.Share = 0.0
    """Share of the bids that the market keeps."""
    patience: columns.Duration
    """How long a job waits in all before it goes."""
    deadline: Deadline | None = None
    """Until when it must be done."""
    checkpoint: columns.Duration = 60.0
    """Work to be done again after a preemption. Default 60s."""
    preemptible: bool = True
    """Whether it may be stopped."""
    groups: tuple[str, ...] = ()
    """Groups of rigs that fit; empty: all that do AI work."""
    load: columns.Positive | None = None
    """GPU-hours of work that could be done within the scenario, by those of the groups' GPUs: jobs are drawn with the
    seed until it is met; if all are too few, shifted copies of them are laid over."""
    jitter: columns.Duration = 0.0
    """Arrivals are moved by up to this with each seed, earlier or later."""


class Move(Model):
    """What a change of mode costs one GPU."""

    origin: model.ModeKind | tuple[model.ModeKind, ...] = pydantic.Field(alias="from")
    """Mode it leaves, or several."""
    target: model.ModeKind | tuple[model.ModeKind, ...] = pydantic.Field(alias="to")
    """Mode it enters, or several; Mining to Mining is a change of coins."""
    seconds: columns.NotNegative = 0.0
    """In which it earns nothing."""
    usd: columns.NotNegative = 0.0
    """Wear."""


class Switching(Model):
    """What changes of mode cost."""

    reference_usd_per_gpu_hour: columns.NotNegative
    """What an hour of one GPU that earns nothing is counted for."""
    eviction_usd_per_gpu: columns.NotNegative = 0.0
    """On top, when AI work is left that is still wanted."""
    moves: tuple[Move, ...] = ()
    """By pair of modes; a pair that is missing costs nothing."""


class Noise(Model):
    """How wrongly policies see the coins' revenue: it is multiplied by exp(z), z an AR(1) process for each coin."""

    sigma: columns.NotNegative
    """Standard deviation of z; 0.05 is about 5 %."""
    half_life: columns.Span = 3600.0
    """The time after which half of a deviation is left. Default 1h."""


class Scenario(Model):
    """A whole scenario file."""

    description: Annotated[str, pydantic.Field(min_length=1)]
    """What it is about, in one line."""
    half: Literal["tune", "report"] | None = None
    """Whether settings may be chosen on it (tune), or are only judged by it (report)."""
    data: str = "."
    """Folder of the data: relative to this file, or ${DATA} for the one given on the command line."""
    time_zone: columns.TimeZone = "UTC"
    """Zone of moments in this file that carry none."""
    start: columns.Moment
    """First moment."""
    end: columns.Moment | None = None
    """First moment after it; or give duration or steps."""
    duration: columns.Span | None = None
    """How long it lasts."""
    steps: Annotated[int, pydantic.Field(ge=1)] | None = None
    """How many steps it lasts."""
    step: columns.Span = 600.0
    """Length of a step, whole seconds. Default 10m."""
    warmup: columns.Duration = 0.0
    """Time at the beginning that is played and not counted."""
    sites: Annotated[dict[Name, Site], pydantic.Field(min_length=1)]
    """Places, by name."""
    coins: dict[Name, Coin] = pydantic.Field(default_factory=dict)
    """What can be mined, by name."""
    groups: Annotated[dict[Name, Group], pydantic.Field(min_length=1)]
    """Rigs, by name of the group."""
    demands: dict[Name, Demand] = pydantic.Field(default_factory=dict)
    """GPUs rented by the hour, by name."""
    jobs: dict[Name, Jobs] = pydantic.Field(default_factory=dict)
    """Lists of jobs, by name."""
    switching: Switching
    """What changes of mode cost."""
    noise: Noise | None = None
    """How wrongly policies see the coins' revenue. Default: not at all."""

    _path: pathlib.Path = pydantic.PrivateAttr(pathlib.Path())

    @pydantic.model_validator(mode="after")
    def _lasts(self) -> Self:
        self.exactly_one("end", "duration", "steps")
        if self.step % 1:
            raise ValueError("step must be whole seconds")
        return self

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self._path.stem

    @property
    def path(self) -> pathlib.Path:
        """The file."""
        return self._path

    def moment(self, value: datetime.datetime) -> datetime.datetime:
        """A moment of this file, in UTC."""
        if value.tzinfo is None:
            value = value.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone))
        return value.astimezone(datetime.UTC)


def load(path: pathlib.Path) -> Scenario:
    """Read a scenario file. The files that it names are not opened yet.

    Raises:
        ScenarioError: the file cannot be read or says something that cannot be: with file, line and field.
    """
    document = reading.read(path)
    try:
        scenario = Scenario.model_validate(document.content)
    except pydantic.ValidationError as problem:
        raise document.error(problem) from None
    scenario._path = path  # noqa: SLF001  its own file, set once
    return scenario
