"""What can go wrong between here and the API server, as exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class KubeError(Exception):
    """Any trouble with the API server."""


class CredentialsError(KubeError):
    """There is no usable description of where the API server is and how to speak to it."""


class UnreachableError(KubeError):
    """No answer, or half of one: refused, cut off, timed out, garbled."""


class ApiError(KubeError):
    """The API server answered, and said no.

    Attributes:
        status: HTTP status (or the `code` of an ERROR event in a watch).
        reason: Kubernetes' one-word reason, such as `NotFound`; "" where the answer is not a Status.
        message: for people.
        causes: reasons in `details.causes`, such as `DisruptionBudget`.
        fields: the fields that `details.causes` complain about, such as `metadata.uid`.
        retry_after_seconds: what the server asks to wait; None where it says nothing.
    """

    def __init__(
        self,
        *,
        status: int,
        reason: str = "",
        message: str = "",
        causes: frozenset[str] = frozenset(),
        fields: frozenset[str] = frozenset(),
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.fields = fields
        self.retry_after_seconds = retry_after_seconds

    @property
    def expired(self) -> bool:
        """Whether a resourceVersion or a continue token is too old: list anew."""
        return self.status == 410

    @classmethod
    def from_status(
        cls, body: Mapping[str, Any], *, status: int = 0, retry_after_seconds: float | None = None
    ) -> ApiError:
        """Read a `Status` object; `status` is the HTTP status where there is one."""
        details = body.get("details") or {}
        causes = details.get("causes") or ()
        return cls(
            status=status or int(body.get("code") or 0),
            reason=str(body.get("reason") or ""),
            message=str(body.get("message") or ""),
            causes=frozenset(str(cause.get("reason", "")) for cause in causes),
            fields=frozenset(str(cause.get("field", "")) for cause in causes),
            retry_after_seconds=retry_after_seconds,
        )
