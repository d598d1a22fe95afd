"""Names that are written into the cluster: labels, annotations, taints, field managers.

The operator, the agents and the simulated rigs meet nowhere but in these.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "switchyard.farm"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

GPU_RESOURCE: Final = "nvidia.com/gpu"

# --- on the Node: the lock -------------------------------------------------------------------------------
LABEL_MODE: Final = f"{GROUP}/mode"
"""Desired mode of the rig: `mining`, `ai`, `idle` or `off`."""
LABEL_MODE_STATE: Final = f"{GROUP}/mode.state"
"""Observed mode: one of the above, or `switching` while a hand-over runs."""
LABEL_CLAIM: Final = f"{GROUP}/claim"
"""UID of the AIJob whose Pods alone may land here."""
TAINT_HELD: Final = f"{GROUP}/held"
"""Taint (NoSchedule) that keeps everybody else off. Its value says who may come: a mode, or `switching` for nobody."""
ANNOTATION_HANDOVER: Final = f"{GROUP}/handover"
"""The hand-over's record, JSON: see `switchyard.handover.record`. It stays after the switch as who holds the rig."""
ANNOTATION_PROFILE: Final = f"{GROUP}/profile"
"""Power profile the agent shall apply: `mining.<coin>`, `stock` (AI work), `idle` or `off`."""
ANNOTATION_RESTORE: Final = f"{GROUP}/restore"
"""What the Node had before Switchyard took it, JSON; put back when a rig is released."""

# --- on Pods ---------------------------------------------------------------------------------------------
LABEL_ROLE: Final = f"{GROUP}/role"
"""`miner` or `work`."""
ROLE_MINER: Final = "miner"
ROLE_WORK: Final = "work"
LABEL_RIG: Final = f"{GROUP}/rig"
LABEL_COIN: Final = f"{GROUP}/coin"
LABEL_AIJOB: Final = f"{GROUP}/aijob"
"""Name of the AIJob a work Pod belongs to; the namespace is the Pod's own."""
LABEL_SITE: Final = f"{GROUP}/site"
ANNOTATION_NOTICE: Final = f"{GROUP}/preempt-notice"
"""Notice on a work Pod, JSON `{"reason": ..., "deadline": RFC 3339}`: save now, you may be evicted from then on."""
ANNOTATION_CHECKPOINT: Final = f"{GROUP}/last-checkpoint"
"""RFC 3339 time of the last complete checkpoint, mirrored from the workload by the agent."""
ANNOTATION_PROGRESS: Final = f"{GROUP}/progress"
"""Share of the work done, `0` to `1`, mirrored from the workload by the agent."""

# --- field managers of server-side apply ------------------------------------------------------------------
MANAGER_OPERATOR: Final = "switchyard-operator"
MANAGER_AGENT: Final = "switchyard-agent"

SWITCHING: Final = "switching"
"""Value of the mode.state label and of the taint while a hand-over runs."""
