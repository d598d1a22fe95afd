"""One turn of the machine: what goes into a step, and what comes out of it."""

from __future__ import annotations

import dataclasses
import datetime

from switchyard.cluster import commands as cmd
from switchyard.fleet import model
from switchyard.handover import observe
from switchyard.handover import record as rec
from switchyard.handover import settings as config


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One look at one rig: what its Node says, what is there, and the moment."""

    record: rec.Record
    seen: observe.Observation
    node: model.Node
    now: datetime.datetime
    settings: config.Settings

    @property
    def expired(self) -> bool:
        """Whether the step's deadline has come."""
        return self.record.deadline is not None and self.now >= self.record.deadline

    def later(self, seconds: float) -> datetime.datetime:
        """The moment so many seconds from now."""
        return self.now + datetime.timedelta(seconds=seconds)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The record as it shall be, the commands of a step that goes on, and when else than at the deadline to look."""

    record: rec.Record
    commands: tuple[cmd.Command, ...] = ()
    wake_at: datetime.datetime | None = None
