"""A small cluster for tests of the hand-over: Nodes, Pods, a Job, agents. It obeys commands and has faults to order."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

import immutables

from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import gangs, lock, machine, observe, pods, records
from switchyard.handover import record as rec

T0 = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
KAS = model.Mode(model.ModeKind.MINING, "kas")
RVN = model.Mode(model.ModeKind.MINING, "rvn")
AI = model.Mode(model.ModeKind.AI, "tenant/train")
SETTINGS = machine.Settings(backoff_limit_seconds=240.0, stable_seconds=300.0)


def after(seconds: float) -> datetime.datetime:
    return T0 + datetime.timedelta(seconds=seconds)


def coin(name: str = "kas") -> model.Coin:
    return model.Coin(
        name=name,
        uid=f"uid-{name}",
        generation=1,
        algorithm="kheavyhash",
        unit="MH/s",
        revenue_feed="feed",
        pool_fee=0.01,
        dev_fee=0.01,
        min_gpu_memory_mib=0,
        startup_seconds=30.0,
        wallet_secret="wallet",
        wallet_key="address",
        pool_urls=("stratum+tcp://one:1", "stratum+tcp://two:2"),
        miner_image="miner:1",
        miner_args=("--user", "$(WALLET).$(RIG)", "--pool", "$(POOL)"),
        benchmarks={},
        status={},
    )


def job(**changes: Any) -> model.Job:
    fields: dict[str, Any] = {
        "namespace": "tenant",
        "name": "train",
        "uid": "0a1b2c3d-job",
        "generation": 1,
        "resource_version": "1",
        "created_at": T0,
        "workload_class": model.WorkloadClass.TRAINING,
        "replicas": 2,
        "gpus_per_replica": 6,
        "bid_usd_per_gpu_hour": 1.0,
        "duration_seconds": 7200.0,
        "deadline": None,
        "requirements": model.Requirements(),
        "preemptible": True,
        "notice_seconds": 120.0,
        "min_runtime_seconds": 0.0,
        "suspend": False,
        "template": {"spec": {"containers": [{"name": "main", "image": "work:1"}]}},
        "state": model.JobState.PENDING,
        "placement": (),
        "admitted_at": None,
        "started_at": None,
        "attempts": 1,
        "preemptions": 0,
        "progress": 0.0,
        "status": {},
    }
    return model.Job(**{**fields, **changes})


def pod(name: str = "pod", **changes: Any) -> model.Pod:
    fields: dict[str, Any] = {
        "namespace": "tenant",
        "name": name,
        "uid": f"uid-{name}",
        "resource_version": "1",
        "node_name": "r1",
        "role": "",
        "rig": "",
        "coin": "",
        "job": "",
        "gpus": 6,
        "phase": model.PodPhase.RUNNING,
        "ready": True,
        "deleting_since": None,
        "reason": "",
        "notice_deadline": None,
        "checkpoint_at": None,
        "progress": None,
    }
    return model.Pod(**{**fields, **changes})


def miner_pod(name: str = "old-miner", coin_name: str = "kas", **changes: Any) -> model.Pod:
    fields = {"namespace": "switchyard-miners", "role": names.ROLE_MINER, "rig": "r1", "coin": coin_name, **changes}
    return pod(name, **fields)


def work_pod(name: str = "train-0", **changes: Any) -> model.Pod:
    return pod(name, **{"role": names.ROLE_WORK, "job": "train", **changes})


@dataclasses.dataclass
class Faults:
    """What is out of order. Sets hold names of rigs."""

    silent: set[str] = dataclasses.field(default_factory=set)
    stuck: set[str] = dataclasses.field(default_factory=set)
    full: set[str] = dataclasses.field(default_factory=set)
    no_image: set[str] = dataclasses.field(default_factory=set)
    budget: bool = False

    def clear(self) -> None:
        for group in (self.silent, self.stuck, self.full, self.no_image):
            group.clear()
        self.budget = False


class World:
    """The cluster. With `accounting` the scheduler counts GPUs as the real one does, else only those of a gang."""

    def __init__(self, *, rigs: tuple[str, ...] = ("r1",), accounting: bool = True) -> None:
        self.now = T0
        self.accounting = accounting
        self.faults = Faults()
        self.nodes: dict[str, model.Node] = {}
        self.pods: dict[str, model.Pod] = {}
        self.jobs: dict[str, model.Job] = {"tenant/train": job()}
        self.kube_jobs: dict[str, model.KubeJob] = {}
        self.coins = {name: coin(name) for name in ("kas", "rvn")}
        self.readbacks: dict[str, model.Readback] = {}
        self.outcomes: list[cmd.Outcome] = []
        self._serial = 0
        for rig in rigs:
            self.nodes[rig] = model.Node(
                name=rig,
                uid=f"uid-node-{rig}",
                resource_version=self._next(),
                labels={"kubernetes.io/hostname": rig},
                annotations={},
                taints=(model.Taint(key="theirs", value="x", effect="NoSchedule"),),
                unschedulable=False,
                ready=True,
                gpus_allocatable=6,
                hardware=model.Hardware(),
            )

    def _next(self) -> str:
        self._serial += 1
        return str(self._serial)

    # --- what the operator sees ------------------------------------------------------------------------------

    def rig(self, name: str) -> model.Rig:
        return model.Rig(
            name=name,
            uid=f"uid-{name}",
            generation=1,
            resource_version="1",
            node_name=name,
            site="site",
            labels={},
            pin=model.Pin.AUTO,
            maintenance=False,
            base_watts=80,
            hardware=model.Hardware(),
            readback=self.readbacks.get(name),
            status={},
        )

    def farm(self) -> model.Farm:
        on: dict[str, set[str]] = {}
        for key, found in self.pods.items():
            on.setdefault(found.node_name, set()).add(key)
        return model.Farm(
            rigs=immutables.Map({name: self.rig(name) for name in ("r1", "r2")}),
            nodes=immutables.Map(self.nodes),
            pods=immutables.Map(self.pods),
            pods_on=immutables.Map({node: frozenset(keys) for node, keys in on.items()}),
            jobs=immutables.Map(self.jobs),
            kube_jobs=immutables.Map(self.kube_jobs),
            coins=immutables.Map(self.coins),
        )

    def look(self, rig: str = "r1") -> observe.Observation:
        return observe.observe(self.farm(), self.rig(rig))

    def record(self, rig: str = "r1") -> rec.Record | None:
        node = self.nodes.get(rig)
        return records.read(node) if node is not None else None

    # --- the operator's turns --------------------------------------------------------------------------------

    def start(self, target: model.Mode, rig: str = "r1", reason: str = "Best") -> machine.Advance:
        return machine.start(
            self.record(rig),
            self.look(rig),
            target=target,
            now=self.now,
            reason=reason,
            message="for a test",
            settings=SETTINGS,
        )

    def advance(self, rig: str = "r1") -> machine.Advance:
        return machine.advance(self.record(rig), self.look(rig), now=self.now, settings=SETTINGS)

    def withdraw(self, rig: str = "r1") -> machine.Advance:
        record = self.record(rig)
        assert record is not None
        return machine.withdraw(record, self.look(rig), now=self.now, settings=SETTINGS)

    def gang(self) -> gangs.GangAdvance:
        found = self.jobs["tenant/train"]
        held = {placement.rig: self.record(placement.rig) for placement in found.placement}
        return gangs.advance(self.farm(), found, records=held, now=self.now, settings=SETTINGS)

    def admit(self, *rigs: str) -> None:
        placement = tuple(model.Placement(rig=rig, replicas=2 // len(rigs)) for rig in rigs)
        self.set_job(state=model.JobState.ADMITTED, placement=placement, admitted_at=self.now)

    def set_job(self, **changes: Any) -> None:
        self.jobs["tenant/train"] = dataclasses.replace(self.jobs["tenant/train"], **changes)

    def add(self, *found: model.Pod) -> None:
        for each in found:
            self.pods[f"{each.namespace}/{each.name}"] = each

    # --- the API server --------------------------------------------------------------------------------------

    def do(self, *asked: cmd.Command) -> None:
        for command in asked:
            self.outcomes.append(self._one(command))

    def _one(self, command: cmd.Command) -> cmd.Outcome:
        key = f"{command.ref.namespace}/{command.ref.name}"
        match command:
            case cmd.Patch() if command.ref.plural == "nodes":
                return self._patch_node(command)
            case cmd.Patch() if command.ref.plural == "pods":
                return self._patch_pod(key, command)
            case cmd.Create() if command.ref.plural == "pods":
                if key not in self.pods:
                    self.pods[key] = self._made(command)
            case cmd.Create() if command.ref.plural == "jobs":
                if key not in self.kube_jobs:
                    self.kube_jobs[key] = kube_job(command.ref.name)
            case cmd.Delete() if command.ref.plural == "jobs":
                return self._delete_job(key, command)
            case cmd.Evict() | cmd.Delete():
                return self._end(key, command)
            case _:
                pass
        return cmd.Outcome.DONE

    def _patch_node(self, command: cmd.Patch) -> cmd.Outcome:
        node = self.nodes.get(command.ref.name)
        if node is None:
            return cmd.Outcome.GONE
        if command.resource_version != node.resource_version or command.uid != node.uid:
            return cmd.Outcome.CONFLICT
        metadata = command.body.get("metadata", {})
        taints = command.body.get("spec", {}).get("taints")
        self.nodes[node.name] = dataclasses.replace(
            node,
            resource_version=self._next(),
            labels=_merged(node.labels, metadata.get("labels", {})),
            annotations=_merged(node.annotations, metadata.get("annotations", {})),
            taints=node.taints if taints is None else tuple(model.Taint(**taint) for taint in taints),
        )
        return cmd.Outcome.DONE

    def _patch_pod(self, key: str, command: cmd.Patch) -> cmd.Outcome:
        found = self.pods.get(key)
        if found is None:
            return cmd.Outcome.GONE
        if found.uid != command.uid:
            return cmd.Outcome.CONFLICT
        text = command.body["metadata"]["annotations"][names.ANNOTATION_NOTICE]
        deadline = None if text is None else datetime.datetime.fromisoformat(json.loads(text)["deadline"])
        self.pods[key] = dataclasses.replace(found, notice_deadline=deadline)
        return cmd.Outcome.DONE

    def _delete_job(self, key: str, command: cmd.Delete) -> cmd.Outcome:
        found = self.kube_jobs.get(key)
        if found is None:
            return cmd.Outcome.GONE
        if found.uid != command.uid:
            return cmd.Outcome.CONFLICT
        del self.kube_jobs[key]
        # What a Job owns goes with it, and nobody's disruption budget is asked.
        for each in self._replicas():
            if each.deleting_since is None:
                self._end(f"{each.namespace}/{each.name}", cmd.Delete(ref=pods.ref(each), uid=each.uid))
        return cmd.Outcome.DONE

    def _made(self, command: cmd.Create) -> model.Pod:
        labels = command.body["metadata"]["labels"]
        return miner_pod(
            command.ref.name,
            labels[names.LABEL_COIN],
            uid=f"uid-{command.ref.name}-{self._next()}",
            rig=labels[names.LABEL_RIG],
            node_name="",
            phase=model.PodPhase.PENDING,
            ready=False,
        )

    def _end(self, key: str, command: cmd.Evict | cmd.Delete) -> cmd.Outcome:
        found = self.pods.get(key)
        if found is None:
            return cmd.Outcome.GONE
        read = command.resource_version if isinstance(command, cmd.Evict) else None
        if found.uid != command.uid or (read is not None and read != found.resource_version):
            return cmd.Outcome.CONFLICT
        if not found.node_name or observe.finished(found):
            del self.pods[key]
        elif isinstance(command, cmd.Evict) and self.faults.budget and found.ready:
            return cmd.Outcome.REFUSED
        elif found.deleting_since is None:
            self.pods[key] = dataclasses.replace(found, deleting_since=self.now)
        return cmd.Outcome.DONE

    # --- the rest of the cluster -----------------------------------------------------------------------------

    def tick(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)

    def schedule(self) -> None:
        for key in sorted(self.pods):
            found = self.pods[key]
            if found.node_name or found.deleting_since is not None:
                continue
            for node in self.nodes.values():
                if self._fits(found, node):
                    self.pods[key] = dataclasses.replace(found, node_name=node.name)
                    break

    def _fits(self, found: model.Pod, node: model.Node) -> bool:
        held = {taint.value for taint in node.taints if taint.key == names.TAINT_HELD}
        if found.role == names.ROLE_MINER:
            allowed = found.rig == node.name and held <= {"mining"}
        else:
            allowed = node.labels.get(names.LABEL_CLAIM) == self.jobs["tenant/train"].uid and held <= {"ai"}
        there = [each for each in self.pods.values() if each.node_name == node.name and each.holds_gpus]
        used = sum(each.gpus for each in there if self.accounting or each.role == found.role == names.ROLE_WORK)
        return allowed and used + found.gpus <= node.gpus_allocatable

    def kubelet(self) -> None:
        for key, found in list(self.pods.items()):
            if not found.node_name:
                continue
            if found.deleting_since is not None:
                if found.node_name not in self.faults.stuck:
                    del self.pods[key]
            elif found.phase is model.PodPhase.PENDING and found.node_name not in self.faults.no_image:
                self.pods[key] = dataclasses.replace(
                    found, phase=model.PodPhase.RUNNING, ready=True, resource_version=self._next()
                )

    def agent(self, rig: str) -> None:
        node = self.nodes.get(rig)
        if node is None or rig in self.faults.silent:
            return
        profile = node.annotations.get(names.ANNOTATION_PROFILE, "idle")
        last = self.readbacks.get(rig)
        busy = any(each.node_name == rig and each.holds_gpus for each in self.pods.values())
        self.readbacks[rig] = model.Readback(
            profile=profile,
            since=last.since if last is not None and last.profile == profile else self.now,
            gpu_memory_used_mib=4000 if busy or rig in self.faults.full else 12,
            watts=500,
            observed_at=self.now,
        )

    def save(self) -> None:
        """Every working replica writes a checkpoint."""
        for key, found in list(self.pods.items()):
            if found.role == names.ROLE_WORK and found.phase is model.PodPhase.RUNNING:
                self.pods[key] = dataclasses.replace(found, checkpoint_at=self.now)

    def _replicas(self) -> list[model.Pod]:
        """Pods of the gang that have not failed: each of those is replaced."""
        work = [each for each in self.pods.values() if each.role == names.ROLE_WORK]
        return [each for each in work if each.phase is not model.PodPhase.FAILED]

    def job_controller(self) -> None:
        for found in list(self.kube_jobs.values()):
            mine = self._replicas()
            if not found.complete:
                for index in range(2 - len(mine)):
                    self.add(
                        work_pod(
                            f"train-{index}-{self._next()}",
                            node_name="",
                            phase=model.PodPhase.PENDING,
                            ready=False,
                            gpus=self.jobs["tenant/train"].gpus_per_replica,
                        )
                    )

    def round(self, seconds: float = 5.0) -> None:
        """Everybody but the operator does what is to be done."""
        self.tick(seconds)
        self.job_controller()
        self.schedule()
        self.kubelet()
        for rig in self.nodes:
            self.agent(rig)

    def settle(self, rig: str = "r1", rounds: int = 60) -> rec.Record:
        """Let operator and cluster take turns until the rig is settled."""
        for _ in range(rounds):
            self.do(*self.advance(rig).commands)
            record = self.record(rig)
            if record is not None and record.settled:
                return record
            self.round()
        raise AssertionError(f"not settled: {self.record(rig)}")

    def bring(self, target: model.Mode, rig: str = "r1") -> rec.Record:
        """A whole switch."""
        self.do(*self.start(target, rig).commands)
        return self.settle(rig)

    def held(self, rig: str = "r1") -> str:
        return next(taint.value for taint in self.nodes[rig].taints if taint.key == names.TAINT_HELD)

    def owners(self, rig: str) -> set[str]:
        return {
            f"{each.role}:{each.coin or each.job}"
            for each in self.pods.values()
            if each.node_name == rig and each.holds_gpus and each.role
        }

    def as_said(self, rig: str) -> bool:
        """Whether the Node carries all that its record wants."""
        record = self.record(rig)
        return record is not None and lock.patch(self.nodes[rig], record) is None


def kube_job(name: str, **changes: Any) -> model.KubeJob:
    fields: dict[str, Any] = {
        "namespace": "tenant",
        "name": name,
        "uid": f"uid-{name}",
        "ready": 0,
        "succeeded": 0,
        "failed": 0,
        "complete": False,
        "broken": False,
        "message": "",
    }
    return model.KubeJob(**{**fields, **changes})


def _merged(present: Any, patch: Any) -> dict[str, str]:
    merged = {**present, **patch}
    return {key: value for key, value in merged.items() if value is not None}
