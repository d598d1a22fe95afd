"""The keys and certificates of one control plane: an authority, a server and a client that may do everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Sequence

# The group that the API server itself binds to cluster-admin.
_ADMIN_GROUP = "system:masters"


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Paths of PEM files."""

    authority: Path
    server_certificate: Path
    server_key: Path
    admin_certificate: Path
    admin_key: Path
    service_account_key: Path


def issue(*, folder: Path, server_names: Sequence[str]) -> Certificates:
    """Write a fresh set into the folder; server_names are the DNS names and addresses that the server answers to."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = Certificates(
        authority=folder / "ca.crt",
        server_certificate=folder / "server.crt",
        server_key=folder / "server.key",
        admin_certificate=folder / "admin.crt",
        admin_key=folder / "admin.key",
        service_account_key=folder / "service-account.key",
    )
    authority = trustme.CA()
    authority.cert_pem.write_to_path(paths.authority)
    server = authority.issue_cert(*server_names, common_name="kube-apiserver")
    server.private_key_pem.write_to_path(paths.server_key)
    server.cert_chain_pems[0].write_to_path(paths.server_certificate)
    admin = authority.issue_cert("admin", common_name="admin", organization_name=_ADMIN_GROUP)
    admin.private_key_pem.write_to_path(paths.admin_key)
    admin.cert_chain_pems[0].write_to_path(paths.admin_certificate)
    # Any key pair will do to sign the tokens of service accounts.
    authority.issue_cert("service-accounts").private_key_pem.write_to_path(paths.service_account_key)
    for key in (paths.server_key, paths.admin_key, paths.service_account_key):
        key.chmod(0o600)
    return paths
