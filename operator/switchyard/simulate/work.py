"""What a gang's program does, played in farm time: it works while all replicas run, saves now and then, and resumes.

Work since the last checkpoint is lost when the gang is broken up, unless it answered a notice with a checkpoint.
"""

from __future__ import annotations

import dataclasses
from typing import Final

WORK_SECONDS: Final = "simulate.switchyard.farm/work-seconds"
"""Annotation on a job's Pods: how long their work takes in farm time. A simulated rig plays the program by it."""
REPLICAS: Final = "simulate.switchyard.farm/replicas"
"""Annotation on a job's Pods: how many of them the gang has."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Gang:
    """One job's work. Moments are Unix seconds of farm time.

    Attributes:
        claim: UID of the job: another job of the same name starts from nothing.
        replicas: Pods that must run for any work to be done.
        total_seconds: of work.
        checkpoint_every_seconds: of work, between two checkpoints.
        done_seconds: work done, as far as this run knows.
        saved_seconds: as of the last checkpoint.
        paid_seconds: the most that was ever done: nobody pays for the same work twice.
        saved_at: moment of the last checkpoint, None before the first.
        losses_seconds: work that was done and lost.
    """

    claim: str = ""
    replicas: int
    total_seconds: float
    checkpoint_every_seconds: float = 1800.0
    done_seconds: float = 0.0
    saved_seconds: float = 0.0
    paid_seconds: float = 0.0
    saved_at: float | None = None
    losses_seconds: float = 0.0
    _running_at: float | None = None
    _members: frozenset[str] = frozenset()

    @property
    def running(self) -> bool:
        """Whether work is being done."""
        return self._running_at is not None

    @property
    def finished(self) -> bool:
        """Whether all work is done."""
        return self.done_seconds >= self.total_seconds

    @property
    def progress(self) -> float:
        """Share of the work done, 0 to 1."""
        return min(1.0, self.done_seconds / self.total_seconds) if self.total_seconds > 0 else 1.0

    def observe(self, *, running: frozenset[str], now: float) -> None:
        """These replicas (by their Pods' UIDs) run now. Counts the work since the last look."""
        if self._running_at is not None:
            self.done_seconds = min(self.total_seconds, self.done_seconds + max(0.0, now - self._running_at))
            self.paid_seconds = max(self.paid_seconds, self.done_seconds)
        if self._members - running and not self.finished:
            # One replica gone breaks the whole gang: whoever comes next starts from what was saved.
            self.losses_seconds += self.done_seconds - self.saved_seconds
            self.done_seconds = self.saved_seconds
            self._members = frozenset()
        if len(running) < self.replicas or self.finished:
            self._running_at = None
            return
        self._members = running
        self._running_at = now
        if self.done_seconds - self.saved_seconds >= self.checkpoint_every_seconds:
            self.save(now)

    def save(self, now: float) -> None:
        """Write a checkpoint of what has been done."""
        self.saved_seconds = self.done_seconds
        self.saved_at = now
