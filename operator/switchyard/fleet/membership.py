"""Which pool a rig belongs to, kept up as rigs and pools change. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import immutables

from switchyard.fleet import model


def claims(pool: model.Pool, rig: model.Rig) -> bool:
    """Whether a pool chooses a rig. A filter on GPU models holds for all of the rig's cards, and needs them known."""
    if not pool.rig_selector.matches(rig.labels):
        return False
    if not pool.gpu_models:
        return True
    gpus = rig.hardware.gpus
    return bool(gpus) and all(gpu.model in pool.gpu_models for gpu in gpus)


class Membership:
    """The pool of every rig, and who else claims it. Costs pools for a changed rig, rigs for a changed pool."""

    def __init__(self) -> None:
        self.pool_of: immutables.Map[str, str] = immutables.Map()
        self.contested: immutables.Map[str, tuple[str, ...]] = immutables.Map()
        self._claimants: dict[str, frozenset[str]] = {}

    def put_rig(self, name: str, rig: model.Rig | None, pools: Mapping[str, model.Pool]) -> None:
        """A rig is new, has changed, or is gone (None)."""
        found = () if rig is None else (pool.name for pool in pools.values() if claims(pool, rig))
        self._settle(name, frozenset(found))

    def put_pool(
        self, name: str, old: model.Pool | None, new: model.Pool | None, rigs: Mapping[str, model.Rig]
    ) -> list[str]:
        """A pool is new, has changed, or is gone (None). Returns the rigs whose pool or claimants have changed."""
        if old is not None and new is not None and _choice(old) == _choice(new):
            return []
        moved = []
        for rig in rigs.values():
            held = self._claimants.get(rig.name, frozenset())
            claimed = new is not None and claims(new, rig)
            if self._settle(rig.name, held | {name} if claimed else held - {name}):
                moved.append(rig.name)
        return moved

    def _settle(self, rig: str, claimants: frozenset[str]) -> bool:
        if self._claimants.get(rig, frozenset()) == claimants:
            return False
        if not claimants:
            del self._claimants[rig]
            self.pool_of = self.pool_of.delete(rig)
        else:
            self._claimants[rig] = claimants
            self.pool_of = self.pool_of.set(rig, min(claimants))
        others = tuple(sorted(claimants))[1:]
        if others:
            self.contested = self.contested.set(rig, others)
        elif rig in self.contested:
            self.contested = self.contested.delete(rig)
        return True


def _choice(pool: model.Pool) -> tuple[model.Selector, tuple[str, ...]]:
    return pool.rig_selector, pool.gpu_models
