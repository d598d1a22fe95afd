"""A run for pictures: prices, who did what, money as it came in, and the decisions that hindsight likes least."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from switchyard.backtest import account as accounts
from switchyard.backtest import clairvoyant, result, rewards, world
from switchyard.backtest import script as scripts
from switchyard.fleet import model

Floats = npt.NDArray[np.float64]

_DEAREST: Final = 10
_KINDS: Final = {model.ModeKind.AI: "AI", model.ModeKind.IDLE: "idle", model.ModeKind.OFF: "off"}


def draw(
    script: scripts.Script,
    tables: Sequence[rewards.Table],
    played: world.Played,
    account: accounts.Account,
    *,
    scale: float,
) -> result.Lanes:
    """The lanes of a run; `tables` hold the true prices."""
    wanted = {f"AI {demand.name}": np.asarray(demand.gpus_wanted, dtype=float) for demand in script.demands}
    if played.work is not None:
        wanted["AI jobs"] = played.work.wanted_gpus
    return result.Lanes(
        prices=_prices(script, tables),
        gpus_in_mode=_in_mode(script, tables, played),
        gpus_wanted=wanted,
        profit_usd=np.cumsum(account.profit_usd),
        dearest=_dearest(script, tables, played, scale=scale),
    )


def _prices(script: scripts.Script, tables: Sequence[rewards.Table]) -> dict[str, Floats]:
    found = {f"power {site.name}, $/kWh": site.usd_per_kwh for site in script.sites}
    for table in tables:
        where = f" {table.group.name}" if len(tables) > 1 else ""
        for place, mode in enumerate(table.modes):
            if mode.kind is model.ModeKind.MINING:
                found[f"coin {mode.name}{where}, $/GPU-h after power"] = (
                    table.rates[:, place] / table.group.gpus_per_rig
                )
        rest = table.rates[:, table.idle] / table.group.gpus_per_rig
        for hire in table.hires:
            found[f"AI {hire.name}, $/GPU-h after power"] = rest + hire.premium
    return found


def _in_mode(script: scripts.Script, tables: Sequence[rewards.Table], played: world.Played) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for table, path in zip(tables, played.paths, strict=True):
        for place, mode in enumerate(table.modes):
            label = _KINDS.get(mode.kind, f"mining {mode.name}")
            here = path == place if place != table.work else path >= len(table.modes)
            gpus = here.sum(axis=1) * float(table.group.gpus_per_rig)
            found[label] = found.get(label, np.zeros(script.steps)) + gpus
    return found


def _dearest(
    script: scripts.Script, tables: Sequence[rewards.Table], played: world.Played, *, scale: float
) -> tuple[result.Decision, ...]:
    """The steps at which moves gave away most, all rigs of a group that made the same move taken together."""
    if script.jobs:
        return ()
    found: list[tuple[float, result.Decision]] = []
    offset = 0
    for table, path in zip(tables, played.paths, strict=True):
        lost = clairvoyant.regrets(script, table, path, scale=scale)
        before = np.vstack([np.full((1, path.shape[1]), table.idle, dtype=path.dtype), path[:-1]])
        usd = np.where(before != path, lost, 0.0)
        usd[: script.warmup_steps] = 0.0
        for step in np.argsort(-usd.sum(axis=1), kind="stable")[:_DEAREST]:
            total = float(usd[step].sum())
            if total <= 1e-9:
                break
            pairs: dict[tuple[int, int], list[int]] = {}
            for rig in np.flatnonzero(usd[step] > 0):
                pairs.setdefault((int(before[step, rig]), int(path[step, rig])), []).append(int(rig))
            what = "; ".join(
                f"{len(rigs)} rig{'s' * (len(rigs) > 1)} of {table.group.name}: {table.modes[x]} to {table.modes[y]}"
                for (x, y), rigs in pairs.items()
            )
            whys = (played.why.get((int(step), offset + rig), "") for rigs in pairs.values() for rig in rigs)
            at = script.start + datetime.timedelta(seconds=int(step) * script.step_seconds)
            why = next((text for text in whys if text), "")
            found.append((total, result.Decision(at=at, what=what, usd=total, why=why)))
        offset += table.group.rigs
    found.sort(key=lambda pair: (-pair[0], pair[1].at))
    return tuple(decision for _, decision in found[:_DEAREST])
