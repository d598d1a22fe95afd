"""Where the API server is, and how to speak to it.

All forms of a kubeconfig (certificates as data or files, tokens, exec plugins, several files) and of a service account
are read by the official library's `kubernetes.config`, which is kept up with them. Only that part of it is used: it
costs 20 MB and 0.2 s once (measured with 37.0.2), its API classes would cost 27 times the CPU of plain JSON for a list.
It is imported when credentials are first asked for, in a thread, as its plugins may run programs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import pathlib
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from switchyard.kube import errors

SERVICE_ACCOUNT: Final = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
# The library looks at the token's file once a minute and runs a plugin when its token expires: asking it more often
# than this only costs a thread's round trip.
_REREAD_SECONDS: Final = 30.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one request needs. `server` has no trailing slash; `authorization` is a header's value, "" for none."""

    server: str
    tls: ssl.SSLContext | None
    server_hostname: str | None
    proxy: str | None
    authorization: str


class Credentials:
    """Access that keeps itself fresh. Made by `from_kubeconfig` and `in_cluster`."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._configuration: Any = None
        self._access: Access | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    async def access(self) -> Access:
        """Access as of now. Raises CredentialsError."""
        now = asyncio.get_running_loop().time()
        if self._access is not None and now - self._read_at < _REREAD_SECONDS:
            return self._access
        async with self._lock:
            if self._access is None or now - self._read_at >= _REREAD_SECONDS:
                self._access = await asyncio.to_thread(self._read)
                self._read_at = now
            return self._access

    def forget(self, refused: Access) -> None:
        """The server refused this access: read everything anew, certificates too, before the next request."""
        # Of many requests that were refused together, the first is enough.
        if self._access is refused:
            self._access = None
            self._configuration = None

    def _read(self) -> Access:
        try:
            configuration = self._configuration
            if configuration is None:
                configuration = self._load()
            token = configuration.get_api_key_with_prefix("BearerToken") or ""
            tls = self._access.tls if self._configuration is configuration and self._access else _tls(configuration)
        except errors.CredentialsError:
            raise
        except Exception as problem:
            # The library raises what its parts raise: its own exception, OSError, YAML's, KeyError of half a file.
            raise errors.CredentialsError(f"credentials cannot be read: {problem}") from problem
        self._configuration = configuration
        return Access(
            server=configuration.host.rstrip("/"),
            tls=tls,
            server_hostname=configuration.tls_server_name or None,
            proxy=configuration.proxy or None,
            authorization=token,
        )


def from_kubeconfig(path: str, *, context: str | None = None) -> Credentials:
    """Credentials of a kubeconfig's (current) context.

    Args:
        path: a file, or several separated like the environment variable KUBECONFIG.
        context: another context than the current one.
    """

    def load() -> Any:
        from kubernetes import client, config  # see the module's docstring

        configuration = client.Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, context=context, client_configuration=configuration, persist_config=False
        )
        return configuration

    return Credentials(load)


def in_cluster(*, environ: Mapping[str, str], folder: pathlib.Path = SERVICE_ACCOUNT) -> Credentials:
    """Credentials of the Pod's service account.

    Args:
        environ: holds KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
        folder: where the token (renewed by the kubelet, read again) and the authority's certificate are mounted.
    """

    def load() -> Any:
        from kubernetes import client
        from kubernetes.config import incluster_config

        configuration = client.Configuration()
        loader = incluster_config.InClusterConfigLoader(  # type: ignore[no-untyped-call]
            token_filename=str(folder / "token"), cert_filename=str(folder / "ca.crt"), environ=environ
        )
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
        return configuration

    return Credentials(load)


def _tls(configuration: Any) -> ssl.SSLContext | None:
    if not configuration.host.startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    # Some distributions' authorities lack the key identifiers that Python 3.13 and later insist on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(certfile=configuration.cert_file, keyfile=configuration.key_file or None)
    return context
