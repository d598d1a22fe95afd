"""Start a whole control plane, and take it away again."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from controlplane import build, certs, components
from controlplane.client import Api
from controlplane.processes import ProcessError, Processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_ATTEMPTS = 4
_PORT_TAKEN = ("address already in use", "EADDRINUSE")


class CommandError(RuntimeError):
    """A command such as kubectl ended with an error; stderr and returncode are its own."""

    def __init__(self, *, argv: Sequence[str], returncode: int, stderr: str) -> None:
        super().__init__(f"{' '.join(argv)} ended with status {returncode}: {stderr.strip()}")
        self.returncode = returncode
        self.stderr = stderr


class _PortTakenError(ProcessError):
    """Somebody took a port between our look and our start."""


class ControlPlane:
    """etcd, API server, controller manager, scheduler and (by default) KWOK, each its own process.

    Use it as a context manager. Several may run at once on one machine. It leaves nothing behind, not even when this
    Python process is killed.

    Args:
        kwok: play the kubelet of every node annotated ``kwok.x-k8s.io/node: fake``.
        lean: for thousands of nodes: no node leases or heartbeats, and none of the controllers that watch them (a
            dead node is then never noticed). Say so beside any figure measured this way.
        nodes: manifests of nodes to create (see `controlplane.nodes`) and to wait for.
        bind_address: where the API server listens; a real kubelet needs an address it can reach.
        server_names: more DNS names and addresses for the server's certificate.
        extra_args: more flags by component name; they come last, so they win.
        extra_stages: more KWOK stage files.
        logs_dir: where the logs go, if they are to survive; by default they vanish with everything else.
        ready_seconds: how long a component may take to become ready.
    """

    def __init__(
        self,
        *,
        kwok: bool = True,
        lean: bool = False,
        nodes: Sequence[Mapping[str, Any]] = (),
        bind_address: str = "127.0.0.1",
        server_names: Sequence[str] = (),
        extra_args: Mapping[str, Sequence[str]] | None = None,
        extra_stages: Sequence[Path] = (),
        logs_dir: Path | None = None,
        ready_seconds: float = 60,
    ) -> None:
        self._kwok = kwok
        self._lean = lean
        self._nodes = nodes
        self._bind_address = bind_address
        self._server_names = server_names
        self._extra_args = dict(extra_args or {})
        self._extra_stages = extra_stages
        self._kept_logs = logs_dir
        self._ready_seconds = ready_seconds
        self._processes: Processes | None = None
        self._layout: components.Layout | None = None
        self._api: Api | None = None
        self._components: dict[str, components.Component] = {}
        self._wanted: list[str] = []
        self.seconds_to_ready: float = 0.0
        """How long the last start took from nothing to ready, without building."""

    # -- life ---------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Start everything and wait until it is ready; the context manager does this.

        Raises:
            ProcessError: a component ended, or did not become ready; the message ends with its log's last lines.
        """
        if self._processes is not None:
            raise ProcessError("this control plane runs already")
        # Build before the clock runs: the first time takes minutes.
        build.build(build.RECIPES["k8s"])
        if self._kwok:
            build.build(build.RECIPES["kwok"])
        for attempt in range(_ATTEMPTS):
            try:
                self._open_once()
            except _PortTakenError:
                self.close()
                if attempt == _ATTEMPTS - 1:
                    raise
            except BaseException:
                self.close()
                raise
            else:
                break
        if self._nodes:
            try:
                self.create_nodes(self._nodes)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """End every process and remove every file; the context manager does this. May be called twice."""
        if self._api is not None:
            self._api.close()
        if self._processes is not None:
            self._processes.close()
        self._processes = None
        self._api = None
        self._layout = None
        self._components = {}
        self._wanted = []

    def _open_once(self) -> None:
        started = time.monotonic()
        self._processes = Processes(prefix="switchyard-controlplane-")
        folder = self._processes.folder
        names = ["localhost", "kubernetes.default.svc", "127.0.0.1", "10.0.0.1", *self._server_names]
        if self._bind_address not in ("0.0.0.0", *names):
            names.append(self._bind_address)
        self._layout = components.Layout(
            folder=folder,
            ports=components.Ports(
                **dict(
                    zip(components.Ports.__dataclass_fields__, self._processes.reserve_ports(6), strict=True),
                )
            ),
            certificates=certs.issue(folder=folder / "certificates", server_names=names),
            kubeconfig=folder / "kubeconfig",
            bind_address=self._bind_address,
            lean=self._lean,
            stages=[*components.stage_files(lean=self._lean), *self._extra_stages],
        )
        components.write_configuration(self._layout)
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        self.bin_dir.mkdir()
        self.link_tool("kubectl")
        certificates = self._layout.certificates
        self._api = Api(
            server=self.server,
            authority=certificates.authority,
            certificate=certificates.admin_certificate,
            key=certificates.admin_key,
        )
        first = [components.etcd(self._layout), components.api_server(self._layout)]
        then = [components.controller_manager(self._layout), components.scheduler(self._layout)]
        if self._kwok:
            then.append(components.kwok(self._layout))
        self._components = {each.name: each for each in (*first, *then)}
        for each in first:
            self._start_process(each.name)
        # The others give up, or wait for seconds, when they find no API server.
        self._wait_healthy([each.name for each in first])
        for each in then:
            self._start_process(each.name)
        self.wait_ready()
        self.seconds_to_ready = time.monotonic() - started

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def server(self) -> str:
        """The API server's URL."""
        return components.server_url(self._running_layout)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of an administrator; it refers to files that end with this control plane."""
        return self._running_layout.kubeconfig

    @property
    def folder(self) -> Path:
        """The temporary folder that holds everything."""
        return self._running_layout.folder

    @property
    def logs_dir(self) -> Path:
        """One log file for each component, named after it."""
        return self._kept_logs or self._running_layout.folder / "logs"

    @property
    def bin_dir(self) -> Path:
        """A folder for PATH, with kubectl and whatever `link_tool` added."""
        return self._running_layout.folder / "bin"

    @property
    def certificates(self) -> certs.Certificates:
        """The authority and the keys, for whoever joins (a real kubelet)."""
        return self._running_layout.certificates

    @property
    def api(self) -> Api:
        """A JSON client with the administrator's rights; far quicker than kubectl."""
        if self._api is None:
            raise ProcessError("this control plane does not run")
        return self._api

    @property
    def env(self) -> dict[str, str]:
        """The environment for a command against this control plane: our own, with its KUBECONFIG, PATH and caches."""
        folder = self._running_layout.folder
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.bin_dir}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            # kubectl and Helm would otherwise leave files in the home folder.
            "KUBECACHEDIR": str(folder / "kubectl-cache"),
            "HELM_CACHE_HOME": str(folder / "helm" / "cache"),
            "HELM_CONFIG_HOME": str(folder / "helm" / "config"),
            "HELM_DATA_HOME": str(folder / "helm" / "data"),
        }

    def pids(self) -> dict[str, int]:
        """Return the process ids of the components that run."""
        return self._running.pids()

    def status(self) -> dict[str, int | None]:
        """Return the exit status by component, None for those that run."""
        return self._running.status()

    @property
    def supervisor_pid(self) -> int:
        """The process that ends all others when this one dies."""
        return self._running.supervisor_pid

    # -- commands -----------------------------------------------------------------------------------------------------

    def kubectl(self, *args: str, input: str | None = None, timeout_seconds: float = 120) -> str:  # noqa: A002
        """Run kubectl as administrator and return what it printed.

        Raises:
            CommandError: it ended with an error.
        """
        return self._command("kubectl", *args, stdin=input, timeout_seconds=timeout_seconds)

    def helm(self, *args: str, input: str | None = None, timeout_seconds: float = 300) -> str:  # noqa: A002
        """Run Helm as administrator and return what it printed.

        Raises:
            CommandError: it ended with an error.
        """
        return self._command("helm", *args, stdin=input, timeout_seconds=timeout_seconds)

    def link_tool(self, name: str) -> Path:
        """Put a built tool (``helm``, ``promtool``) into `bin_dir`, building it first if need be."""
        link = self.bin_dir / name
        if not link.exists():
            link.symlink_to(build.tool(name))
        return link

    def service_account_kubeconfig(self, *, namespace: str, name: str) -> Path:
        """Write a kubeconfig that acts as this service account (which must exist), with a token for a day."""
        answer = self.api.create(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}},
        )
        path = self.folder / f"kubeconfig-{namespace}-{name}"
        components.write_kubeconfig(
            path=path,
            server=self.server,
            authority=self.certificates.authority,
            user={"token": answer["status"]["token"]},
        )
        return path

    def create_nodes(self, manifests: Sequence[Mapping[str, Any]], *, timeout_seconds: float = 120) -> None:
        """Create nodes, several at once, and (with KWOK) wait until they are ready and their taints gone."""
        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda manifest: self.api.create("/api/v1/nodes", manifest), manifests))
        if self._kwok:
            names = {manifest["metadata"]["name"] for manifest in manifests}
            self.api.wait_until(
                f"{len(names)} nodes ready",
                lambda: not (names - _usable_nodes(self.api.get("/api/v1/nodes"))),
                timeout_seconds=timeout_seconds,
            )

    # -- faults -------------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """SIGKILL a component, such as ``kube-apiserver``, and wait until it is gone."""
        self._component(name)
        self._running.kill(name)
        if name in self._wanted:
            self._wanted.remove(name)

    def pause(self, name: str) -> None:
        """Stop a component in its tracks (SIGSTOP): connections stay open and nobody answers."""
        self._component(name)
        self._running.signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused component go on."""
        self._component(name)
        self._running.signal(name, signal.SIGCONT)

    def start(self, name: str, *, wait: bool = True) -> None:
        """Start a component that was killed, on its old port with its old data, and wait until it is well."""
        self._start_process(name)
        if wait:
            self._wait_healthy([name])

    def restart(self, name: str) -> None:
        """SIGKILL a component and start it again."""
        self.kill(name)
        self.start(name)

    def wait_ready(self) -> None:
        """Wait until every component that should run is well, and pods can be created in namespace default."""
        self._wait_healthy(self._wanted)
        if {components.API_SERVER, components.CONTROLLER_MANAGER} <= set(self._wanted):
            # Until the controller manager has made it, every pod in the namespace is refused.
            self.api.wait_until(
                "service account default exists",
                lambda: self.api.get("/api/v1/namespaces/default/serviceaccounts/default"),
                timeout_seconds=self._ready_seconds,
            )

    # -- inside -------------------------------------------------------------------------------------------------------

    @property
    def _running(self) -> Processes:
        if self._processes is None:
            raise ProcessError("this control plane does not run")
        return self._processes

    @property
    def _running_layout(self) -> components.Layout:
        if self._layout is None:
            raise ProcessError("this control plane does not run")
        return self._layout

    def _component(self, name: str) -> components.Component:
        try:
            return self._components[name]
        except KeyError:
            raise ProcessError(f"no component is called {name!r}; there are: {', '.join(self._components)}") from None

    def _start_process(self, name: str) -> None:
        component = self._component(name)
        self._running.start(
            name,
            argv=[str(build.tool(name)), *component.arguments, *self._extra_args.get(name, ())],
            log=self.logs_dir / f"{name}.log",
            # Bare, so that nothing in the caller's environment (a proxy, Go's own settings) changes what runs here.
            env={"PATH": os.defpath, "HOME": str(self.folder), "TMPDIR": str(self.folder)},
        )
        if name not in self._wanted:
            self._wanted.append(name)

    def _wait_healthy(self, names: Sequence[str]) -> None:
        deadline = time.monotonic() + self._ready_seconds
        waiting = list(names)
        while waiting:
            waiting = [name for name in waiting if not _is_healthy(self._components[name].health)]
            status = self._running.status()
            for name in names:
                if status.get(name) is not None:
                    self._fail(name, f"ended with status {status[name]}")
            if not waiting:
                return
            if time.monotonic() > deadline:
                self._fail(waiting[0], f"was not well within {self._ready_seconds:.0f} s")
            time.sleep(0.05)

    def _fail(self, name: str, what: str) -> None:
        text = ""
        with contextlib.suppress(OSError):
            text = (self.logs_dir / f"{name}.log").read_text(errors="replace")
        tail = "\n".join(text.splitlines()[-20:])
        kind = _PortTakenError if any(mark in tail for mark in _PORT_TAKEN) else ProcessError
        raise kind(f"{name} {what}; the end of its log:\n{tail}")

    def _command(self, tool: str, *args: str, stdin: str | None, timeout_seconds: float) -> str:
        argv = [str(self.link_tool(tool)), *args]
        done = subprocess.run(
            argv,
            input=stdin,
            # Without input it must not read ours: a test runner's stdin may never end.
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )
        if done.returncode != 0:
            raise CommandError(argv=[tool, *args], returncode=done.returncode, stderr=done.stderr)
        return done.stdout


# Whether a component is well is asked on loopback, of certificates that it made itself.
_ANY_CERTIFICATE = ssl.create_default_context()
_ANY_CERTIFICATE.check_hostname = False
_ANY_CERTIFICATE.verify_mode = ssl.CERT_NONE
_DIRECT = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_ANY_CERTIFICATE)
)


def _is_healthy(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refused:
        refused.close()
        return False
    except OSError:
        return False


def _usable_nodes(answer: Mapping[str, Any]) -> set[str]:
    """Return the names of nodes that are ready and that the controllers no longer keep pods from."""
    usable = set()
    for node in answer["items"]:
        ready = any(
            each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", ())
        )
        held = any(taint["key"].startswith("node.kubernetes.io/") for taint in node["spec"].get("taints", ()))
        if ready and not held:
            usable.add(node["metadata"]["name"])
    return usable
