"""Reasons that the hand-over itself gives, in records, statuses, events and verdicts."""

from __future__ import annotations

from typing import Final

ADOPTED: Final = "Adopted"
WITHDRAWN: Final = "Withdrawn"
NOTICE_LATE: Final = "NoticeLate"
EVICTION_REFUSED: Final = "EvictionRefused"
STUCK_TERMINATING: Final = "StuckTerminating"
FOREIGN_POD: Final = "ForeignPod"
AGENT_SILENT: Final = "AgentSilent"
MEMORY_HELD: Final = "MemoryHeld"
PROFILE_NOT_APPLIED: Final = "ProfileNotApplied"
START_TIMED_OUT: Final = "StartTimedOut"
COIN_MISSING: Final = "CoinMissing"
JOB_MISSING: Final = "JobMissing"
MINER_LOST: Final = "MinerLost"

WENT_BACK: Final = frozenset(
    {
        EVICTION_REFUSED,
        FOREIGN_POD,
        AGENT_SILENT,
        MEMORY_HELD,
        PROFILE_NOT_APPLIED,
        START_TIMED_OUT,
        COIN_MISSING,
        JOB_MISSING,
    }
)
"""The target was not reached."""

TARGET_FAULTS: Final = frozenset({START_TIMED_OUT, COIN_MISSING, JOB_MISSING})
"""The target's own fault: another target may be tried at once."""
