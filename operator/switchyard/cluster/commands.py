"""Commands: what the operator asks of the cluster, as frozen values.

Rooms that decide return commands; `switchyard.kube.executor` alone carries them out. Every command is idempotent:
repeated, it changes nothing more. One that depends on what was read carries a precondition, so that it fails with
`Outcome.CONFLICT` instead of overwriting what somebody else wrote meanwhile.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """Which object: `plural` is the resource's name in the URL ("nodes", "pods", "rigs")."""

    api_version: str
    kind: str
    plural: str
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        """Kind and name as people write them: `Node/rig-1`, `Pod/miners/miner-rig-1`."""
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


class PatchType(enum.Enum):
    """How a patch body is merged (value: its media type)."""

    MERGE = "application/merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Change an object, or its status.

    Attributes:
        ref: the object; it must exist, except for an apply patch, which creates what is missing.
        body: merge patch or apply configuration; the executor adds apiVersion, kind, name.
        type: merge or server-side apply.
        subresource: "" or "status".
        resource_version: precondition; the patch is refused (CONFLICT) when the object has moved on.
        uid: precondition; refused when the object was deleted and created anew under the same name.
        field_manager: who writes; with apply, fields of this manager that `body` leaves out are removed.
    """

    ref: Ref
    body: Mapping[str, Any]
    type: PatchType = PatchType.MERGE
    subresource: str = ""
    resource_version: str | None = None
    uid: str | None = None
    field_manager: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create an object under a name derived from its owner, so that a second attempt finds it there (DONE)."""

    ref: Ref
    body: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evict:
    """Ask for a Pod's eviction (honours PodDisruptionBudgets: REFUSED when one forbids it now).

    `resource_version` is a precondition where it is given: CONFLICT when the Pod has moved on since it was read.
    """

    ref: Ref
    uid: str
    grace_seconds: int | None = None
    resource_version: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete an object of ours that is no Pod at work (a finished Job, a Service), in the background."""

    ref: Ref
    uid: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """Tell people: a Kubernetes Event about an object. Repeated ones are counted, not multiplied."""

    ref: Ref
    uid: str
    reason: str
    message: str
    action: str
    warning: bool = False


Command = Patch | Create | Evict | Delete | Emit


class Outcome(enum.Enum):
    """What became of a command."""

    DONE = "done"
    CONFLICT = "conflict"  # the precondition failed: observe again, decide again
    GONE = "gone"  # the object does not exist (any more)
    REFUSED = "refused"  # a disruption budget or admission rule says not now
    INVALID = "invalid"  # the API server rejects the body; repeating cannot help
    FAILED = "failed"  # network or server trouble, after the executor's own retries


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A command, what became of it, the API server's message where it gave one, and the object as it now stands.

    `body` is the object that a successful Patch or Create returned (None otherwise): who wrote it need not wait for
    the watch to read its own write.
    """

    command: Command
    outcome: Outcome
    message: str = ""
    body: Mapping[str, Any] | None = None
