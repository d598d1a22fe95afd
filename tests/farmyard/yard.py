"""The yard: operator, agents and prices around one farm, and what a test asks of it."""

from __future__ import annotations

import contextlib
import datetime
import functools
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import operator_process
from controlplane import launcher
from controlplane.client import ApiError
from farmyard import agents, prices, things
from switchyard import clock as clocks
from switchyard.cluster import names
from switchyard.simulate import machines, rigs

CRDS: Final = Path(__file__).parents[2] / "crds"
_FEW: Final = {"Site": "sites", "GPUPool": "gpupools", "Coin": "coins", "PriceFeed": "pricefeeds", "Rig": "rigs"}
_PLURALS: Final = {
    **{kind: (f"/apis/{names.API_VERSION}", plural) for kind, plural in _FEW.items()},
    "AIJob": (f"/apis/{names.API_VERSION}", "aijobs"),
    "Job": ("/apis/batch/v1", "jobs"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    **{
        kind: ("/api/v1", f"{kind.lower()}s") for kind in ("Node", "Pod", "Secret", "Namespace", "Service", "ConfigMap")
    },
}
MEMORY: Final = "switchyard-memory"
_LOOK_SECONDS: Final = 0.1
_LONG_AGO: Final = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}


class Yard:
    """One operator at a time over a control plane, and at most one farm.

    Args:
        control_plane: where all of it meets.
        folder: for the operator's log and files of prices.
        arguments: more of `switchyard run`.
        speed: seconds of farm time in one of the machine's; 1 is real time.
        plan_seconds: between two plans, in the machine's own time.
    """

    def __init__(
        self,
        control_plane: launcher.ControlPlane,
        folder: Path,
        *,
        arguments: Sequence[str] = (),
        speed: float = 1.0,
        plan_seconds: float = 1.0,
    ) -> None:
        self.control_plane = control_plane
        self.api = control_plane.api
        self.folder = folder
        self.prices = prices.Prices()
        self.clock: clocks.Clock = clocks.SystemClock()
        self.speed = speed
        self._arguments = [f"--plan-interval={plan_seconds * speed:g}s", f"--prices={folder}", *arguments]
        if speed != 1.0:
            # It begins now and runs ahead: objects' own times, which the API server gives, are never yet to come.
            epoch = time.time()
            start = datetime.datetime.fromtimestamp(epoch, tz=datetime.UTC)
            self.clock = clocks.ReplayClock(start=start, epoch=epoch, speed=speed)
            self._arguments += [f"--replay-start={start.isoformat()}", f"--replay-epoch={epoch!r}"]
            self._arguments += [f"--replay-speed={speed:g}"]
        self.operator: operator_process.OperatorProcess | None = None
        self._background = agents.Background()
        self._agents: agents.Agents | None = None
        self._starts = 0

    def __enter__(self) -> Self:
        self.prices.__enter__()
        self._background.__enter__()
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.clear()
        finally:
            if self.operator is not None:
                self.operator.__exit__(None, None, None)
                self.operator = None
            self._background.__exit__(None, None, None)
            self.prices.__exit__(None, None, None)

    # --- the operator ------------------------------------------------------------------------------------------

    def start(self, *, wait: bool = True) -> None:
        """Start the operator; its log goes on where it was."""
        self._starts += 1
        self.operator = operator_process.OperatorProcess(
            kubeconfig=self.control_plane.kubeconfig,
            arguments=self._arguments,
            log=self.folder / "operator.log",
        )
        self.operator.__enter__()
        if wait:
            self.operator.wait_ready()

    def kill(self) -> None:
        """SIGKILL the operator: it has no moment to put anything in order."""
        assert self.operator is not None, "no operator runs"
        self.operator.signal(signal.SIGKILL, wait_seconds=10)
        self.operator.__exit__(None, None, None)
        self.operator = None

    def stop(self) -> None:
        """Ask the operator to end, and wait until it has."""
        assert self.operator is not None, "no operator runs"
        ended = self.operator.signal(signal.SIGTERM, wait_seconds=20)
        assert ended == 0, f"the operator ended with status {ended}:\n{self.operator.output()[-2000:]}"
        self.operator.__exit__(None, None, None)
        self.operator = None

    def log(self) -> str:
        """What the operator, in all its lives, has logged."""
        return (self.folder / "operator.log").read_text(errors="replace")

    def restart(self) -> None:
        """SIGKILL the operator and start it again."""
        self.kill()
        self.start()

    # --- the farm ----------------------------------------------------------------------------------------------

    def build(
        self,
        *,
        rigs_there: Iterable[machines.Machine],
        objects: Iterable[Mapping[str, Any]] = (),
        absent: Iterable[str] = (),
        settings: rigs.Settings | None = None,
        rate: rigs.Rate | None = None,
    ) -> None:
        """Apply the objects, start the agents, and once all prices are known create the Nodes.

        Agents of `absent` rigs wait for theirs.
        """
        assert self._agents is None, "there is a farm already: clear it first"
        rigs_there = list(rigs_there)
        self.apply(*objects)
        settings = settings or rigs.Settings(checkpoint_seconds=1.0, checkpoint_every_seconds=1e9)
        self._agents = agents.Agents(
            background=self._background,
            kubeconfig=self.control_plane.kubeconfig,
            clock=self.clock,
            rigs_there=rigs_there,
            settings=settings,
            rate=rate,
        )
        self._agents.__enter__()
        for feed in self.all("PriceFeed"):
            self.eventually(functools.partial(self.expect, "PriceFeed", feed["metadata"]["name"], "Ready", "True"))
        missing = set(absent)
        self.control_plane.create_nodes([rig.node() for rig in rigs_there if rig.name not in missing])

    @property
    def agents(self) -> agents.Agents:
        """Of the farm that was built."""
        assert self._agents is not None, "no farm was built"
        return self._agents

    def clear(self) -> None:
        """Take the farm away, whatever state it is in. The operator goes on."""
        for kind in ("GPUPool", "Site", "AIJob", "Job", "PodDisruptionBudget", "Coin", "PriceFeed"):
            self._delete_all(kind)
        if self._agents is not None:
            self._agents.__exit__(None, None, None)
            self._agents = None
        self._delete_all("Node")
        self._delete_all("Rig")
        for pod in self.all("Pod"):
            metadata = pod["metadata"]
            path = self.path("Pod", metadata["name"], metadata["namespace"])
            with contextlib.suppress(ApiError):
                self.api.patch(path, {"metadata": {"labels": {rigs.STUCK: None}, "finalizers": None}})
            with contextlib.suppress(ApiError):
                self.api.delete(path, _LONG_AGO)
        for kind in ("Node", "Rig", "AIJob", "Job", "Pod"):
            self.api.wait_until(f"every {kind} is gone", functools.partial(self._none, kind), timeout_seconds=30)

    def web_feed(self, name: str, value: object, *, power: bool = False, **more: Any) -> dict[str, Any]:
        """A PriceFeed of a price that this yard serves under its name, asked for once a second of the machine's time.

        It may be a day old before it loses weight, however fast the farm's time runs.
        """
        self.prices.set(name, value)
        source = {"http": {"url": self.prices.url(name), "pointer": "/value", "timeout": "1s"}}
        spec = {"interval": f"{max(1, round(self.speed))}s", "freshness": {"fresh": "24h", "dead": "48h"}, **more}
        return things.feed(name, source, power=power, **spec)

    def coin(self, name: str, value: object, **more: Any) -> list[dict[str, Any]]:
        """A Coin, and the feed `revenue-NAME` of what it earns."""
        return [self.web_feed(f"revenue-{name}", value, **more), things.coin(name)]

    # --- objects -----------------------------------------------------------------------------------------------

    @staticmethod
    def path(kind: str, name: str = "", namespace: str | None = None) -> str:
        """Of an object, or without a name of its collection."""
        root, plural = _PLURALS[kind]
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{within}/{plural}" + (f"/{name}" if name else "")

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects, as `kubectl apply --server-side` does."""
        for body in objects:
            metadata = body["metadata"]
            self.api.patch(self.path(body["kind"], metadata["name"], metadata.get("namespace")), body, kind="apply")

    def patch(self, kind: str, name: str, body: Mapping[str, Any], *, namespace: str | None = None) -> None:
        """Change a part of an object."""
        self.api.patch(self.path(kind, name, namespace), body)

    def delete(self, kind: str, name: str, *, namespace: str | None = None) -> None:
        """Delete an object."""
        self.api.delete(self.path(kind, name, namespace))

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """One object; it must be there."""
        found: dict[str, Any] = self.api.get(self.path(kind, name, namespace))
        return found

    def all(self, kind: str, **query: str) -> list[dict[str, Any]]:
        """All objects of a kind, in all namespaces."""
        found: list[dict[str, Any]] = self.api.get(self.path(kind), **query)["items"]
        return found

    # --- what people see ---------------------------------------------------------------------------------------

    def eventually(self, check: Callable[[], Any], *, seconds: float = 30) -> Any:
        """Repeat a check with asserts until it passes, and give what it returned.

        What it said last is what the test fails with; the end of the operator's log comes with it.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                return check()
            except (AssertionError, KeyError, ApiError, OSError) as problem:
                if time.monotonic() > deadline:
                    problem.add_note(f"this was so for {seconds:g} s; the operator's last words:")
                    problem.add_note("\n".join(self.log().splitlines()[-15:]))
                    raise
                if self.operator is not None:
                    self.operator.check()
                time.sleep(_LOOK_SECONDS)

    def always(self, check: Callable[[], Any], *, seconds: float) -> None:
        """Repeat a check for so long; it must pass every time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            check()
            if self.operator is not None:
                self.operator.check()
            time.sleep(_LOOK_SECONDS)

    def condition(self, kind: str, name: str, type_: str, namespace: str | None = None) -> dict[str, Any]:
        """A condition of an object; it must be there."""
        status = self.get(kind, name, namespace).get("status", {})
        known = {each["type"]: each for each in status.get("conditions", ())}
        assert type_ in known, f"{kind} {name} has no condition {type_}, only {sorted(known)}"
        found: dict[str, Any] = known[type_]
        return found

    def expect(
        self,
        kind: str,
        name: str,
        type_: str,
        status: str,
        *,
        reason: str | None = None,
        words: Iterable[str] = (),
        namespace: str | None = None,
    ) -> dict[str, Any]:
        """Assert how a condition stands, and give it."""
        found = self.condition(kind, name, type_, namespace)
        assert found["status"] == status, f"{kind} {name}: {found}"
        if reason is not None:
            assert found["reason"] == reason, f"{kind} {name}: {found}"
        for word in words:
            assert word in found["message"], f"{kind} {name}: {word!r} is not in {found['message']!r}"
        return found

    def expect_status(self, kind: str, name: str, **fields: Any) -> None:
        """Assert fields of a status."""
        status = self.get(kind, name)["status"]
        assert {field: status.get(field) for field in fields} == fields

    def mode(self, rig: str) -> str:
        """What a Rig's status says that it does; "" where it says nothing yet."""
        found: str = self.get("Rig", rig).get("status", {}).get("mode", {}).get("observed", "")
        return found

    def expect_modes(self, wanted: Mapping[str, str]) -> None:
        """Assert what Rigs do, and that their Nodes and Pods say the same."""
        seen = {
            rig["metadata"]["name"]: rig.get("status", {}).get("mode", {}).get("observed") for rig in self.all("Rig")
        }
        assert {name: seen.get(name) for name in wanted} == wanted
        for name, mode in wanted.items():
            kind, _, what = mode.partition("/")
            node = self.get("Node", name)
            word = kind.lower()
            labels = node["metadata"]["labels"]
            assert (labels.get(names.LABEL_MODE), labels.get(names.LABEL_MODE_STATE)) == (word, word), (
                f"{name}: {labels}"
            )
            held = [taint["value"] for taint in node["spec"].get("taints", ()) if taint["key"] == names.TAINT_HELD]
            assert held == [word], f"{name} is held by {held}"
            owners = {pod["metadata"]["labels"].get(names.LABEL_COIN) for pod in self.miners(name)}
            assert owners == ({what} if kind == "Mining" else set()), f"{name} in {mode} has miners of {owners}"

    def miners(self, rig: str) -> list[dict[str, Any]]:
        """Miner Pods of a rig that are not over."""
        selector = f"{names.LABEL_ROLE}={names.ROLE_MINER},{names.LABEL_RIG}={rig}"
        return [pod for pod in self.all("Pod", labelSelector=selector) if not _over(pod)]

    def workers(self, job: str) -> list[dict[str, Any]]:
        """Pods of an AIJob that are not over."""
        selector = f"{names.LABEL_ROLE}={names.ROLE_WORK},{names.LABEL_AIJOB}={job}"
        return [pod for pod in self.all("Pod", labelSelector=selector) if not _over(pod)]

    def job(self, name: str, type_: str, status: str, **more: Any) -> dict[str, Any]:
        """Assert how a condition of an AIJob stands, and give it."""
        return self.expect("AIJob", name, type_, status, namespace=things.TENANT, **more)

    def events(self, kind: str, name: str) -> list[dict[str, Any]]:
        """Events about an object."""
        found = self.api.get("/apis/events.k8s.io/v1/events")["items"]
        return [each for each in found if (each["regarding"]["kind"], each["regarding"]["name"]) == (kind, name)]

    # --- inside ------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self.control_plane.kubectl("apply", "--server-side", "-f", str(CRDS))
        self.control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        for namespace in (things.MINERS, things.TENANT):
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            self.api.wait_until(
                f"Pods can be made in {namespace}",
                functools.partial(self.api.get, f"/api/v1/namespaces/{namespace}/serviceaccounts/default"),
            )
        # What another farm's operator has learned is of no use to this one's.
        with contextlib.suppress(ApiError):
            self.delete("ConfigMap", MEMORY, namespace=things.MINERS)
        wallet = {"name": "wallet", "namespace": things.MINERS}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": wallet, "stringData": {"address": "NOBODY"}})

    def _none(self, kind: str) -> bool:
        return not self.all(kind)

    def _delete_all(self, kind: str) -> None:
        for body in self.all(kind):
            metadata = body["metadata"]
            with contextlib.suppress(ApiError):
                self.api.delete(self.path(kind, metadata["name"], metadata.get("namespace")), _LONG_AGO)


def _over(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
