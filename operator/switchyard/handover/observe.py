"""What a hand-over needs to know of the farm about one rig."""

from __future__ import annotations

import dataclasses

from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import record as rec
from switchyard.handover import records


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One rig as it stands. Pods are ordered by namespace and name; finished ones are among them.

    Attributes:
        rig: with what its agent last said (`rig.readback`).
        node: the lock; None when the Node is gone.
        record: as it stands on the Node; None when there is none that makes sense.
        seen: the mode that the Pods on the Node speak of, whatever the record says; None when none of ours runs.
        miners: miner Pods on the Node, and those for this rig that no Node has yet.
        work: Pods of AIJobs on the Node.
        foreign: other people's Pods that hold GPUs of the Node.
        coin: the Coin of the record's mode, if it mines and the Coin exists.
        job: the AIJob of the record's mode, if it is AI and the job exists.
        leaving: the AIJob of the record's origin, likewise.
        gang: while NOTIFYING, the Pods of the leaving job on all its rigs; while STARTING, those of the arriving one.
            Empty otherwise.
    """

    rig: model.Rig
    node: model.Node | None
    record: rec.Record | None
    seen: model.Mode | None
    miners: tuple[model.Pod, ...]
    work: tuple[model.Pod, ...]
    foreign: tuple[model.Pod, ...]
    coin: model.Coin | None
    job: model.Job | None
    leaving: model.Job | None
    gang: tuple[model.Pod, ...]


def observe(farm: model.Farm, rig: model.Rig) -> Observation:
    """Look at one rig of the farm."""
    node = farm.nodes.get(rig.node_name)
    record = records.read(node) if node is not None else None
    here = on_node(farm, rig.node_name)
    homeless = [farm.pods[key] for key in sorted(farm.pods_on.get("", ())) if key in farm.pods]
    miners = [pod for pod in here if pod.role == names.ROLE_MINER]
    miners += [pod for pod in homeless if pod.role == names.ROLE_MINER and pod.rig == rig.name and not pod.node_name]
    work = tuple(pod for pod in here if pod.role == names.ROLE_WORK)
    seen = _seen(miners, work)
    mode = record.mode if record is not None else seen
    leaving = _job(farm, record.origin) if record is not None else None
    job = _job(farm, mode)
    return Observation(
        rig=rig,
        node=node,
        record=record,
        seen=seen,
        miners=tuple(miners),
        work=work,
        foreign=tuple(pod for pod in here if not pod.role and pod.holds_gpus and pod.gpus > 0),
        coin=farm.coins.get(mode.name) if mode is not None and mode.kind is model.ModeKind.MINING else None,
        job=job,
        leaving=leaving,
        gang=_gang(farm, record, job=job, leaving=leaving),
    )


def on_node(farm: model.Farm, node_name: str) -> list[model.Pod]:
    """The GPU Pods bound to a Node, ordered by namespace and name."""
    return [farm.pods[key] for key in sorted(farm.pods_on.get(node_name, ())) if key in farm.pods]


def of_job(farm: model.Farm, job: model.Job, rig: str) -> list[model.Pod]:
    """The Pods of a job that are bound to a rig's Node."""
    known = farm.rigs.get(rig)
    if known is None:
        return []
    return [pod for pod in on_node(farm, known.node_name) if pod.role == names.ROLE_WORK and job_of(pod) == job.key]


def job_of(pod: model.Pod) -> str:
    """The key of the AIJob that a work Pod belongs to."""
    return f"{pod.namespace}/{pod.job}"


def finished(pod: model.Pod) -> bool:
    """Whether a Pod is over: its object may stay for long, its GPUs are free."""
    return pod.phase in (model.PodPhase.SUCCEEDED, model.PodPhase.FAILED)


def _seen(miners: list[model.Pod], work: tuple[model.Pod, ...]) -> model.Mode | None:
    # Work outranks a miner: should both be there, it is the miner that has no business on the Node.
    for pod in work:
        if pod.holds_gpus and pod.deleting_since is None and pod.job:
            return model.Mode(model.ModeKind.AI, job_of(pod))
    for pod in miners:
        if pod.holds_gpus and pod.deleting_since is None and pod.coin:
            return model.Mode(model.ModeKind.MINING, pod.coin)
    return None


def _job(farm: model.Farm, mode: model.Mode | None) -> model.Job | None:
    return farm.jobs.get(mode.name) if mode is not None and mode.kind is model.ModeKind.AI else None


def _gang(
    farm: model.Farm, record: rec.Record | None, *, job: model.Job | None, leaving: model.Job | None
) -> tuple[model.Pod, ...]:
    match record.step if record is not None else None:
        case rec.Step.NOTIFYING:
            whose = leaving
        case rec.Step.STARTING:
            whose = job
        case _:
            whose = None
    if whose is None:
        return ()
    rigs = sorted({placement.rig for placement in whose.placement})
    return tuple(pod for rig in rigs for pod in of_job(farm, whose, rig))
