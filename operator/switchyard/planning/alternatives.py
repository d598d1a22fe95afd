"""What a rig could do instead, and what each alternative lacks. Lists are made once for all rigs that are alike.

A farm may have thousands of AIJobs. A rig lists its own, the best few that wait and fit, and says how many others there
are: an AIJob's own status says what it waits for.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Mapping
from typing import Final

from switchyard.fleet import model
from switchyard.planning import choice, experts, gangs, standing
from switchyard.planning import request as planning
from switchyard.valuation import values

MOST_JOBS: Final = 10
"""AIJobs that fit, and that a rig lists beside its own."""

MOST_REFUSED: Final = 5
"""AIJobs that do not fit, each for a reason of its own."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Alternatives of a rig, and how many AIJobs are not among them."""

    alternatives: tuple[planning.Alternative, ...] = ()
    unlisted: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Offers:
    """What a class of rigs is offered.

    Attributes:
        local: modes that a rig can be moved to singly.
        barred: refusals of other such modes.
        fitting: the best few AIJobs that fit.
        refused: some of those that do not.
        jobs: how many there are in all.
    """

    local: tuple[model.Mode, ...]
    barred: tuple[values.Refusal, ...]
    fitting: tuple[model.Mode, ...]
    refused: tuple[values.Refusal, ...]
    jobs: int


class Lister:
    """Lists alternatives of rigs, from what the stages of a plan have found.

    Args:
        desk: the request.
        choices: of single rigs.
        away: by rig, the preemption that takes its job.
        working: gangs at work, by job.
        refusals: of waiting jobs, by job.
    """

    def __init__(
        self,
        desk: standing.Desk,
        *,
        choices: Mapping[str, choice.Choice],
        away: Mapping[str, planning.Preemption],
        working: Mapping[str, gangs.Gang],
        refusals: Mapping[str, planning.JobRefusal],
    ) -> None:
        self._desk = desk
        self._choices = choices
        self._away = away
        self._working = working
        self._refusals = refusals
        self._lists: dict[object, Listed] = {}
        self._offers: dict[str, _Offers] = {}
        self._replicas = {
            placement.rig: placement.replicas for job in desk.gang_of.values() for placement in job.placement
        }

    def of(self, view: planning.RigView, chosen: model.Mode) -> Listed:
        """The modes of the rig's class, the best first, then those that are refused."""
        value = self._desk.request.classes.get(view.class_key)
        if value is None:
            return Listed()
        found = self._choices.get(view.name)
        job = self._desk.gang_of.get(view.name)
        replicas = self._replicas.get(view.name, 0) if job is not None and job.mode == view.mode else 0
        # Choices are shared by all rigs that are alike, so being the same one is being alike.
        alike = view.class_key, view.mode, view.pin, view.enforced, frozenset(view.barred.items())
        key = *alike, chosen, id(found), job.key if job else "", replicas
        listed = self._lists.get(key)
        if listed is None:
            here = self._desk.standing(view.class_key, view.mode, replicas)
            listed = self._lists[key] = self._listed(view, here, chosen, found)
        return listed

    def _listed(
        self, view: planning.RigView, here: standing.Standing, chosen: model.Mode, found: choice.Choice | None
    ) -> Listed:
        value = here.value
        offers = self._offered(view.class_key, value)
        own = {mode for mode in (view.mode, chosen) if mode.kind is model.ModeKind.AI}
        fitting = {*offers.fitting, *(mode for mode in own if mode in value.worths)}
        refusals = {
            *offers.barred,
            *offers.refused,
            *(value.refusals[mode] for mode in own if mode in value.refusals),
        }
        alternatives = [
            *(self._own(view, mode, here, chosen, found) for mode in offers.local),
            *(self._work(view, mode, here, chosen) for mode in fitting),
            *(self._demand(view, demand, here, chosen, found) for demand in self._desk.demands.values()),
            *(self._refused(view, refusal) for refusal in refusals),
        ]
        listed = sum(each.mode.name in self._desk.jobs for each in alternatives)
        return Listed(alternatives=tuple(sorted(alternatives, key=_rank)), unlisted=max(0, offers.jobs - listed))

    def _offered(self, class_key: str, value: values.ClassValue) -> _Offers:
        known = self._offers.get(class_key)
        if known is None:
            jobs = self._desk.jobs
            fits = [mode for mode in value.worths if mode.kind is model.ModeKind.AI]
            lacking: dict[str, values.Refusal] = {}
            refused = [each for mode, each in value.refusals.items() if mode.kind is model.ModeKind.AI]
            for refusal in sorted(refused, key=lambda refusal: refusal.mode):
                lacking.setdefault(refusal.lacks, refusal)

            def order(mode: model.Mode) -> tuple[bool, float, model.Mode]:
                job = jobs.get(mode.name)
                waits = job is not None and job.state is model.JobState.PENDING
                return not waits, -value.worths[mode].net_usd_per_hour, mode

            known = self._offers[class_key] = _Offers(
                local=standing.choices(value),
                barred=tuple(each for mode, each in value.refusals.items() if mode.kind is not model.ModeKind.AI),
                fitting=tuple(heapq.nsmallest(MOST_JOBS, fits, key=order)),
                refused=tuple(lacking.values())[:MOST_REFUSED] if len(refused) > MOST_REFUSED else tuple(refused),
                jobs=len(fits) + len(refused),
            )
        return known

    # --- each ----------------------------------------------------------------------------------------------------

    def _own(
        self,
        view: planning.RigView,
        mode: model.Mode,
        here: standing.Standing,
        chosen: model.Mode,
        found: choice.Choice | None,
    ) -> planning.Alternative:
        return planning.Alternative(
            mode=mode,
            worth=here.value.worths[mode],
            refusal=None,
            cost=here.cost.get(mode),
            regret_usd=found.work.get(mode) if found is not None else None,
            lacks=_lacks(view, mode, here, chosen, found),
            cost_usd=here.usd.get(mode),
        )

    def _work(
        self, view: planning.RigView, mode: model.Mode, here: standing.Standing, chosen: model.Mode
    ) -> planning.Alternative:
        """AI work of a job that fits the class."""
        job = self._desk.gang_of.get(view.name)
        gang = self._working.get(job.key) if job is not None else None
        regret = gang.forgone_usd / len(gang.rigs) if gang is not None and gang.job.mode == mode else None
        cost = self._desk.cost(view.class_key, view.mode, mode)
        return planning.Alternative(
            mode=mode,
            worth=here.value.worths[mode],
            refusal=None,
            cost=cost,
            regret_usd=regret,
            lacks="" if mode == chosen else self._lacks_work(view, mode),
            cost_usd=None if cost is None else standing.dollars(cost, standing.rate(here.value, view.mode)),
        )

    def _lacks_work(self, view: planning.RigView, mode: model.Mode) -> str:
        if view.name in self._away and mode == view.mode:
            return self._away[view.name].message
        refusal = self._refusals.get(mode.name)
        if refusal is not None:
            return f"{refusal.reason}: {refusal.message}"
        if view.pin not in (model.Pin.AUTO, model.Pin.AI):
            return f"the rig is pinned to {view.pin}"
        if not view.enforced:
            return f"GPUPool {view.pool} only recommends"
        job = self._desk.jobs.get(mode.name)
        if job is not None and job.state is model.JobState.PENDING:
            return "admitted on other rigs"
        return "at work on other rigs"

    def _demand(
        self,
        view: planning.RigView,
        demand: planning.Demand,
        here: standing.Standing,
        chosen: model.Mode,
        found: choice.Choice | None,
    ) -> planning.Alternative:
        """GPUs rented by the hour, with what they earn while they are wanted."""
        value, mode = here.value, demand.mode
        if view.class_key not in demand.classes:
            return self._refused(
                view, values.Refusal(mode=mode, reason="NotWantedHere", lacks=f"{demand.name} takes other rigs")
            )
        if value.usd_per_kwh is None:
            return self._refused(
                view, values.Refusal(mode=mode, reason="NoTrustedPrice", lacks="needs a price of power")
            )
        cost = self._desk.cost(view.class_key, view.mode, mode)
        usd = found.move_usd(mode) if found is not None else None
        if usd is None and cost is not None:
            usd = standing.dollars(cost, standing.rate(value, view.mode))
        return planning.Alternative(
            mode=mode,
            worth=values.Worth(
                mode=mode,
                revenue_usd_per_hour=demand.usd_per_gpu_hour * len(value.rig_class.hardware.gpus),
                fees_usd_per_hour=0.0,
                watts=value.ai_watts,
                power_usd_per_hour=value.ai_watts * value.usd_per_watt_hour,
            ),
            refusal=None,
            cost=cost,
            regret_usd=found.work.get(mode) if found is not None else None,
            lacks=_lacks_demand(view, demand, here, chosen, found),
            cost_usd=usd,
        )

    def _refused(self, view: planning.RigView, refusal: values.Refusal) -> planning.Alternative:
        return planning.Alternative(
            mode=refusal.mode,
            worth=None,
            refusal=refusal,
            cost=self._desk.cost(view.class_key, view.mode, refusal.mode),
            regret_usd=None,
            lacks=refusal.lacks,
        )


def short_of_moving(found: choice.Choice, mode: model.Mode, *, chosen: model.Mode | None = None) -> str:
    """What would have to differ for the leading expert to send the rig to a mode that leaves more now.

    `chosen`: where it sends the rig instead; None where it stays.
    """
    usd = found.move_usd(mode) or 0.0
    if found.line is None:
        return f"the {usd:.4f} $ move does not pay within the hour"
    told, _, column = found.line
    if told.leader.startswith(experts.STAY):
        return _led(told.leader, told.lead_usd)
    missing = found.missing(chosen).get(mode)
    if missing is None:
        return f"the {usd:.4f} $ move does not pay within the hour"
    mining = model.ModeKind.MINING
    here = told.modes[column] if chosen is None else chosen
    # Coins are chosen by what was forgone, whoever leads.
    if told.leader == experts.LOOK_AHEAD and not here.kind is mode.kind is mining:
        other = "staying" if chosen is None else str(chosen)
        return f"{other} is worth {missing:.4f} $ more over the look-ahead, the {usd:.4f} $ move counted"
    return f"{missing:.4f} $ of regret still to build up before the {usd:.4f} $ move pays"


def _led(leader: str, lead_usd: float | None) -> str:
    if lead_usd is None:
        return f"{leader} leads, and nobody else is asked"
    if lead_usd < 0:
        return f"{leader} leads: {-lead_usd:.4f} $ that another is ahead of it do not pay for going over yet"
    return f"{leader} leads: of late it was {lead_usd:.4f} $ ahead of all who would move, on all rigs of this kind"


def _rank(alternative: planning.Alternative) -> tuple[bool, float, model.Mode]:
    """What leaves most comes first; what is refused comes last, by name. No two are of one mode."""
    worth = alternative.worth
    return worth is None, 0.0 if worth is None else -worth.net_usd_per_hour, alternative.mode


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
    standard, name = present(view, here, found), view.mode
    if chosen != view.mode and (chosen in here.value.worths or (found is not None and chosen in found.nets)):
        standard, name = _net(chosen, here, found), chosen
    short = standard - here.nets[mode]
    if short >= 0:
        trust = here.value.worths[mode].trust
        weak = f", counting its price for {trust:.2f}" if trust < 1 and mode != view.mode else ""
        return f"{short:.4f} $/h short of {name}{weak}"
    return _held_or_short(view, mode, chosen, found)


def _lacks_demand(
    view: planning.RigView,
    demand: planning.Demand,
    here: standing.Standing,
    chosen: model.Mode,
    found: choice.Choice | None,
) -> str:
    mode = demand.mode
    if mode == chosen:
        return ""
    if view.pin not in (model.Pin.AUTO, model.Pin.AI):
        return f"the rig is pinned to {view.pin}"
    if mode in view.barred:
        return view.barred[mode]
    if found is None or found.line is None:
        return f"the rig is not free: {chosen}"
    told, row, _ = found.line
    if told.wanted is None or told.wanted.mode != mode:
        return f"{told.wanted.mode} is asked first for rigs of this kind" if told.wanted is not None else "not wanted"
    rank = int(told.memory.ranks[row])
    if told.wanted.rigs <= rank - 1:
        return f"wanted on {told.wanted.rigs:.4g} rigs of this kind, and this one is number {rank} in line"
    standard, name = present(view, here, found), view.mode
    if chosen != view.mode:
        standard, name = _net(chosen, here, found), chosen
    short = standard - found.nets[mode]
    if short >= 0:
        partly = f", wanted for {told.wanted.rigs - (rank - 1):.0%} of its time" if told.wanted.rigs < rank else ""
        return f"{short:.4f} $/h short of {name}{partly}"
    return _held_or_short(view, mode, chosen, found)


def _held_or_short(view: planning.RigView, mode: model.Mode, chosen: model.Mode, found: choice.Choice | None) -> str:
    if found is None:
        return f"the rig is not free: {chosen}"
    if found.target == mode:
        return "the move pays already and is held back"
    return short_of_moving(found, mode, chosen=found.target or (None if chosen == view.mode else chosen))


def present(view: planning.RigView, here: standing.Standing, found: choice.Choice | None) -> float:
    """$/h of what a rig does now."""
    if found is not None and view.mode.kind is model.ModeKind.AI and view.mode in found.nets:
        return found.nets[view.mode]
    return standing.resting_net(here.value) if here.present_net is None else here.present_net


def _net(mode: model.Mode, here: standing.Standing, found: choice.Choice | None) -> float:
    net = here.nets.get(mode)
    if net is None and found is not None:
        net = found.nets.get(mode)
    worth = here.value.worths.get(mode)
    return net if net is not None else worth.net_usd_per_hour if worth is not None else 0.0
