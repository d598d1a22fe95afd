"""Scenario files of a back-test: a farm, its markets and its customers, taken from YAML and CSV files of any shape.

`load` reads the YAML; `build.build` reads the files it names and makes a `script.Script` of both.
"""

from __future__ import annotations

import datetime
import pathlib
import zoneinfo
from typing import Annotated, Literal, Self

import pydantic

from switchyard.backtest import columns, markets, reading, work
from switchyard.fleet import model

ScenarioError = reading.ScenarioError
MissingDataError = reading.MissingDataError

Model = columns.Model
Name = columns.Name


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
    yields: dict[str, markets.Yield | Annotated[tuple[markets.Yield, ...], pydantic.Field(min_length=1)]] = (
        pydantic.Field(default_factory=dict)
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
    sites: Annotated[dict[Name, markets.Site], pydantic.Field(min_length=1)]
    """Places, by name."""
    coins: dict[Name, markets.Coin] = pydantic.Field(default_factory=dict)
    """What can be mined, by name."""
    groups: Annotated[dict[Name, Group], pydantic.Field(min_length=1)]
    """Rigs, by name of the group."""
    demands: dict[Name, work.Demand] = pydantic.Field(default_factory=dict)
    """GPUs rented by the hour, by name."""
    jobs: dict[Name, work.Jobs] = pydantic.Field(default_factory=dict)
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
