"""Deadlines and names of the hand-over."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How patient a hand-over is. All seconds are farm time.

    Attributes:
        miner_namespace: where miner Pods and the wallets' Secrets live.
        miner_priority_class: priorityClassName of miner Pods; "" for none.
        miner_grace_seconds: what a miner gets between SIGTERM and SIGKILL.
        notice_seconds: notice for work whose AIJob no longer exists to say how much it wants.
        stop_seconds: for Pods to leave; the Pods' own grace comes on top.
        stuck_seconds: by how much STOPPING is prolonged each time while Pods hang in Terminating.
        release_seconds: for the agent to free the GPUs, apply the profile and say so.
        start_seconds: for a miner to be ready; the Coin's own start-up comes on top.
        ai_start_seconds: for the Pods of a gang to run.
        claim_seconds: for an admitted gang's rigs to take the first patch.
        memory_threshold_mib: GPU memory per rig below which the GPUs count as free.
        retry_seconds: least time between two requests to evict the same Pods.
        backoff_seconds: wait after a first failure; doubles with each one in a row.
        backoff_limit_seconds: where the doubling ends.
        leave_seconds: a rig that no pool selects is given back after so long.
        stable_seconds: a rig settled for so long has its failures forgotten.
        job_retries: how often each replica of a gang may fail, on average, before its Job fails.
    """

    miner_namespace: str = "switchyard-miners"
    miner_priority_class: str = ""
    miner_grace_seconds: int = 30
    notice_seconds: float = 120.0
    stop_seconds: float = 120.0
    stuck_seconds: float = 300.0
    release_seconds: float = 120.0
    start_seconds: float = 300.0
    ai_start_seconds: float = 900.0
    claim_seconds: float = 60.0
    memory_threshold_mib: int = 512
    retry_seconds: float = 15.0
    backoff_seconds: float = 60.0
    backoff_limit_seconds: float = 3600.0
    leave_seconds: float = 60.0
    stable_seconds: float = 600.0
    job_retries: int = 3

    def backoff(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th failure in a row (counted from 1)."""
        if attempt <= 0:
            return 0.0
        return min(self.backoff_limit_seconds, self.backoff_seconds * 2.0 ** min(attempt - 1, 30))

    def stretched(self, factor: float) -> Settings:
        """The same patience measured on another clock: every deadline `factor` times as long.

        A replay runs faster than life, but Pods and agents do not.
        """
        seconds = {field.name for field in dataclasses.fields(self) if field.name.endswith("_seconds")}
        kept = {"miner_grace_seconds", "notice_seconds"}
        return dataclasses.replace(self, **{name: getattr(self, name) * factor for name in seconds - kept})
