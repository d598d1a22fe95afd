"""What the agent says of a rig, from `status.agent`. Pure."""

from __future__ import annotations

from switchyard.api import rig, text
from switchyard.fleet import model, moments


def of_agent(agent: rig.AgentStatus) -> model.Readback | None:
    """None unless the agent said which profile, since when and how much memory: silence must not read as zero."""
    since = moments.utc(agent.since or agent.observed_at)
    if agent.profile is None or since is None or agent.gpu_memory_used_mib is None:
        return None
    return model.Readback(
        profile=agent.profile,
        since=since,
        gpu_memory_used_mib=agent.gpu_memory_used_mib,
        watts=agent.watts or 0,
        observed_at=moments.utc(agent.observed_at),
        benchmarks=tuple(each for entry in agent.benchmarks if (each := _measured(entry)) is not None),
    )


def _measured(entry: rig.AgentBenchmark) -> model.Measured | None:
    """None for a rate that is no number: a miner that counts wrongly must not take the Rig from the farm."""
    try:
        rate = text.parse_decimal(entry.hashes_per_second)
    except ValueError:
        return None
    return model.Measured(gpu=entry.gpu, coin=entry.coin, hashes_per_second=rate, watts=entry.watts)
