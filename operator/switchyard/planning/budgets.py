"""How many rigs of a pool may be in a hand-over at once."""

from __future__ import annotations

from collections.abc import Mapping

from switchyard.planning import request as planning


def limit(max_switching: int | str, rigs: int) -> int:
    """The pool's limit in rigs: a number, or a share like `25%` rounded down; never below 1, or nothing ever moved."""
    if isinstance(max_switching, int):
        return max(1, max_switching)
    return max(1, int(rigs * float(max_switching.strip().rstrip("%")) / 100))


class Purse:
    """What is left of the budgets while a plan is made."""

    def __init__(self, budgets: Mapping[str, planning.Budget]) -> None:
        self._limits = {name: budget.limit for name, budget in budgets.items()}
        self._used = {name: budget.used for name, budget in budgets.items()}
        self._kept: dict[str, str] = {}

    def limit(self, pool: str) -> int:
        """The pool's limit."""
        return self._limits.get(pool, 0)

    def left(self, pool: str) -> int:
        """How many more rigs of the pool may start a hand-over."""
        return max(0, self._limits.get(pool, 0) - self._used.get(pool, 0))

    def affords(self, rigs: Mapping[str, int]) -> bool:
        """Whether so many rigs per pool may start."""
        return all(count <= self.left(pool) for pool, count in rigs.items())

    def take(self, pool: str, rigs: int = 1) -> None:
        """Spend."""
        self._used[pool] = self._used.get(pool, 0) + rigs

    def keep(self, pool: str, job: str) -> None:
        """Keep the rest of a pool's budget for a gang that will fit once hand-overs under way are done.

        A gang needs its rigs in one tick. If single moves took every place that comes free, it would wait for ever.
        """
        self._kept.setdefault(pool, job)

    def refusal(self, pool: str) -> str:
        """Why a single move of the pool may not start now; "" if it may."""
        if self.left(pool) < 1:
            used, most = self._used.get(pool, 0), self._limits.get(pool, 0)
            return f"budget switching.maxConcurrent ({used} of {most})"
        if pool in self._kept:
            return f"budget switching.maxConcurrent (kept for AIJob {self._kept[pool]})"
        return ""


def counted(pools: list[str]) -> dict[str, int]:
    """How often each pool occurs."""
    counts: dict[str, int] = {}
    for pool in pools:
        counts[pool] = counts.get(pool, 0) + 1
    return counts
