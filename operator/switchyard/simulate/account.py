"""What the farm really earned: worked out from the Pods that ran, not from anything the operator says.

- A miner that runs earns the rig's hash rate on its coin times the coin's revenue, less both fees, from the coin's
  startup time on. Before that it draws power and earns nothing.
- A gang earns its bid while all its Pods run, but no second of work is paid for twice: work that was lost and is done
  again earns nothing.
- Every rig draws the watts of what runs on it (its agent's profile says whether it idles or is off), times PUE, at its
  site's price with the adder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from switchyard.simulate import arrivals, sight, work, world


@dataclasses.dataclass(slots=True)
class Totals:
    """$ since the start of the account."""

    mining_usd: float = 0.0
    work_usd: float = 0.0
    power_usd: float = 0.0

    @property
    def earned_usd(self) -> float:
        """What is left after power."""
        return self.mining_usd + self.work_usd - self.power_usd


class Account:
    """Fed with every change of a Pod and, in between, with the passing of time. Moments are Unix seconds of farm time.

    Nothing is counted before `start` nor after `end`.
    """

    def __init__(
        self,
        truth: world.World,
        jobs: Iterable[arrivals.Arrival],
        *,
        start: float,
        end: float,
        profile: Callable[[str], str],
        gangs: Mapping[str, work.Gang],
    ) -> None:
        self.totals = Totals()
        self._truth = truth
        self._jobs = {job.key: job for job in jobs}
        self._start, self._end = start, end
        self._at = start
        self._profile = profile
        self._gangs = gangs
        self._pods: dict[tuple[str, str], sight.Pod] = {}
        self._since: dict[str, float] = {}
        self._ran: dict[str, float] = {}

    def see(self, pod: sight.Pod, *, now: float) -> None:
        """A Pod is there, or has changed."""
        self.pass_time(now)
        self._pods[pod.key] = pod
        if pod.running:
            self._since.setdefault(pod.uid, now)

    def lose(self, key: tuple[str, str], *, now: float) -> None:
        """A Pod is gone."""
        self.pass_time(now)
        pod = self._pods.pop(key, None)
        if pod is not None:
            self._since.pop(pod.uid, None)

    def keep(self, present: set[tuple[str, str]], *, now: float) -> None:
        """These Pods exist and no others."""
        for key in self._pods.keys() - present:
            self.lose(key, now=now)

    def pass_time(self, now: float) -> None:
        """Count what was earned and drawn since the last call, with everything as it was left then."""
        start, end = self._at, min(now, self._end)
        if end <= start:
            return
        self._at = end
        running: dict[str, list[sight.Pod]] = {}
        gangs: dict[str, int] = {}
        for pod in self._pods.values():
            if pod.running:
                running.setdefault(pod.node, []).append(pod)
                if pod.job:
                    gangs[pod.job] = gangs.get(pod.job, 0) + 1
        for name, rig in self._truth.rigs.items():
            site = self._truth.site(rig)
            pods = running.get(name, [])
            watts = self._truth.draw(rig, pods, profile=self._profile(name))
            self.totals.power_usd += watts / 1000 * site.pue * site.price.area(start, end)
            self.totals.mining_usd += self._mined(name, pods, start, end)
        for key, count in gangs.items():
            job = self._jobs.get(key)
            if job is not None and count >= job.replicas:
                self._ran[key] = self._ran.get(key, 0.0) + end - start
        self.totals.work_usd = sum(self._paid(key, seconds) for key, seconds in self._ran.items())

    def paid_usd(self, job: str) -> float:
        """What one job has paid so far."""
        return self._paid(job, self._ran.get(job, 0.0))

    def _paid(self, key: str, ran_seconds: float) -> float:
        job, gang = self._jobs[key], self._gangs.get(key)
        done = min(ran_seconds, gang.paid_seconds) if gang is not None else 0.0
        return job.usd_per_hour * done / 3600

    def _mined(self, name: str, pods: list[sight.Pod], start: float, end: float) -> float:
        rig, usd = self._truth.rigs[name], 0.0
        miner = next((pod for pod in pods if pod.coin in self._truth.coins), None)
        # With somebody else on the same cards nobody can say what a miner hashes: nothing is counted.
        if miner is not None and len(pods) == 1:
            coin = self._truth.coins[miner.coin]
            hashing = max(start, self._since[miner.uid] + coin.startup_seconds)
            if hashing < end:
                usd = self._truth.hashrate(rig, coin) * coin.kept * coin.revenue.area(hashing, end)
        return usd
