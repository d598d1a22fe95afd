"""The control plane that all other cluster tests stand on: it behaves as a cluster, and it leaves nothing behind."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from controlplane import Prometheus, build, manifests, nodes
from controlplane.client import ApiError
from controlplane.launcher import CommandError, ControlPlane
from controlplane.processes import ProcessError, Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cluster

_TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def farm(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of these tests' own, and three rigs of four GPUs that only pods asking for this farm may use."""
    name = "controlplane-tests"
    control_plane.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    control_plane.api.wait_until(
        "the namespace's service account",
        lambda: control_plane.api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"),
    )
    rigs = nodes.gpu_nodes(3, prefix=name, gpus=4, labels={"farm": name})
    control_plane.create_nodes(rigs)
    yield name
    for rig in rigs:
        control_plane.api.delete(f"/api/v1/nodes/{rig['metadata']['name']}")
    control_plane.api.delete(f"/api/v1/namespaces/{name}")


def _gpu_pod_spec(*, gpus: int) -> dict[str, Any]:
    limits = {nodes.GPU_RESOURCE: str(gpus)}
    return {"containers": [{"name": "work", "image": "work:1", "resources": {"limits": limits}}]}


def _pod_spec(*, farm: str, gpus: int, **more: Any) -> dict[str, Any]:
    return {"nodeSelector": {"farm": farm}, **_gpu_pod_spec(gpus=gpus), **more}


def _pod(name: str, *, farm: str, gpus: int = 1, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels or {}, **more},
        "spec": _pod_spec(farm=farm, gpus=gpus),
    }


def _phase(control_plane: ControlPlane, path: str) -> str:
    phase: str = control_plane.api.get(path)["status"].get("phase", "")
    return phase


def _is_gone(control_plane: ControlPlane, path: str) -> bool:
    try:
        control_plane.api.get(path)
    except ApiError as refused:
        return refused.status == 404
    return False


def _wait_for(what: str, check: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def _exists(pid: int) -> bool:
    try:
        # A zombie has ended; only its parent has not asked yet.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_is_ready_within_seconds_and_says_its_version(control_plane: ControlPlane) -> None:
    # About 4 s on two idle cores; the bound is for a machine that is busy with something else.
    assert 0 < control_plane.seconds_to_ready < 40
    wanted = build._required_version(build.RECIPES["k8s"])
    assert control_plane.api.get("/version")["gitVersion"] == wanted
    assert wanted in control_plane.kubectl("version")


def test_a_pod_gets_gpus_of_a_simulated_node_and_runs(control_plane: ControlPlane, farm: str) -> None:
    path = f"/api/v1/namespaces/{farm}/pods"
    control_plane.api.create(path, _pod("four", farm=farm, gpus=4))
    control_plane.api.wait_until("pod runs", lambda: _phase(control_plane, f"{path}/four") == "Running")
    pod = control_plane.api.get(f"{path}/four")
    assert pod["spec"]["nodeName"].startswith(farm)
    assert {each["type"] for each in pod["status"]["conditions"] if each["status"] == "True"} >= {
        "Ready",
        "Initialized",
    }
    assert pod["status"]["containerStatuses"][0]["state"].keys() == {"running"}

    # More than any node has: it must wait, and the scheduler must say why.
    control_plane.api.create(path, _pod("five", farm=farm, gpus=5))
    refused = control_plane.api.wait_until(
        "scheduler's word", lambda: _unschedulable(control_plane.api.get(f"{path}/five"))
    )
    assert "Insufficient nvidia.com/gpu" in refused
    for name in ("four", "five"):
        control_plane.api.delete(f"{path}/{name}")
    control_plane.api.wait_until("both gone", lambda: not control_plane.api.get(path)["items"])


def _unschedulable(pod: dict[str, Any]) -> str:
    for each in pod["status"].get("conditions", ()):
        if each["type"] == "PodScheduled" and each["status"] == "False":
            message: str = each["message"]
            return message
    return ""


def test_an_indexed_job_completes_when_its_pods_are_played_to_the_end(control_plane: ControlPlane, farm: str) -> None:
    jobs, pods = f"/apis/batch/v1/namespaces/{farm}/jobs", f"/api/v1/namespaces/{farm}/pods"
    control_plane.api.create(
        jobs,
        {
            "metadata": {"name": "train"},
            "spec": {
                "completions": 3,
                "parallelism": 3,
                "completionMode": "Indexed",
                "template": {"spec": _pod_spec(farm=farm, gpus=1, restartPolicy="Never")},
            },
        },
    )
    running = control_plane.api.wait_until(
        "3 pods run", lambda: _running_pods(control_plane, pods, "job-name=train", count=3)
    )
    indexes = {pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for pod in running}
    assert indexes == {"0", "1", "2"}
    # Nothing but the simulation ends a pod: no stage may complete it by itself.
    time.sleep(1)
    assert not control_plane.api.get(f"{jobs}/train")["status"].get("succeeded")
    for pod in running:
        control_plane.api.patch(f"{pods}/{pod['metadata']['name']}/status", {"status": {"phase": "Succeeded"}})
    status = control_plane.api.wait_until(
        "job complete",
        lambda: _complete(control_plane.api.get(f"{jobs}/train")["status"]),
    )
    assert (status["succeeded"], status["completedIndexes"]) == (3, "0-2")
    control_plane.api.delete(f"{jobs}/train", {"propagationPolicy": "Background"})
    control_plane.api.wait_until("pods collected", lambda: not control_plane.api.get(pods)["items"])


def _running_pods(control_plane: ControlPlane, path: str, selector: str, *, count: int) -> list[dict[str, Any]] | None:
    found = [
        pod
        for pod in control_plane.api.get(path, labelSelector=selector)["items"]
        if pod["status"].get("phase") == "Running"
    ]
    return found if len(found) == count else None


def _complete(status: dict[str, Any]) -> dict[str, Any] | None:
    done = any(each["type"] == "Complete" and each["status"] == "True" for each in status.get("conditions", ()))
    return status if done else None


def test_eviction_honours_a_disruption_budget(control_plane: ControlPlane, farm: str) -> None:
    path, budgets = f"/api/v1/namespaces/{farm}/pods", f"/apis/policy/v1/namespaces/{farm}/poddisruptionbudgets"
    for name in ("a", "b"):
        control_plane.api.create(path, _pod(name, farm=farm, labels={"app": "served"}))
    control_plane.api.create(
        budgets,
        {
            "metadata": {"name": "served"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "served"}}},
        },
    )
    control_plane.api.wait_until(
        "the budget allows one", lambda: control_plane.api.get(f"{budgets}/served")["status"]["disruptionsAllowed"] == 1
    )

    def evict(name: str) -> None:
        control_plane.api.create(
            f"{path}/{name}/eviction",
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": farm}},
        )

    evict("a")
    control_plane.api.wait_until("a gone", lambda: _is_gone(control_plane, f"{path}/a"))
    with pytest.raises(ApiError) as refused:
        evict("b")
    assert refused.value.status == 429
    assert _phase(control_plane, f"{path}/b") == "Running"
    control_plane.api.delete(f"{budgets}/served")
    evict("b")
    control_plane.api.wait_until("b gone", lambda: _is_gone(control_plane, f"{path}/b"))


def test_a_deleted_pod_fails_before_it_goes_and_finalizers_hold_it(control_plane: ControlPlane, farm: str) -> None:
    path = f"/api/v1/namespaces/{farm}/pods"
    control_plane.api.create(path, _pod("held", farm=farm, finalizers=["switchyard.farm/test"]))
    control_plane.api.wait_until("runs", lambda: _phase(control_plane, f"{path}/held") == "Running")
    control_plane.api.delete(f"{path}/held")
    control_plane.api.wait_until("fails", lambda: _phase(control_plane, f"{path}/held") == "Failed")
    time.sleep(0.5)
    pod = control_plane.api.get(f"{path}/held")
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 143
    control_plane.api.patch(f"{path}/held", {"metadata": {"finalizers": None}})
    control_plane.api.wait_until("gone", lambda: _is_gone(control_plane, f"{path}/held"), timeout_seconds=5)


def test_a_stuck_pod_stays_terminating_until_it_is_released(control_plane: ControlPlane, farm: str) -> None:
    path = f"/api/v1/namespaces/{farm}/pods"
    control_plane.api.create(path, _pod("stuck", farm=farm, labels={"switchyard.farm/sim-stuck": "true"}))
    control_plane.api.wait_until("runs", lambda: _phase(control_plane, f"{path}/stuck") == "Running")
    control_plane.api.delete(f"{path}/stuck")
    time.sleep(1)
    pod = control_plane.api.get(f"{path}/stuck")
    assert (pod["status"]["phase"], "deletionTimestamp" in pod["metadata"]) == ("Running", True)
    control_plane.api.patch(f"{path}/stuck", {"metadata": {"labels": {"switchyard.farm/sim-stuck": None}}})
    control_plane.api.wait_until("gone", lambda: _is_gone(control_plane, f"{path}/stuck"), timeout_seconds=5)


def test_a_pod_can_be_kept_from_starting(control_plane: ControlPlane, farm: str) -> None:
    path = f"/api/v1/namespaces/{farm}/pods"
    control_plane.api.create(path, _pod("slow", farm=farm, labels={"switchyard.farm/sim-not-starting": "true"}))
    control_plane.api.wait_until("is bound", lambda: control_plane.api.get(f"{path}/slow")["spec"].get("nodeName"))
    time.sleep(1)
    assert _phase(control_plane, f"{path}/slow") == "Pending"
    control_plane.api.patch(f"{path}/slow", {"metadata": {"labels": {"switchyard.farm/sim-not-starting": None}}})
    control_plane.api.wait_until("runs", lambda: _phase(control_plane, f"{path}/slow") == "Running")
    control_plane.api.delete(f"{path}/slow")
    control_plane.api.wait_until("gone", lambda: _is_gone(control_plane, f"{path}/slow"))


def test_only_annotated_nodes_are_simulated(control_plane: ControlPlane) -> None:
    real = nodes.gpu_node(name="not-simulated")
    real["metadata"]["annotations"] = {}
    control_plane.api.create("/api/v1/nodes", real)
    try:
        time.sleep(1)
        status = control_plane.api.get("/api/v1/nodes/not-simulated")["status"]
        assert not [each for each in status.get("conditions", ()) if each["status"] == "True"]
    finally:
        control_plane.api.delete("/api/v1/nodes/not-simulated")


def test_a_service_account_may_do_only_what_it_was_granted(control_plane: ControlPlane, farm: str) -> None:
    control_plane.api.create(f"/api/v1/namespaces/{farm}/serviceaccounts", {"metadata": {"name": "reader"}})
    control_plane.kubectl("create", "role", "reader", "-n", farm, "--verb=get,list", "--resource=pods")
    control_plane.kubectl(
        "create", "rolebinding", "reader", "-n", farm, "--role=reader", f"--serviceaccount={farm}:reader"
    )
    own = str(control_plane.service_account_kubeconfig(namespace=farm, name="reader"))
    control_plane.kubectl("--kubeconfig", own, "get", "pods", "-n", farm)
    with pytest.raises(CommandError, match="Forbidden"):
        control_plane.kubectl("--kubeconfig", own, "get", "nodes")


def test_manifests_are_applied_kinds_first(control_plane: ControlPlane, tmp_path: Path) -> None:
    kind = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "probes.test.switchyard.farm"},
        "spec": {
            "group": "test.switchyard.farm",
            "names": {"kind": "Probe", "plural": "probes"},
            "scope": "Cluster",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    probe = {"apiVersion": "test.switchyard.farm/v1", "kind": "Probe", "metadata": {"name": "p"}}
    node = nodes.gpu_node(name="applied", gpus=6)
    # The names sort the instance before its kind.
    (tmp_path / "1.yaml").write_text(yaml.safe_dump_all([probe, node]))
    (tmp_path / "2.yaml").write_text(yaml.safe_dump(kind))
    try:
        assert manifests.apply(control_plane, [tmp_path]) == 3
        assert control_plane.api.get("/apis/test.switchyard.farm/v1/probes/p")["metadata"]["name"] == "p"
        assert control_plane.api.get("/api/v1/nodes/applied")["status"]["capacity"][nodes.GPU_RESOURCE] == "6"
        # Again, as a person would after a change.
        assert manifests.apply(control_plane, [tmp_path]) == 3
    finally:
        control_plane.kubectl("delete", "node/applied", "crd/probes.test.switchyard.farm")


def test_two_at_once_know_nothing_of_each_other(control_plane: ControlPlane) -> None:
    with ControlPlane(kwok=False) as other:
        assert other.server != control_plane.server
        assert other.folder != control_plane.folder
        other.api.create("/api/v1/namespaces", {"metadata": {"name": "only-here"}})
        assert _is_gone(control_plane, "/api/v1/namespaces/only-here")
        # Each trusts its own authority only.
        stolen = yaml.safe_load(control_plane.kubeconfig.read_text())
        stolen["clusters"][0]["cluster"]["server"] = other.server
        (other.folder / "stolen").write_text(yaml.safe_dump(stolen))
        with pytest.raises(CommandError, match="certificate"):
            other.kubectl("--kubeconfig", str(other.folder / "stolen"), "get", "namespaces")
        assert "kwok" not in other.pids()
        folder, pids = other.folder, other.pids()
    assert len(pids) == 4
    assert not folder.exists()
    assert not [name for name, pid in pids.items() if _exists(pid)]
    control_plane.api.get("/readyz")


@pytest.mark.parametrize("name", ["kube-apiserver", "etcd"])
def test_what_was_written_survives_a_sigkill(own_control_plane: ControlPlane, name: str) -> None:
    configmaps = "/api/v1/namespaces/default/configmaps"
    own_control_plane.api.create(configmaps, {"metadata": {"name": f"before-{name}"}, "data": {"key": "value"}})
    pid = own_control_plane.pids()[name]
    own_control_plane.kill(name)
    assert not _exists(pid)
    with pytest.raises((OSError, ApiError)):
        own_control_plane.api.request(
            "POST", configmaps, body={"metadata": {"name": f"during-{name}"}}, timeout_seconds=3
        )
    own_control_plane.start(name)
    own_control_plane.wait_ready()
    assert own_control_plane.pids()[name] != pid
    assert own_control_plane.api.get(f"{configmaps}/before-{name}")["data"] == {"key": "value"}
    # The others found it again: a new pod is scheduled and runs.
    own_control_plane.api.create(
        "/api/v1/namespaces/default/pods",
        {"metadata": {"name": f"after-{name}"}, "spec": {"containers": [{"name": "work", "image": "work:1"}]}},
    )
    own_control_plane.api.wait_until(
        "new pod runs",
        lambda: _phase(own_control_plane, f"/api/v1/namespaces/default/pods/after-{name}") == "Running",
        timeout_seconds=60,
    )


def test_a_paused_server_answers_nobody_until_it_goes_on(own_control_plane: ControlPlane) -> None:
    own_control_plane.pause("kube-apiserver")
    try:
        with pytest.raises(TimeoutError):
            own_control_plane.api.request("GET", "/api/v1/namespaces", timeout_seconds=1)
    finally:
        own_control_plane.resume("kube-apiserver")
    assert own_control_plane.api.get("/api/v1/namespaces")["items"]


@pytest.fixture(scope="module")
def own_control_plane() -> Iterator[ControlPlane]:
    """For the tests that break parts of it: none that others use."""
    with ControlPlane(nodes=[nodes.node(name="alone")]) as started:
        yield started


_OWNER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
from controlplane.launcher import ControlPlane
with ControlPlane() as control_plane:
    print(control_plane.folder, control_plane.supervisor_pid, *control_plane.pids().values(), flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def _another_owner() -> Iterator[tuple[subprocess.Popen[str], Path, list[int]]]:
    """Start a control plane in a Python process of its own."""
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        try:
            line = owner.stdout.readline().split() if owner.stdout else []
            assert len(line) == 7, "the owner's control plane did not start"
            folder, pids = Path(line[0]), [int(pid) for pid in line[1:]]
            assert folder.is_dir()
            assert all(_exists(pid) for pid in pids)
            yield owner, folder, pids
        finally:
            owner.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_owner_that_is_killed_leaves_nothing_behind(number: signal.Signals) -> None:
    with _another_owner() as (owner, folder, pids):
        owner.send_signal(number)
        assert owner.wait(timeout=20) != 0
        _wait_for("every process gone", lambda: not any(_exists(pid) for pid in pids), seconds=10)
        _wait_for("the folder gone", lambda: not folder.exists(), seconds=10)


def test_a_killed_supervisor_takes_the_processes_with_it_and_the_owner_the_folder() -> None:
    with ControlPlane(kwok=False) as broken:
        folder, pids = broken.folder, broken.pids()
        os.kill(broken.supervisor_pid, signal.SIGKILL)
        _wait_for("every process gone", lambda: not any(_exists(pid) for pid in pids.values()), seconds=10)
        with pytest.raises(ProcessError, match="gone"):
            broken.start("etcd")
    assert not folder.exists()


def test_a_component_that_cannot_start_is_named_with_its_own_words(tmp_path: Path) -> None:
    with (
        pytest.raises(ProcessError, match=r"(?s)kube-scheduler ended with status .*no-such-flag"),
        ControlPlane(kwok=False, extra_args={"kube-scheduler": ["--no-such-flag"]}, logs_dir=tmp_path),
    ):
        pass
    assert "no-such-flag" in (tmp_path / "kube-scheduler.log").read_text()


@pytest.mark.tools("helm")
def test_exec_hands_over_environment_and_exit_status() -> None:
    script = (
        "kubectl create namespace made-inside >/dev/null && kubectl get namespace -o name && helm version && exit 7"
    )
    done = subprocess.run(
        [sys.executable, "-m", "controlplane", "exec", "--no-kwok", "--with", "helm", "--", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 7, done.stderr
    assert "namespace/made-inside" in done.stdout
    assert build._required_version(build.RECIPES["helm"]) in done.stdout


def test_sandbox_applies_manifests_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(yaml.safe_dump(nodes.gpu_node(name="rig")))
    with subprocess.Popen(
        [sys.executable, "-m", "controlplane", "sandbox", "-f", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    ) as sandbox:
        try:
            lines: dict[str, str] = {}
            for line in sandbox.stdout or ():
                name, _, value = line.strip().removeprefix("export ").partition("=")
                lines[name] = value
                if "Ctrl-C" in line:
                    break
            kubeconfig = lines["KUBECONFIG"]
            listed = subprocess.run(
                [build.tool("kubectl"), "--kubeconfig", kubeconfig, "get", "nodes", "-o", "name"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            assert listed == "node/rig\n"
            sandbox.send_signal(signal.SIGINT)
            assert sandbox.wait(timeout=20) == 130
        finally:
            sandbox.kill()
    assert not Path(kubeconfig).parent.exists()


def test_lean_serves_hundreds_of_nodes_without_leases() -> None:
    with ControlPlane(lean=True) as lean:
        started = time.monotonic()
        lean.create_nodes(nodes.gpu_nodes(300))
        seconds = time.monotonic() - started
        assert not lean.api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")["items"]
        lean.api.create("/api/v1/namespaces/default/pods", {"metadata": {"name": "one"}, "spec": _gpu_pod_spec(gpus=8)})
        lean.api.wait_until("pod runs", lambda: _phase(lean, "/api/v1/namespaces/default/pods/one") == "Running")
    # Around 2 s on two idle cores.
    assert seconds < 60


class _Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'rig_watts{rig="a"} 1250\n'
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's own name
        """Say nothing."""


@pytest.mark.tools("prometheus")
def test_prometheus_scrapes_and_answers_instant_queries() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Metrics) as target:
        thread = threading.Thread(target=target.serve_forever)
        thread.start()
        try:
            with Prometheus(scrape_targets=[f"127.0.0.1:{target.server_port}"]) as prometheus:
                (sample,) = prometheus.wait_for("sum by (rig) (rig_watts)")
                assert sample["metric"] == {"rig": "a"}
                assert float(sample["value"][1]) == 1250
                assert prometheus.query("no_such_metric") == []
        finally:
            target.shutdown()
            thread.join()


@pytest.mark.parametrize("bad", ["no-such-tool", "kubectl.exe"])
def test_an_unknown_tool_is_refused_with_the_names_there_are(bad: str) -> None:
    with pytest.raises(build.BuildError, match="kubectl"):
        build.tool(bad)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> build.Recipe:
    """A recipe of one program that builds in a second, and an empty cache."""
    go_folder = build._fetched_go_folder()
    monkeypatch.setattr(build, "_fetched_go_folder", lambda: go_folder)
    monkeypatch.setattr(build, "_MODULES", tmp_path)
    monkeypatch.setenv("SWITCHYARD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "go.mod").write_text("module tiny\n\ngo 1.26.0\n\n// tiny v1.2.3\n")
    (tmp_path / "tiny" / "main.go").write_text('package main\n\nvar say = "no"\n\nfunc main() { println(say) }\n')
    return build.Recipe(
        module="tiny",
        packages=(".",),
        programs=("tiny",),
        requirement="// tiny",
        stamps=("main.say={version}-{major}-{minor}",),
        links=("a", "b"),
        minutes=0,
        megabytes=2,
    )


def test_two_callers_build_once_and_a_change_builds_beside(
    tiny: build.Recipe, capfd: pytest.CaptureFixture[str]
) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _: build.build(tiny), range(2))
    assert first == second
    said = capfd.readouterr().err
    assert said.count("building a, b") == 1
    assert said.count("built tiny in") == 1
    run = subprocess.run([first / "b"], check=True, capture_output=True, text=True)
    assert run.stderr == "v1.2.3-1-2\n"
    assert [each.name for each in first.parent.iterdir() if "part" in each.name] == []

    (tiny.folder / "main.go").write_text('package main\n\nfunc main() { println("other") }\n')
    changed = build.build(tiny)
    assert changed != first
    assert first.exists()


def test_a_failed_build_says_why_and_leaves_no_half_of_it(tiny: build.Recipe) -> None:
    (tiny.folder / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    for _ in range(2):
        with pytest.raises(build.BuildError, match="undefined: nothing"):
            build.build(tiny)
    assert [each for each in (build.cache_folder() / "tools").iterdir() if each.is_dir()] == []


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    first, second = Processes(prefix="switchyard-test-"), Processes(prefix="switchyard-test-")
    try:
        # So many of so few that a supervisor without the other's word would pick some of them again.
        ports = [*first.reserve_ports(200), *second.reserve_ports(200), *first.reserve_ports(200)]
        assert len(set(ports)) == len(ports)
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        assert max(ports) < lowest
    finally:
        first.close()
        second.close()
