"""From a scenario file and the files that it names to a script."""

from __future__ import annotations

import datetime
import pathlib

from switchyard.backtest import arrivals, demand, power, reading, revenue, scenario, script, sources, timeline
from switchyard.fleet import model


def build(scene: scenario.Scenario, *, seed: int, data: pathlib.Path | None) -> script.Script:
    """Read the files of a scenario and put everything on its steps.

    Args:
        scene: the scenario.
        seed: of all that is drawn: sampled demand, drawn jobs, bids.
        data: the folder that `${DATA}` stands for; None where none was given.

    Returns:
        The script; `repairs` says what was mended in which file.

    Raises:
        ScenarioError: the scenario or one of its files cannot be used: with the file, the line or field, what to do.
        MissingDataError: data that comes from outside is not there; the scenario may be skipped.
    """
    axis = _axis(scene)
    warmup = round(scene.warmup / scene.step)
    files = sources.Sources(scene, axis=axis, seed=seed, data=data)
    if warmup >= axis.steps:
        raise files.error("warmup", "leaves no step to be counted; shorten it")
    _check_names(files)
    coins = revenue.mined(files)
    return script.Script(
        name=scene.name,
        description=scene.description,
        start=datetime.datetime.fromtimestamp(axis.start, tz=datetime.UTC),
        step_seconds=round(scene.step),
        steps=axis.steps,
        warmup_steps=warmup,
        sites=power.sites(files),
        coins=coins.coins,
        groups=tuple(_group(name, group, coins) for name, group in scene.groups.items()),
        demands=demand.demands(files),
        jobs=arrivals.jobs(files),
        switching=_switching(files),
        noise=script.Noise()
        if scene.noise is None
        else script.Noise(sigma=scene.noise.sigma, half_life_seconds=scene.noise.half_life),
        repairs=files.repairs,
    )


def _axis(scene: scenario.Scenario) -> timeline.Axis:
    start = scene.moment(scene.start).timestamp()
    if scene.steps is not None:
        steps = scene.steps
    else:
        length = scene.duration
        if length is None:
            assert scene.end is not None  # noqa: S101  the model demands one of the three
            length = scene.moment(scene.end).timestamp() - start
        steps = int(length // scene.step)
        if length <= 0:
            raise reading.ScenarioError(f"{scene.path}: end: must be after start")
        if length % scene.step:
            raise reading.ScenarioError(
                f"{scene.path}: the time from start to end is no whole number of steps; move end or change step"
            )
    return timeline.Axis(start=start, step_seconds=scene.step, steps=steps)


def _check_names(files: sources.Sources) -> None:
    scene = files.scene

    def check(place: str, name: str, known: object, what: str) -> None:
        names = list(known) if isinstance(known, dict) else []
        if name not in names:
            raise files.error(place, f"there is no {what} {name!r}; there is {', '.join(names) or 'none'}")

    for name, group in scene.groups.items():
        check(f"groups.{name}.site", group.site, scene.sites, "site")
        if group.circuit:
            check(f"groups.{name}.circuit", group.circuit, scene.sites[group.site].circuits, "circuit")
        for coin in group.yields:
            check(f"groups.{name}.yields", coin, scene.coins, "coin")
        if not (group.yields or group.ai or group.idle or group.off):
            raise files.error(f"groups.{name}", "may do nothing at all; allow idle or off")
    for name, each in scene.demands.items():
        place = f"demands.{name}.group"
        check(place, each.group, scene.groups, "group")
        if not scene.groups[each.group].ai:
            raise files.error(place, f"group {each.group} may not do AI work; set ai: true there")
    for name, jobs in scene.jobs.items():
        place = f"jobs.{name}.groups"
        for group_name in jobs.groups:
            check(place, group_name, scene.groups, "group")
            if not scene.groups[group_name].ai:
                raise files.error(place, f"group {group_name} may not do AI work; set ai: true there")
    for name in scene.coins:
        if not any(name in group.yields for group in scene.groups.values()):
            raise files.error(f"coins.{name}", "no group has yields for it; add them, or leave the coin out")


def _group(name: str, group: scenario.Group, coins: revenue.Mined) -> script.GroupScript:
    return script.GroupScript(
        name=name,
        site=group.site,
        circuit=group.circuit,
        rigs=group.rigs,
        gpus_per_rig=group.gpus_per_rig,
        gpu=group.gpu,
        gpu_memory_mib=group.gpu_memory_mib,
        yields=dict(coins.yields[name]),
        ai=group.ai,
        idle=group.idle,
        off=group.off,
        ai_watts=group.ai_watts,
        idle_watts=group.idle_watts,
        base_watts=group.base_watts,
        off_watts=group.off_watts,
    )


def _switching(files: sources.Sources) -> script.Switching:
    switching = files.scene.switching
    moves: dict[tuple[model.ModeKind, model.ModeKind], script.MoveCost] = {}
    for index, move in enumerate(switching.moves):
        place = f"switching.moves.{index}"
        origins = move.origin if isinstance(move.origin, tuple) else (move.origin,)
        targets = move.target if isinstance(move.target, tuple) else (move.target,)
        for pair in ((origin, target) for origin in origins for target in targets):
            if pair[0] == pair[1] and pair[0] is not model.ModeKind.MINING:
                raise files.error(place, f"{pair[0]} to {pair[1]} is no move; only coins can change within a mode")
            if pair in moves:
                raise files.error(place, f"{pair[0]} to {pair[1]} is there twice; keep one of them")
            moves[pair] = script.MoveCost(seconds=move.seconds, usd=move.usd)
    return script.Switching(
        moves=moves,
        reference_usd_per_gpu_hour=switching.reference_usd_per_gpu_hour,
        eviction_usd_per_gpu=switching.eviction_usd_per_gpu,
    )
