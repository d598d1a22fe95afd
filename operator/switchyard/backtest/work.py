"""What a scenario says of paid work: GPUs rented by the hour, and customers' jobs."""

from __future__ import annotations

from typing import Annotated, Self

import pydantic

from switchyard.backtest import columns

Model = columns.Model


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
    min_duration: columns.Duration = 0.0
    """Shorter jobs are left out."""
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
