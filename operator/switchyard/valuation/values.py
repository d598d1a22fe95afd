"""The values that leave valuation: worths, refusals, costs of switching."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.fleet import model
from switchyard.market import forecast

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a mode is worth on a rig of a class, $/h: net = revenue - fees - power.

    `watts` is what the whole rig draws from its circuit, before PUE. `trust` is the least of the quotes behind it.
    """

    mode: model.Mode
    revenue_usd_per_hour: float
    fees_usd_per_hour: float
    watts: float
    power_usd_per_hour: float
    trust: float = 1.0

    @property
    def net_usd_per_hour(self) -> float:
        """What is left after fees and power."""
        return self.revenue_usd_per_hour - self.fees_usd_per_hour - self.power_usd_per_hour


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a mode is not to be had on a rig. `reason` is CamelCase; `lacks` tells people what would have to change."""

    mode: model.Mode
    reason: str
    lacks: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SwitchCost:
    """Cost of one move: seconds in which the rig earns nothing, and everything else in $ (wear, lost work)."""

    seconds: float
    usd: float


@dataclasses.dataclass(frozen=True, slots=True)
class RigClass:
    """Rigs that are worth the same in every mode: same site, pool, hardware, base watts. `key` is short and stable."""

    key: str
    site: str
    pool: str
    hardware: model.Hardware
    base_watts: int


class Outlook:
    """What power will cost a Site, as far as anybody can tell. Worked out when it is asked for: few plans need it."""

    def __init__(self, usd_per_kwh: float, tell: Callable[[], forecast.Path] | None = None) -> None:
        """A price now, and who tells what comes after; None where it stays."""
        self.now_usd_per_kwh: Final = usd_per_kwh
        self._tell = tell

    def __eq__(self, other: object) -> bool:
        """Whether both tell the same."""
        return self is other or (isinstance(other, Outlook) and self.told == other.told)

    def __hash__(self) -> int:
        """By the price now."""
        return hash(self.now_usd_per_kwh)

    @functools.cached_property
    def told(self) -> forecast.Path:
        """All of it, USD/kWh; the first price is that of now."""
        if self._tell is None:
            return forecast.Path(hours=(0.0,), values=(self.now_usd_per_kwh,))
        return self._tell()

    def at(self, hours: float) -> float:
        """The price so many hours ahead, USD/kWh."""
        return forecast.at(self.told, hours)

    def means(self, edges: npt.ArrayLike) -> Floats:
        """[T] mean price between each of [T + 1] moments, in hours ahead, and the next, USD/kWh."""
        at = np.asarray(edges, dtype=np.float64)
        hours, prices = np.array(self.told.hours), np.array(self.told.values)
        until = np.concatenate([[0.0], np.cumsum(prices[:-1] * np.diff(hours))])
        place = np.searchsorted(hours, at, side="right") - 1
        found: Floats = np.diff(until[place] + prices[place] * (at - hours[place])) / np.diff(at)
        return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClassValue:
    """Everything about one class of rigs.

    Attributes:
        rig_class: which.
        worths: by mode; Mining per coin, Idle, Off, and AI per job that fits and waits or runs.
        refusals: by mode, for modes that are not to be had.
        usd_per_kwh: the Site's price now; None with no trusted price (then nothing on this class is moved).
        slots: per AIJob key, how many replicas one rig can hold.
        rest_watts: the whole rig with every GPU at rest.
        ai_watts: the whole rig with every GPU at AI work.
        usd_per_watt_hour: what one watt at the rig costs per hour, PUE included; 0 with no trusted price.
        pue: watts at the Site's meter for each watt of the rig.
        outlook: of the Site's price of power; None with no trusted price.
        watts: of the whole rig by mode, as far as they are known, before PUE: also of modes whose price is not trusted.
    """

    rig_class: RigClass
    worths: Mapping[model.Mode, Worth]
    refusals: Mapping[model.Mode, Refusal]
    usd_per_kwh: float | None
    slots: Mapping[str, int]
    rest_watts: float = 0.0
    ai_watts: float = 0.0
    usd_per_watt_hour: float = 0.0
    pue: float = 1.0
    outlook: Outlook | None = None
    watts: Mapping[model.Mode, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Valuation:
    """Worths per class, and which class a rig is of; `unvalued` says why a rig is in none (no pool, no hardware)."""

    classes: Mapping[str, ClassValue]
    class_of: Mapping[str, str]
    unvalued: Mapping[str, Refusal]
