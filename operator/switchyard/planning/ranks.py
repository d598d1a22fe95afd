"""Look-ahead control per rank: work, mining, rest and off, with a learned demand and a forecast price of power.

Rigs that are alike stand in a line. AI work wants the first so many of them, so the rig of rank k is wanted while the
level of demand is at least k, and every rank is a small decision problem of its own: be in one of a few states, earn
what the state earns, pay for changing. It is solved backwards over a look-ahead whose steps grow from ten minutes to
twelve hours, for all ranks and levels together: value(state, level) = the best of what a state earns now and is worth
later, less the way there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STEPS: Final = (1, 1, 1, 1, 1, 1, 3, 3, 3, 3, *(6,) * 10, *(12,) * 6, *(36,) * 8, *(72,) * 8)
"""Lengths of the look-ahead's steps in base steps of ten minutes: a week."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """One line's problem. S states, T steps, L levels of demand, R ranks.

    Attributes:
        hours: [T] lengths of the steps.
        earns: [T, S] $/h of each state; of work: where it is wanted.
        unwanted: [T] $/h of the state of work where it is not wanted.
        moves_usd: [S, S] from, to.
        eviction_usd: on top, for leaving work that is wanted.
        work: index of the state of work, -1 without one.
        wanted: [L, R] share of a rank's rig that each level wants, 0 to 1.
        kernels: for each step, [L, L] how levels change over it. Empty without a state of work.
    """

    hours: Floats
    earns: Floats
    unwanted: Floats
    moves_usd: Floats
    eviction_usd: float
    work: int
    wanted: Floats
    kernels: Sequence[Floats]


def solve(problem: Problem) -> Floats:
    """[T, S, R, L]: what each state is worth from the end of each step on, in $, as expected at its beginning."""
    steps, states = problem.earns.shape
    levels, ranks = problem.wanted.shape
    worth = np.empty((steps, states, ranks, levels))
    ahead = np.zeros((states, ranks, levels))
    gain, found = np.empty_like(ahead), np.empty((ranks, levels))
    wanted = np.ascontiguousarray(problem.wanted.T)
    lost = wanted * problem.eviction_usd
    moves, work = problem.moves_usd.tolist(), problem.work
    paid = (problem.earns * problem.hours[:, None]).tolist()
    unpaid = (problem.unwanted * problem.hours).tolist()
    for step in range(steps - 1, -1, -1):
        now = worth[step]
        if work >= 0:
            # One product for all states: [S x R, L] @ [L, L].
            np.matmul(ahead.reshape(-1, levels), problem.kernels[step].T, out=now.reshape(-1, levels))
        else:
            now[...] = ahead
        for state in range(states):
            if state == work:
                np.multiply(wanted, paid[step][state] - unpaid[step], out=found)
                found += unpaid[step]
                np.add(now[state], found, out=gain[state])
            else:
                np.add(now[state], paid[step][state], out=gain[state])
        ahead[...] = gain
        for origin in range(states):
            best = ahead[origin]
            for to in range(states):
                if to == origin:
                    continue
                np.subtract(gain[to], moves[origin][to], out=found)
                if origin == work:
                    found -= lost
                np.maximum(best, found, out=best)
    return worth


def powers(kernel: Floats, lengths: Sequence[int]) -> list[Floats]:
    """The kernel over each of these many base steps."""
    known: dict[int, Floats] = {1: kernel}

    def power(count: int) -> Floats:
        found = known.get(count)
        if found is None:
            half = power(count // 2)
            found = half @ half
            if count % 2:
                found = found @ kernel
            known[count] = found
        return found

    return [power(count) for count in lengths]
