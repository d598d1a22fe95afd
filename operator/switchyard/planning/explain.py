"""Why every rig does what it does: each alternative, and what it lacks. Made from what the plan has worked out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from switchyard.fleet import model
from switchyard.planning import alternatives, choice, experts, gangs, shedding, standing
from switchyard.planning import request as planning


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that the stages of the plan have found, by rig or by job."""

    desk: standing.Desk
    choices: Mapping[str, choice.Choice]
    moves: Mapping[str, planning.Move]
    held: Mapping[str, str]
    taken: Mapping[str, model.Job]
    away: Mapping[str, planning.Preemption]
    working: Mapping[str, gangs.Gang]
    refusals: Mapping[str, planning.JobRefusal]

    def decisions(self) -> Mapping[str, planning.Decision]:
        """A decision for every rig, put into words when somebody asks."""
        return _Decisions(self)


class _Decisions(Mapping[str, planning.Decision]):
    def __init__(self, told: Told) -> None:
        self._views = told.desk.views
        self._teller = _Teller(told)
        self._known: dict[str, planning.Decision] = {}

    def __getitem__(self, rig: str) -> planning.Decision:
        found = self._known.get(rig)
        if found is None:
            found = self._known[rig] = self._teller.decision(self._views[rig])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


class _Teller:
    def __init__(self, told: Told) -> None:
        self._told = told
        self._lister = alternatives.Lister(
            told.desk, choices=told.choices, away=told.away, working=told.working, refusals=told.refusals
        )

    def decision(self, view: planning.RigView) -> planning.Decision:
        """Why the rig does what it does."""
        told = self._told
        name = view.name
        if name in told.taken:
            job = told.taken[name]
            return self._decide(view, job.mode, "Admitted", f"admitted with the gang of AIJob {job.key}")
        if name in told.away:
            preemption = told.away[name]
            text = f"AIJob {preemption.job} is preempted: {preemption.message}"
            return self._decide(view, preemption.targets[name], "Preempted", text)
        if name in told.moves and told.moves[name].reason == shedding.REASON:
            text = f"circuit {view.circuit} carries too much: {view.mode} rests, for the least loss per watt"
            return self._decide(view, told.moves[name].to, shedding.REASON, text)
        if name in told.moves and told.moves[name].reason == shedding.MAKES_ROOM:
            text = f"{view.mode} rests: a job pays more for the watts of circuit {view.circuit}"
            return self._decide(view, told.moves[name].to, shedding.MAKES_ROOM, text)
        if view.held:
            reason = "NoTrustedPrice" if view.held == planning.HELD_NO_TRUSTED_PRICE else "Held"
            return self._decide(view, view.mode, reason, view.held_message or view.held, held_by=view.held)
        if view.switching:
            return self._decide(view, view.mode, "Switching", f"on its way to {view.mode}")
        if name in told.desk.gang_of:
            return self._at_work(view, told.desk.gang_of[name])
        found = told.choices.get(name)
        if found is None:
            return self._decide(view, view.mode, "Held", "the rig has no worth to anything", held_by="Unvalued")
        return self._alone(view, found)

    def _at_work(self, view: planning.RigView, job: model.Job) -> planning.Decision:
        gang = self._told.working.get(job.key)
        if gang is None:
            return self._decide(view, view.mode, "Best", f"belongs to the gang of AIJob {job.key}")
        ahead = gang.net - gang.other
        text = (
            f"the gang of AIJob {job.key} leaves {abs(ahead):.4f} $/h {'more' if ahead >= 0 else 'less'} than elsewhere"
        )
        if ahead >= 0:
            return self._decide(view, view.mode, "Best", text)
        text += f"; {gang.forgone_usd:.4f} $ forgone so far, moving out and back costs {gang.moving_usd:.4f} $"
        held = "" if gang.stoppable else "the job does not allow preemption"
        if gang.stoppable and not gangs.ran_enough(self._told.desk, job):
            held = "minimum running time"
        return self._decide(view, view.mode, "RegretBelowCost", text, held_by=held)

    def _alone(self, view: planning.RigView, found: choice.Choice) -> planning.Decision:
        name = view.name
        if name in self._told.moves:
            move = self._told.moves[name]
            if move.reason == "Pinned":
                return self._decide(view, move.to, "Pinned", f"pinned to {view.pin}")
            gain = move.gain_usd_per_hour
            text = f"{move.to} leaves {abs(gain):.4f} $/h {'more' if gain >= 0 else 'less'} than {view.mode}"
            # Only the look-ahead moves for what is yet to come.
            ahead = gain < 0 and found.expert == experts.LOOK_AHEAD
            text += f"{' now, and more over the look-ahead' if ahead else ''}; the move costs {move.cost_usd:.4f} $"
            if name in self._told.held:
                text += f"; there is no room for {found.target}: {self._told.held[name]}"
            return self._decide(view, move.to, "Best", text)
        if found.reason == "NoTrustedPrice":
            refusal = found.standing.value.refusals.get(view.mode)
            text = f"keeps {view.mode}: {refusal.lacks if refusal is not None else 'no trusted price'}"
            return self._decide(view, view.mode, "NoTrustedPrice", text, held_by="NoTrustedPrice")
        if found.target is not None:
            text = f"{found.target} would leave {found.gain:.4f} $/h more"
            held_by = self._told.held.get(name, "")
            reason = "Budget" if held_by.startswith("budget") else "LimitReached"
            return self._decide(view, view.mode, reason, text, held_by=held_by)
        if found.blocked is not None:
            text = f"{found.blocked}: {view.barred[found.blocked]}"
            return self._decide(view, view.mode, "Held", text, held_by="Barred")
        if view.pin is not model.Pin.AUTO and view.mode not in found.modes:
            return self._decide(view, view.mode, "Pinned", f"pinned to {view.pin}, which is not to be had here")
        return self._stays(view, found)

    def _stays(self, view: planning.RigView, found: choice.Choice) -> planning.Decision:
        here = found.standing
        present = alternatives.present(view, here, found)
        # A line also knows work that is yet to come, which no job of today is worth anything for.
        nets = {mode: net for mode, net in found.nets.items() if mode in self._told.desk.demands} | dict(here.nets)
        better = [mode for mode in found.modes if mode != view.mode and nets.get(mode, present) > present]
        if not better:
            return self._decide(view, view.mode, "Best", f"{view.mode} leaves most: {present:.4f} $/h")
        mode = max(better, key=lambda mode: (nets[mode], mode))
        text = f"{mode} leaves {nets[mode] - present:.4f} $/h more; {alternatives.short_of_moving(found, mode)}"
        return self._decide(view, view.mode, "RegretBelowCost", text)

    def _decide(
        self, view: planning.RigView, chosen: model.Mode, reason: str, message: str, *, held_by: str = ""
    ) -> planning.Decision:
        listed = self._lister.of(view, chosen)
        found = self._told.choices.get(view.name)
        return planning.Decision(
            rig=view.name,
            chosen=chosen,
            reason=reason,
            message=message,
            alternatives=listed.alternatives,
            held_by=held_by,
            expert=found.expert if found is not None else "",
            unlisted=listed.unlisted,
        )
