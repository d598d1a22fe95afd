"""A real Kubernetes control plane for tests and for trying things out: built once, up in seconds, gone without trace.

Start with `ControlPlane` in `controlplane.launcher`, or with ``python -m controlplane --help``.
"""

from __future__ import annotations

from controlplane.launcher import ControlPlane
from controlplane.prometheus import Prometheus

__all__ = ["ControlPlane", "Prometheus"]
