"""How each component is called: its command line and where it says that it is well. Values only, nothing is started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controlplane.certs import Certificates

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
KWOK = "kwok"

STAGES = Path(__file__).resolve().parent / "stages"
# What makes a node ours to simulate. Not "all nodes": then a real kubelet's pods and lease would be taken over too.
FAKE_NODE_ANNOTATION = "kwok.x-k8s.io/node"
FAKE_NODE_VALUE = "fake"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """One port for each thing that listens."""

    etcd_client: int
    etcd_peer: int
    api_server: int
    controller_manager: int
    scheduler: int
    kwok: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All that the command lines depend on."""

    folder: Path
    ports: Ports
    certificates: Certificates
    kubeconfig: Path
    bind_address: str
    lean: bool
    stages: Sequence[Path]


@dataclass(frozen=True, kw_only=True)
class Component:
    """One process: its program's arguments, and the URL that answers 200 when it is well."""

    name: str
    arguments: tuple[str, ...]
    health: str


def etcd(layout: Layout) -> Component:
    """Describe etcd: one member, on loopback, in plain HTTP."""
    client = f"http://127.0.0.1:{layout.ports.etcd_client}"
    peer = f"http://127.0.0.1:{layout.ports.etcd_peer}"
    return Component(
        name=ETCD,
        arguments=(
            f"--data-dir={layout.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # What a test wrote need not survive the machine; it does survive a SIGKILL of etcd.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        health=f"{client}/health",
    )


def api_server(layout: Layout) -> Component:
    """Describe the API server: certificates from `certs`, no aggregated APIs, RBAC on."""
    certificates = layout.certificates
    return Component(
        name=API_SERVER,
        arguments=(
            f"--etcd-servers=http://127.0.0.1:{layout.ports.etcd_client}",
            f"--bind-address={layout.bind_address}",
            f"--secure-port={layout.ports.api_server}",
            f"--tls-cert-file={certificates.server_certificate}",
            f"--tls-private-key-file={certificates.server_key}",
            f"--client-ca-file={certificates.authority}",
            f"--kubelet-client-certificate={certificates.admin_certificate}",
            f"--kubelet-client-key={certificates.admin_key}",
            # Nodes here have no resolvable names.
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={certificates.service_account_key}",
            f"--service-account-signing-key-file={certificates.service_account_key}",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
            "--profiling=false",
            # It taints every new node until a controller that a lean control plane goes without takes that away.
            *(("--disable-admission-plugins=TaintNodesByCondition",) if layout.lean else ()),
        ),
        health=f"{server_url(layout)}/readyz",
    )


def controller_manager(layout: Layout) -> Component:
    """Describe the controller manager: every controller, save in a lean control plane."""
    certificates = layout.certificates
    # The first two watch over node leases: without leases (lean) they would evict everything. The third writes to every
    # new node how long a kubelet may cache secrets, which is a write a node for nothing.
    lean = "*,-node-lifecycle-controller,-taint-eviction-controller,-ttl-controller"
    controllers = lean if layout.lean else "*"
    return Component(
        name=CONTROLLER_MANAGER,
        arguments=(
            *_credentials(layout),
            f"--secure-port={layout.ports.controller_manager}",
            f"--root-ca-file={certificates.authority}",
            f"--service-account-private-key-file={certificates.service_account_key}",
            "--use-service-account-credentials=false",
            f"--controllers={controllers}",
            # The defaults (20, 30) are for a cluster with other users; here they would only slow the tests.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--profiling=false",
        ),
        health=f"https://127.0.0.1:{layout.ports.controller_manager}/healthz",
    )


def scheduler(layout: Layout) -> Component:
    """Describe the scheduler, with its default profile."""
    return Component(
        name=SCHEDULER,
        arguments=(
            f"--config={layout.folder / 'scheduler.yaml'}",
            f"--authentication-kubeconfig={layout.kubeconfig}",
            f"--authorization-kubeconfig={layout.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={layout.ports.scheduler}",
        ),
        health=f"https://127.0.0.1:{layout.ports.scheduler}/healthz",
    )


def kwok(layout: Layout) -> Component:
    """Describe KWOK, which plays the kubelet of every node annotated as fake."""
    return Component(
        name=KWOK,
        arguments=(
            f"--kubeconfig={layout.kubeconfig}",
            f"--config={layout.folder / 'stages.yaml'}",
            f"--manage-nodes-with-annotation-selector={FAKE_NODE_ANNOTATION}={FAKE_NODE_VALUE}",
            f"--node-lease-duration-seconds={0 if layout.lean else 40}",
            "--node-ip=10.127.0.1",
            "--cidr=10.128.0.0/9",
            f"--server-address=127.0.0.1:{layout.ports.kwok}",
            # At thousands of nodes a line for every patch costs more than the patch is worth.
            f"--v={'WARN' if layout.lean else 'INFO'}",
        ),
        health=f"http://127.0.0.1:{layout.ports.kwok}/healthz",
    )


def server_url(layout: Layout) -> str:
    """Return the address that clients use."""
    host = "127.0.0.1" if layout.bind_address == "0.0.0.0" else layout.bind_address
    return f"https://{host}:{layout.ports.api_server}"


def write_configuration(layout: Layout) -> None:
    """Write the files that the command lines name: kubeconfig, the scheduler's configuration, KWOK's stages."""
    write_kubeconfig(
        path=layout.kubeconfig,
        server=server_url(layout),
        authority=layout.certificates.authority,
        user={
            "client-certificate": str(layout.certificates.admin_certificate),
            "client-key": str(layout.certificates.admin_key),
        },
    )
    (layout.folder / "scheduler.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kubescheduler.config.k8s.io/v1",
                "kind": "KubeSchedulerConfiguration",
                "leaderElection": {"leaderElect": False},
                "clientConnection": {"kubeconfig": str(layout.kubeconfig), "qps": 1000, "burst": 2000},
            }
        )
    )
    (layout.folder / "stages.yaml").write_text("\n---\n".join(path.read_text() for path in layout.stages))


def stage_files(*, lean: bool) -> list[Path]:
    """Return our stages for KWOK; a lean control plane goes without heartbeats."""
    return sorted(path for path in STAGES.glob("*.yaml") if not (lean and "heartbeat" in path.name))


def write_kubeconfig(*, path: Path, server: str, authority: Path, user: dict[str, str]) -> None:
    """Write a kubeconfig with one cluster, one user and one context, readable by its owner only."""
    name = "switchyard"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(content, file)


def _credentials(layout: Layout) -> tuple[str, ...]:
    return (
        f"--kubeconfig={layout.kubeconfig}",
        f"--authentication-kubeconfig={layout.kubeconfig}",
        f"--authorization-kubeconfig={layout.kubeconfig}",
        # One of each runs, so a lease would only add writes and a wait at every restart.
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    )
