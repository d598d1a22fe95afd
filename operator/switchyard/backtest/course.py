"""One Script to be played by many policies: what they are all measured against is worked out once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np

from switchyard.backtest import account as accounts
from switchyard.backtest import bound, clairvoyant, lanes, measures, result, rewards, stream, world
from switchyard.backtest import script as scripts
from switchyard.backtest.policies import customs, naming, planned, rules
from switchyard.fleet import model
from switchyard.planning import experts
from switchyard.planning import policy as planning

_ROUNDING: Final = 1e-9

_SETTINGS: Final = {
    "switchyard": planning.Settings(),
    "wfa": planning.Settings(names=frozenset((experts.WORK_FUNCTION,)), program=False),
    "lookahead": planning.Settings(names=frozenset((experts.LOOK_AHEAD,))),
}
"""Our policy, and experts of it alone."""


class Course:
    """A Script with one seed of what is observed.

    Args:
        script: the scenario.
        seed: of the noise that policies see.
        shuffle_forecasts: give every publication to another day.
    """

    def __init__(self, script: scripts.Script, *, seed: int, shuffle_forecasts: bool = False) -> None:
        self.script = script
        self.seed = seed
        self._shuffle = shuffle_forecasts
        self._seen = stream.observed(script, seed=seed)
        self.truth = rewards.tables(script)
        self.observed = rewards.tables(script, revenue=self._seen)

    def play(self, name: str, *, scale: float, pictures: bool = False) -> result.Result:
        """Play a policy by its name and measure it. Raises naming.PolicyError."""
        found = naming.parse(name)
        if isinstance(found, naming.Clairvoyant) and self._bounded:
            played, account = None, None
        else:
            played = self._played(found, scale, told=pictures)
            account = self._account(played, scale)
        best_usd, kind = self.best(scale)
        if account is None or played is None:
            figures = measures.bare(self.script, best_usd, static_usd=self.static(scale), bound=kind)
            shown = None
        else:
            profit = self._profit(account)
            if kind == "exact" and profit > best_usd * (1 + _ROUNDING) + _ROUNDING:
                # Rigs that trade places can do better than any rank by itself, by a hair: then the flow is asked.
                best_usd, kind = self._flow(scale)
            figures = measures.measure(
                self.script,
                account,
                clairvoyant_usd=best_usd,
                static_usd=self.static(scale),
                seconds=played.seconds,
                bound=kind,
            )
            if isinstance(found, naming.Clairvoyant):
                figures = measures.reached(figures, best_usd)
            shown = lanes.draw(self.script, self.truth, played, account, scale=scale) if pictures else None
        return result.Result(
            scenario=self.script.name,
            policy=name,
            cost_scale=scale,
            seed=self.seed,
            start=self.script.start,
            step_seconds=self.script.step_seconds,
            steps=self.script.steps,
            warmup_steps=self.script.warmup_steps,
            gpus=rewards.gpus(self.script),
            measures=figures,
            repairs=self.script.repairs,
            lanes=shown,
            description=self.script.description,
        )

    def fits(self, name: str) -> bool:
        """Whether a policy can be played here: not one that stays for ever where no rig can be."""
        found = naming.parse(name)
        return not isinstance(found, naming.Static) or not found.mode or self._is_there(found.mode)

    def paths(self, name: str, *, scale: float) -> tuple[accounts.Path, ...]:
        """Where every rig stands under a policy, by group. Raises naming.PolicyError."""
        return self._played(naming.parse(name), scale).paths

    # --- what everything is measured against --------------------------------------------------------------------

    @functools.cached_property
    def _bounded(self) -> bool:
        """Whether ranks are no problems of their own: jobs, circuits that bind, two demands for the same rigs."""
        return bool(
            self.script.jobs
            or any(rules.part(self.script, table) is not None for table in self.truth)
            or any(len(table.hires) > 1 for table in self.truth)
        )

    @functools.lru_cache  # noqa: B019 - a course lives as long as it is played
    def best(self, scale: float) -> tuple[float, str]:
        """What the clairvoyant earns after the warm-up, $, and how that was found."""
        if self._bounded:
            return self._flow(scale)
        return sum(found.profit_usd for found in self._ranks(scale)), "exact"

    @functools.lru_cache  # noqa: B019
    def _ranks(self, scale: float) -> tuple[clairvoyant.Best, ...]:
        return tuple(clairvoyant.best(self.script, table, scale=scale) for table in self.truth)

    @functools.lru_cache  # noqa: B019
    def _flow(self, scale: float) -> tuple[float, str]:
        return bound.profit_usd(self.script, self.truth, scale=scale), "bound"

    @functools.lru_cache  # noqa: B019
    def static(self, scale: float) -> float:
        """What the best mode that is never left earns after the warm-up, $."""
        return self._profit(self._account(self._played(naming.Static(mode=""), scale), scale))

    # --- playing ------------------------------------------------------------------------------------------------

    def _played(self, found: naming.Policy, scale: float, *, told: bool = False) -> world.Played:
        match found:
            case naming.Planned(expert=expert):
                plan = functools.partial(planning.plan, settings=_SETTINGS[expert])
                return self._world(planned.Planned(self.script, scale=scale, plan=plan, told=told), scale, told)
            case rules.Threshold():
                return self._threshold(found, scale)
            case naming.Tuned():
                return self._tuned(scale)
            case naming.Static(mode=""):
                return self._best_static(scale)
            case naming.Static():
                return self._static(found.mode, scale)
            case naming.Clairvoyant():
                return world.Played(paths=tuple(each.path for each in self._ranks(scale)))

    def _threshold(self, setting: rules.Threshold, scale: float) -> world.Played:
        if not self.script.jobs:
            return world.Played(paths=tuple(rules.paths(self.script, table, [setting])[0] for table in self.observed))
        modes = [customs.places(table).tolist() for table in self.truth]
        return self._world(customs.Custom(self.script, self.observed, setting, modes), scale, told=False)

    def _tuned(self, scale: float) -> world.Played:
        if self.script.jobs:
            every = [self._threshold(setting, scale) for setting in rules.PAIRS]
        else:
            tables = [rules.paths(self.script, table, rules.PAIRS) for table in self.observed]
            every = [world.Played(paths=tuple(each[pair] for each in tables)) for pair in range(len(rules.PAIRS))]
        return max(every, key=lambda played: self._profit(self._account(played, scale)))

    def _is_there(self, mode: str) -> bool:
        return any(self._place(table, mode) is not None for table in self.truth)

    def _static(self, mode: str, scale: float) -> world.Played:
        places = [self._place(table, mode) for table in self.truth]
        if not self._is_there(mode):
            there = sorted({each for table in self.truth for each in _names(table) if each})
            raise naming.PolicyError(f"policy static:{mode}: no rig can be in {mode!r}; there are: {', '.join(there)}")
        return self._still(
            [table.idle if place is None else place for table, place in zip(self.truth, places, strict=True)], scale
        )

    def _still(self, places: Sequence[int], scale: float) -> world.Played:
        if self.script.jobs:
            # AI work by day and night: whatever comes is taken, and between jobs a rig idles.
            modes = [
                [place, table.idle] if place == table.work else [place]
                for table, place in zip(self.truth, places, strict=True)
            ]
            return self._world(customs.Custom(self.script, self.observed, rules.Threshold(), modes), scale, told=False)
        return world.Played(
            paths=tuple(
                rules.static(self.script, table, place) for table, place in zip(self.truth, places, strict=True)
            )
        )

    def _best_static(self, scale: float) -> world.Played:
        """Each group in the mode that earns most."""
        chosen = [table.idle for table in self.truth]
        for number, table in enumerate(self.truth):

            def earned(place: int, number: int = number) -> float:
                places = list(chosen)
                places[number] = place
                return self._profit(self._account(self._still(places, scale), scale))

            chosen[number] = max(customs.places(table).tolist(), key=earned)
        return self._still(chosen, scale)

    def _place(self, table: rewards.Table, mode: str) -> int | None:
        if mode == "ai":
            hires = sorted(table.hires, key=lambda hire: -float(np.mean(hire.wanted * np.maximum(hire.premium, 0))))
            return hires[0].mode if hires else (table.work if table.work >= 0 and table.group.ai else None)
        for place, name in enumerate(_names(table)):
            if name == mode:
                return place
        return None

    def _world(self, policy: world.Policy, scale: float, told: bool) -> world.Played:
        present = stream.Stream(self.script, revenue=self._seen, seed=self.seed, shuffle_forecasts=self._shuffle)
        return world.play(self.script, self.truth, policy, present, scale=scale, told=told)

    def _account(self, played: world.Played, scale: float) -> accounts.Account:
        return accounts.account(self.script, self.truth, played.paths, scale=scale, work=played.work)

    def _profit(self, account: accounts.Account) -> float:
        return float(account.profit_usd[self.script.warmup_steps :].sum())


def _names(table: rewards.Table) -> list[str]:
    """What people call each mode; "" for one that they cannot choose."""
    return [
        ""
        if not table.allowed[place] and place != table.work
        else "ai"
        if mode.kind is model.ModeKind.AI
        else mode.name.lower() or str(mode.kind).lower()
        for place, mode in enumerate(table.modes)
    ]
