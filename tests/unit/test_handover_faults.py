"""A farm of two rigs and one gang under an operator that is killed, repeated and contradicted at random."""

from __future__ import annotations

import dataclasses
import datetime

import hypothesis
from hypothesis import stateful
from hypothesis import strategies as st

import handover_world as hw
from switchyard.cluster import commands as cmd
from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import gangs, machine, observe
from switchyard.handover import record as rec

_RIGS = ("r1", "r2")
_rigs = st.sampled_from(_RIGS)
_FAULTS = ("silent", "stuck", "full", "no_image")
_NOTICE = datetime.timedelta(seconds=120)


class Farm(stateful.RuleBasedStateMachine):
    """GPUs are accounted for, as the scheduler does; commands of the past may be carried out late."""

    accounting = True
    late_commands = True

    def __init__(self) -> None:
        super().__init__()
        self.world = hw.World(rigs=_RIGS, accounting=self.accounting)
        self.past: list[cmd.Command] = []

    # --- the operator ----------------------------------------------------------------------------------------

    def _turn(self, rig: str) -> machine.Advance:
        """What the loop does with one rig: a job that was admitted or withdrawn, else the next turn."""
        world, job = self.world, self.world.jobs["tenant/train"]
        record = world.record(rig)
        placed = any(placement.rig == rig for placement in job.placement)
        wanted = placed and job.state is model.JobState.ADMITTED
        if record is not None and not record.settled and record.mode == hw.AI and not wanted:
            return world.withdraw(rig)
        if wanted and (record is None or record.settled):
            return world.start(hw.AI, rig, reason="Admitted")
        if record is not None and record.settled and record.mode == hw.AI:
            return world.start(model.IDLE, rig, reason="Preempted")
        return world.advance(rig)

    def _checked(self, rig: str) -> machine.Advance:
        before, advance = self.world.record(rig), self._turn(rig)
        assert self._turn(rig) == advance, "the same look must give the same commands"
        after = advance.record
        if after is not None and (before is None or (before.step, before.mode) != (after.step, after.mode)):
            assert len(advance.commands) == 1, "what a new step asks for must wait until the Node says so"
            (patch,) = advance.commands
            assert isinstance(patch, cmd.Patch)
            assert patch.ref.plural == "nodes"
            assert patch.resource_version == self.world.nodes[rig].resource_version
        for command in advance.commands:
            if isinstance(command, cmd.Evict):
                self._check_eviction(rig, command)
        return advance

    def _check_eviction(self, rig: str, command: cmd.Evict) -> None:
        pod = self.world.pods[f"{command.ref.namespace}/{command.ref.name}"]
        assert pod.role, "not ours to evict"
        record = self.world.record(rig)
        assert record is not None
        if pod.role == names.ROLE_WORK and pod.phase is model.PodPhase.RUNNING:
            saved = pod.checkpoint_at is not None and pod.checkpoint_at > record.started
            warned = pod.notice_deadline is not None and self.world.now >= pod.notice_deadline
            late = self.world.now >= record.started + _NOTICE
            assert saved or warned or late, "work evicted without its notice"

    def _deliver(self, commands: tuple[cmd.Command, ...], data: st.DataObject) -> None:
        how = data.draw(st.sampled_from(["all", "all", "all", "none", "first", "rest", "twice", "late"]))
        self.past += commands
        match how:
            case "all":
                self.world.do(*commands)
            case "first":
                self.world.do(*commands[:1])
            case "rest":
                self.world.do(*commands[1:])
            case "twice":
                self.world.do(*commands, *commands)
            case "late":
                # Somebody else writes to the Nodes first: every precondition fails.
                self.someone_writes()
                self.world.do(*commands)

    @stateful.rule(rig=_rigs, data=st.data())
    def operator_turn(self, rig: str, data: st.DataObject) -> None:
        self._deliver(self._checked(rig).commands, data)

    @stateful.rule(rig=_rigs, rounds=st.integers(1, 8))
    def operator_runs_undisturbed(self, rig: str, rounds: int) -> None:
        for _ in range(rounds):
            commands = self._checked(rig).commands
            self.past += commands
            self.world.do(*commands)
            self._gang_turn()
            self.world.round()
            self._check()

    @stateful.rule(rounds=st.integers(1, 12))
    def all_runs_undisturbed(self, rounds: int) -> None:
        for _ in range(rounds):
            for rig in _RIGS:
                commands = self._checked(rig).commands
                self.past += commands
                self.world.do(*commands)
            self.past += self._gang_turn()
            self.world.round()
            self._check()

    @stateful.initialize(how=st.sampled_from(["empty", "mining", "working", "split"]))
    def begin(self, how: str) -> None:
        if how == "empty":
            return
        for rig in _RIGS:
            self.world.bring(hw.KAS if how == "mining" else model.IDLE, rig)
        if how in ("working", "split"):
            self.admit(("r1",) if how == "split" else _RIGS)
            self.all_runs_undisturbed(12)
            assert self.world.gang().verdict.kind is gangs.VerdictKind.RUNNING

    @stateful.rule(rig=_rigs, mode=st.sampled_from([hw.KAS, hw.RVN, model.IDLE, model.OFF]), data=st.data())
    def plan_moves_rig(self, rig: str, mode: model.Mode, data: st.DataObject) -> None:
        job = self.world.jobs["tenant/train"]
        if job.state is not model.JobState.ADMITTED:
            self._deliver(self.world.start(mode, rig).commands, data)

    @stateful.rule(rigs=st.sampled_from([("r1",), ("r2",), _RIGS]))
    def admit(self, rigs: tuple[str, ...]) -> None:
        if self.world.jobs["tenant/train"].state is model.JobState.PENDING:
            self.world.set_job(gpus_per_replica=6 if len(rigs) == 2 else 3)
            self.world.admit(*rigs)

    @stateful.rule()
    def preempt(self) -> None:
        if self.world.jobs["tenant/train"].state is model.JobState.ADMITTED:
            self.world.set_job(state=model.JobState.PREEMPTING)

    def _gang_turn(self) -> tuple[cmd.Command, ...]:
        advance = self.world.gang()
        assert self.world.gang() == advance
        state = self.world.jobs["tenant/train"].state
        if state in (model.JobState.ADMITTED, model.JobState.PREEMPTING):
            self.world.do(*advance.commands)
        match advance.verdict.kind:
            case gangs.VerdictKind.BROKEN:
                self.world.set_job(state=model.JobState.PREEMPTING)
            case gangs.VerdictKind.STOPPED if state is model.JobState.PREEMPTING:
                assert not any(pod.role == names.ROLE_WORK and pod.holds_gpus for pod in self.world.pods.values())
                self.world.set_job(state=model.JobState.PENDING, placement=(), admitted_at=None)
            case _:
                pass
        return advance.commands

    @stateful.rule()
    def gang_turn(self) -> None:
        self.past += self._gang_turn()

    @stateful.precondition(lambda self: self.late_commands and self.past)
    @stateful.rule(data=st.data())
    def a_late_command_arrives(self, data: st.DataObject) -> None:
        self.world.do(data.draw(st.sampled_from(self.past[-40:])))

    # --- the cluster -----------------------------------------------------------------------------------------

    @stateful.rule(seconds=st.sampled_from([1, 10, 30, 130, 400, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.world.tick(seconds)

    @stateful.rule()
    def scheduler(self) -> None:
        self.world.schedule()

    @stateful.rule()
    def kubelet(self) -> None:
        self.world.kubelet()

    @stateful.rule()
    def job_controller(self) -> None:
        self.world.job_controller()

    @stateful.rule(rig=_rigs)
    def agent(self, rig: str) -> None:
        self.world.agent(rig)

    @stateful.rule()
    def work_saves(self) -> None:
        self.world.save()

    # --- trouble ---------------------------------------------------------------------------------------------

    @stateful.rule(rig=_rigs, fault=st.sampled_from(_FAULTS))
    def fault(self, rig: str, fault: str) -> None:
        getattr(self.world.faults, fault).symmetric_difference_update({rig})

    @stateful.rule(budget=st.booleans())
    def disruption_budget(self, *, budget: bool) -> None:
        self.world.faults.budget = budget

    @stateful.rule()
    def someone_writes(self) -> None:
        for name, node in self.world.nodes.items():
            version = str(int(node.resource_version) + 100_000)
            self.world.nodes[name] = dataclasses.replace(node, resource_version=version)

    @stateful.rule(rig=_rigs, key=st.sampled_from([names.LABEL_MODE, names.LABEL_CLAIM, names.LABEL_MODE_STATE]))
    def someone_edits_a_label(self, rig: str, key: str) -> None:
        node = self.world.nodes[rig]
        self.world.nodes[rig] = dataclasses.replace(node, labels={**node.labels, key: "nonsense"})
        self.someone_writes()

    @stateful.rule(rig=_rigs)
    def someone_garbles_the_record(self, rig: str) -> None:
        node = self.world.nodes[rig]
        annotations = {**node.annotations, names.ANNOTATION_HANDOVER: "{}"}
        self.world.nodes[rig] = dataclasses.replace(node, annotations=annotations)
        self.someone_writes()

    @stateful.rule(data=st.data())
    def a_pod_dies(self, data: st.DataObject) -> None:
        if self.world.pods:
            key = data.draw(st.sampled_from(sorted(self.world.pods)))
            self.world.pods[key] = dataclasses.replace(self.world.pods[key], phase=model.PodPhase.FAILED, ready=False)

    @stateful.rule(data=st.data())
    def a_pod_vanishes(self, data: st.DataObject) -> None:
        if self.world.pods:
            del self.world.pods[data.draw(st.sampled_from(sorted(self.world.pods)))]

    # --- what must hold --------------------------------------------------------------------------------------

    @stateful.invariant()
    def _check(self) -> None:
        for rig in _RIGS:
            owners = self.world.owners(rig)
            assert len(owners) <= 1, f"{rig} has two owners: {owners}"
            record = self.world.record(rig)
            if record is not None:
                assert (record.deadline is None) is record.settled
                if record.step in (rec.Step.NOTIFYING, rec.Step.STOPPING, rec.Step.RELEASING):
                    assert self.world.held(rig) == names.SWITCHING, "nobody may come while a rig is between two modes"

    def teardown(self) -> None:
        world = self.world
        world.faults.clear()
        for _ in range(400):
            for rig in _RIGS:
                world.do(*self._checked(rig).commands)
            self._gang_turn()
            world.round(15.0)
            self._check()
            if all(self._at_rest(rig) for rig in _RIGS) and self._gang_at_rest():
                return
        raise AssertionError({rig: world.record(rig) for rig in _RIGS})

    def _gang_at_rest(self) -> bool:
        kind = self.world.gang().verdict.kind
        match self.world.jobs["tenant/train"].state:
            case model.JobState.ADMITTED:
                return kind is gangs.VerdictKind.RUNNING
            case model.JobState.PENDING:
                return True
            case _:
                return False

    def _at_rest(self, rig: str) -> bool:
        record = self.world.record(rig)
        if record is None:
            return not self.world.owners(rig)
        if not record.settled or not self.world.as_said(rig) or self._turn(rig).commands:
            return False
        here = [pod for pod in self.world.pods.values() if pod.node_name == rig and not observe.finished(pod)]
        match record.mode.kind:
            case model.ModeKind.MINING:
                return [(pod.role, pod.coin) for pod in here] == [(names.ROLE_MINER, record.mode.name)]
            case model.ModeKind.AI:
                return bool(here) and all(pod.role == names.ROLE_WORK for pod in here)
            case _:
                return not here


class FarmWithoutAccounting(Farm):
    """The scheduler does not count the GPUs of other owners: the lock alone keeps owners apart."""

    accounting = False
    late_commands = False


_settings = hypothesis.settings(
    max_examples=60,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
)

TestFarm = Farm.TestCase
TestFarm.settings = _settings
TestFarmWithoutAccounting = FarmWithoutAccounting.TestCase
TestFarmWithoutAccounting.settings = _settings
