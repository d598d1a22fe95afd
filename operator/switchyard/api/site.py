"""Site: where rigs stand, and what their power costs."""

from __future__ import annotations

import enum
from typing import Annotated, ClassVar

import pydantic

from switchyard.api import base, fields


class Day(enum.StrEnum):
    """Days of the week, Monday first."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"

    @property
    def weekday(self) -> int:
        """As `datetime.weekday()` counts: Monday is 0."""
        return tuple(Day).index(self)


_PER_MEGAWATT_HOUR = "; prices per megawatt-hour must be divided by 1000"
PowerPrice = Annotated[float, fields.number(example="0.085", below=10, hint=_PER_MEGAWATT_HOUR)]
"""US dollars per kilowatt-hour."""


class Window(base.Model):
    """Hours of the week with their own price, in the Site's time zone."""

    days: Annotated[tuple[Day, ...], pydantic.Field(min_length=1, max_length=7), base.SET] = tuple(Day)
    """Days on which the window begins. Default: every day."""
    start: fields.ClockTime = pydantic.Field(alias="from")
    """First minute of the window, HH:MM."""
    end: fields.ClockTime = pydantic.Field(alias="to")
    """First minute after the window, HH:MM. Not later than from: the window runs past midnight; equal: a whole day."""
    usd_per_kilowatt_hour: PowerPrice
    """Price within the window, US dollars per kilowatt-hour."""


class FixedTariff(base.Model):
    """One price for every hour."""

    usd_per_kilowatt_hour: PowerPrice
    """Price in US dollars per kilowatt-hour, with grid fees and taxes."""


class TimeOfUseTariff(base.Model):
    """A price by the hour of the week."""

    windows: Annotated[tuple[Window, ...], pydantic.Field(min_length=1, max_length=48)]
    """Hours with their own price. Where windows overlap the first one counts."""
    otherwise: PowerPrice
    """Price outside all windows, US dollars per kilowatt-hour."""


class FeedTariff(base.Model):
    """A price that a PriceFeed brings, such as a spot market's."""

    price_feed: Annotated[fields.Name, fields.name_of("PriceFeed")]
    """Name of a PriceFeed of quantity ElectricityPrice."""
    adder_usd_per_kilowatt_hour: Annotated[
        float, fields.number(example="0.031", least=None, below=10, hint=_PER_MEGAWATT_HOUR)
    ] = pydantic.Field("0", validate_default=True)
    """Grid fees and taxes on top of the feed's price, US dollars per kilowatt-hour; below 0 for a rebate. Default 0."""


class Tariff(base.Model):
    """What power costs: exactly one of fixed, timeOfUse and feed."""

    rules: ClassVar = (
        base.Rule(
            rule="[has(self.fixed), has(self.timeOfUse), has(self.feed)].filter(set, set).size() == 1",
            message="tariff must have exactly one of fixed, timeOfUse and feed",
        ),
    )

    fixed: FixedTariff | None = None
    """One price for every hour."""
    time_of_use: TimeOfUseTariff | None = None
    """A price by the hour of the week, in the Site's time zone."""
    feed: FeedTariff | None = None
    """A price that a PriceFeed brings. While it is not trusted, rigs here keep what they do."""


class Circuit(base.Model):
    """A line that feeds rigs, and what may be drawn from it."""

    name: fields.CircuitName
    """Name of the circuit, unique within the Site. Rigs name it in spec.circuit."""
    limit_watts: Annotated[int, pydantic.Field(ge=1, le=100_000_000)]
    """Watts at which the circuit's breaker trips, or that its contract allows."""
    continuous_fraction: Annotated[float, fields.number(example="0.8", above=0, least=None, most=1)] = pydantic.Field(
        "0.8", validate_default=True
    )
    """Share of limitWatts that may be drawn for hours on end, above 0 to 1. Electrical codes allow 0.8 of a breaker.
    Default 0.8."""


class SiteSpec(base.Model):
    """Which Nodes stand here and what their power costs."""

    node_selector: base.LabelSelector
    """Chooses the Nodes that stand here by their labels. The operator makes a Rig of each one that has GPUs."""
    jurisdiction: fields.Jurisdiction | None = None
    """Where the Site is, an ISO 3166 code such as US-TX, in quotes (YAML reads a bare NO as false). Without it, jobs
    that name jurisdictions do not come here."""
    time_zone: fields.TimeZone = "UTC"
    """Time zone of the tariff's windows, a name of the IANA database such as America/Chicago. Default UTC."""
    tariff: Tariff
    """What power costs: exactly one of fixed, timeOfUse and feed. It decides which modes pay."""
    pue: Annotated[float, fields.number(example="1.15", least=1, most=3)] = pydantic.Field("1", validate_default=True)
    """Power usage effectiveness: watts at the meter for each watt of a rig, 1 to 3: cooling and losses. Default 1."""
    circuits: Annotated[tuple[Circuit, ...], pydantic.Field(max_length=512), base.map_keyed_by("name")] = ()
    """Lines that feed the rigs, with their limits in watts. No plan lets the rigs of a circuit draw more than
    limitWatts times continuousFraction, hand-overs included; where they do already, rigs are stopped, the least loss
    first. Rigs on no circuit are not limited."""


class CircuitStatus(base.Model):
    """What a circuit carries."""

    name: Annotated[str, pydantic.Field(max_length=63)]
    """Name of the circuit."""
    rigs: int | None = None
    """Rigs on it."""
    limit_watts: int | None = None
    """Watts at which its breaker trips."""
    budget_watts: int | None = None
    """Watts that its rigs may draw together for hours: limitWatts times continuousFraction."""
    drawn_watts: int | None = None
    """Watts that its rigs draw now: as their agents read them, and for the others what their modes draw."""


class SiteStatus(base.Status):
    """What the operator knows of the Site."""

    rigs: int | None = None
    """Rigs that stand here."""
    rigs_gone: int | None = None
    """Of these, rigs whose Node is gone or not ready."""
    usd_per_kilowatt_hour: str | None = None
    """Price of power now, US dollars per kilowatt-hour. Absent while no price is trusted."""
    circuits: Annotated[tuple[CircuitStatus, ...], pydantic.Field(max_length=512), base.map_keyed_by("name")] = ()
    """What each circuit carries."""


class Site(base.Resource):
    """A place where rigs stand: which Nodes, in which jurisdiction, what power costs, and what its lines carry."""

    names: ClassVar = base.Names(
        kind="Site",
        plural="sites",
        singular="site",
        columns=(
            base.Column(name="Jurisdiction", path=".spec.jurisdiction"),
            base.Column(name="$/kWh", path=".status.usdPerKilowattHour", description="Price of power now"),
            base.Column(name="Rigs", path=".status.rigs", type="integer"),
            base.Column(name="Gone", path=".status.rigsGone", type="integer", description="Rigs without a ready Node"),
            base.condition_column("PriceTrusted"),
            base.condition_column("CircuitsWithinLimit", name="Circuits"),
            base.condition_column("Ready"),
            base.Column(name="PUE", path=".spec.pue", priority=1),
            base.condition_column("Ready", name="Reason", field="reason", priority=1),
            base.AGE,
        ),
    )
    rules: ClassVar = (base.name_rule(),)

    spec: SiteSpec
    status: SiteStatus = SiteStatus()
