"""Why every rig does what it does: each alternative, and what it lacks. Made from what the plan has worked out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from switchyard.fleet import model
from switchyard.planning import choice, gangs, shedding, standing
from switchyard.planning import request as planning
from switchyard.valuation import values


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
        self._lists: dict[object, tuple[planning.Alternative, ...]] = {}
        self._work: dict[object, list[_Ranked]] = {}
        self._replicas = {
            placement.rig: placement.replicas for job in told.desk.gang_of.values() for placement in job.placement
        }

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
            pinned = move.reason == "Pinned"
            text = f"pinned to {view.pin}" if pinned else f"{move.to} leaves {move.gain_usd_per_hour:.4f} $/h more"
            text += f" than {view.mode}; the move costs {move.cost_usd:.4f} $" if not pinned else ""
            return self._decide(view, move.to, "Pinned" if pinned else "Best", text)
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
        present = here.nets.get(view.mode, standing.resting_net(here.value))
        # A line also knows work that is yet to come, which no job of today is worth anything for.
        better = [mode for mode in found.modes if mode != view.mode and here.nets.get(mode, present) > present]
        if not better:
            return self._decide(view, view.mode, "Best", f"{view.mode} leaves most: {present:.4f} $/h")
        mode = max(better, key=lambda mode: (here.nets[mode], mode))
        text = f"{mode} leaves {here.nets[mode] - present:.4f} $/h more; {_short_of_moving(found, mode)}"
        return self._decide(view, view.mode, "RegretBelowCost", text)

    def _decide(
        self, view: planning.RigView, chosen: model.Mode, reason: str, message: str, *, held_by: str = ""
    ) -> planning.Decision:
        return planning.Decision(
            rig=view.name,
            chosen=chosen,
            reason=reason,
            message=message,
            alternatives=self._alternatives(view, chosen),
            held_by=held_by,
        )

    # --- alternatives ------------------------------------------------------------------------------------------

    def _alternatives(self, view: planning.RigView, chosen: model.Mode) -> tuple[planning.Alternative, ...]:
        """Every mode of the rig's class, the best first, then those that are refused."""
        value = self._told.desk.request.classes.get(view.class_key)
        if value is None:
            return ()
        found = self._told.choices.get(view.name)
        job = self._told.desk.gang_of.get(view.name)
        replicas = self._replicas.get(view.name, 0) if job is not None and job.mode == view.mode else 0
        # Choices are shared by all rigs that are alike, so being the same one is being alike.
        alike = view.class_key, view.mode, view.pin, view.enforced, frozenset(view.barred.items())
        key = *alike, chosen, id(found), job.key if job else "", replicas
        listed = self._lists.get(key)
        if listed is None:
            here = self._told.desk.standing(view.class_key, view.mode, replicas)
            own = [self._own(view, mode, here, chosen, found) for mode in standing.choices(value)]
            at_work = chosen if chosen.kind is model.ModeKind.AI else None
            work_key = *alike, at_work, key[-2:]
            work = self._work.get(work_key)
            if work is None:
                work = self._work[work_key] = _ranked(self._ai(view, here, chosen))
            refused = [self._refused(view, refusal) for _, refusal in sorted(value.refusals.items())]
            listed = self._lists[key] = (*(each for _, each in sorted([*work, *_ranked(own)])), *refused)
        return listed

    def _own(
        self,
        view: planning.RigView,
        mode: model.Mode,
        here: standing.Standing,
        chosen: model.Mode,
        found: choice.Choice | None,
    ) -> planning.Alternative:
        worth = here.value.worths[mode]
        return planning.Alternative(
            mode=mode,
            worth=worth,
            refusal=None,
            cost=here.cost.get(mode),
            regret_usd=found.work.get(mode) if found is not None else None,
            lacks=_lacks(view, mode, here, chosen, found),
            cost_usd=here.usd.get(mode),
        )

    def _ai(self, view: planning.RigView, here: standing.Standing, chosen: model.Mode) -> list[planning.Alternative]:
        """AI work of every job that fits the class."""
        job = self._told.desk.gang_of.get(view.name)
        gang = self._told.working.get(job.key) if job is not None else None
        entries = []
        for mode, worth in here.value.worths.items():
            if mode.kind is not model.ModeKind.AI:
                continue
            regret = None
            if gang is not None and gang.job.mode == mode:
                regret = gang.forgone_usd / len(gang.rigs)
            cost = self._told.desk.cost(view.class_key, view.mode, mode)
            entries.append(
                planning.Alternative(
                    mode=mode,
                    worth=worth,
                    refusal=None,
                    cost=cost,
                    regret_usd=regret,
                    lacks="" if mode == chosen else self._lacks_work(view, mode),
                    cost_usd=None if cost is None else standing.dollars(cost, standing.rate(here.value, view.mode)),
                )
            )
        return entries

    def _lacks_work(self, view: planning.RigView, mode: model.Mode) -> str:
        if view.name in self._told.away and mode == view.mode:
            return self._told.away[view.name].message
        refusal = self._told.refusals.get(mode.name)
        if refusal is not None:
            return f"{refusal.reason}: {refusal.message}"
        if view.pin not in (model.Pin.AUTO, model.Pin.AI):
            return f"the rig is pinned to {view.pin}"
        if not view.enforced:
            return f"GPUPool {view.pool} only recommends"
        job = self._told.desk.jobs.get(mode.name)
        if job is not None and job.state is model.JobState.PENDING:
            return "admitted on other rigs"
        return "at work on other rigs"

    def _refused(self, view: planning.RigView, refusal: values.Refusal) -> planning.Alternative:
        return planning.Alternative(
            mode=refusal.mode,
            worth=None,
            refusal=refusal,
            cost=self._told.desk.cost(view.class_key, view.mode, refusal.mode),
            regret_usd=None,
            lacks=refusal.lacks,
        )


_Ranked = tuple[tuple[float, model.Mode], planning.Alternative]


def _ranked(alternatives: list[planning.Alternative]) -> list[_Ranked]:
    """In order of what they leave, the greatest first. No two are of one mode, so no two rank alike."""
    return sorted(((-each.worth.net_usd_per_hour, each.mode), each) for each in alternatives if each.worth is not None)


def _lacks(
    view: planning.RigView,
    mode: model.Mode,
    here: standing.Standing,
    chosen: model.Mode,
    found: choice.Choice | None,
) -> str:
    """What a mining, idle or off mode lacks to be the chosen one; "" for the chosen one."""
    if mode == chosen:
        return ""
    if found is not None and mode not in found.modes:
        return f"the rig is pinned to {view.pin}" if view.pin is not model.Pin.AUTO else "there is no way there"
    if mode in view.barred:
        return view.barred[mode]
    if here.present_net is None or mode not in here.nets:
        return f"nothing is known of what {view.mode} leaves"
    standard, name = here.present_net, view.mode
    if chosen != view.mode and chosen in here.value.worths:
        standard, name = here.nets.get(chosen, here.value.worths[chosen].net_usd_per_hour), chosen
    short = standard - here.nets[mode]
    if short >= 0:
        trust = here.value.worths[mode].trust
        weak = f", counting its price for {trust:.2f}" if trust < 1 and mode != view.mode else ""
        return f"{short:.4f} $/h short of {name}{weak}"
    if found is not None and found.target == mode:
        return "the move pays already and is held back"
    return _short_of_moving(found, mode) if found is not None else f"the rig is not free: {chosen}"


def _short_of_moving(found: choice.Choice, mode: model.Mode) -> str:
    usd = found.standing.usd.get(mode, 0.0)
    missing = found.missing().get(mode)
    if missing is None:
        return f"the {usd:.4f} $ move does not pay within the hour"
    return f"{missing:.4f} $ of regret still to build up before the {usd:.4f} $ move pays"
