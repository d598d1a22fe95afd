"""The record of a rig's hand-over, as it stands on its Node. Nothing about a switch lives anywhere else."""

from __future__ import annotations

import dataclasses
import datetime
import enum

from switchyard.fleet import model


class Step(enum.StrEnum):
    """Where a hand-over stands.

    SETTLED: none runs. NOTIFYING: work has been told to save, until it acknowledges or the deadline passes.
    STOPPING: Pods are being evicted. RELEASING: Pods are gone, the agent frees the GPUs and applies the profile.
    STARTING: miner created, or claim label set and the gang awaited.
    """

    SETTLED = "Settled"
    NOTIFYING = "Notifying"
    STOPPING = "Stopping"
    RELEASING = "Releasing"
    STARTING = "Starting"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A rig's hand-over. JSON in the annotation `switchyard.farm/handover`.

    Attributes:
        mode: the target; once SETTLED, the mode that holds the rig.
        origin: the mode it left (equal to `mode` when there was none).
        step: where it stands.
        since: when the step began.
        deadline: when the step gives up and takes its way back; None where SETTLED.
        started: when the whole switch began.
        reason: why it was started, or why it went back: CamelCase.
        message: the same for people.
        attempt: how often this target failed in a row; the wait before the next try grows with it.
        claim: UID of the AIJob whose Pods are, or were last, at home here; "" for none. On the Node as a label only
            while `mode` is AI and the step STARTING or SETTLED.
        cause: `reason` as the switch began; `reason` itself may meanwhile tell what holds the step up.
        cause_message: `message` as the switch began.
        tried_at: when this step last asked for evictions; None: not yet.
        retry_at: before this moment a settled rig that went back is not tried again (see `machine.may_start`).
    """

    mode: model.Mode
    origin: model.Mode
    step: Step
    since: datetime.datetime
    deadline: datetime.datetime | None
    started: datetime.datetime
    reason: str
    message: str = ""
    attempt: int = 0
    claim: str = ""
    cause: str = ""
    cause_message: str = ""
    tried_at: datetime.datetime | None = None
    retry_at: datetime.datetime | None = None

    @property
    def settled(self) -> bool:
        """Whether no hand-over runs."""
        return self.step is Step.SETTLED
