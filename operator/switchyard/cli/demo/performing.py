"""Plays the demo: sets the stage, starts the operator beside it, shows the run, judges it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import dataclasses
import datetime
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import rich.console
import rich.markup

from switchyard import clock as clocks
from switchyard.cli.demo import live, operating, verdict
from switchyard.kube import client as kube
from switchyard.kube import credentials, errors
from switchyard.simulate import arrivals, baseline, history, machines, play, stage, world

START: Final = datetime.datetime(2021, 10, 18, 5, tzinfo=datetime.UTC)
HOURS: Final = 96.0
MARKET_HOURS: Final = 60.0
"""With a market of one's own, which may be calm: the slower it is played, the less the time of a switch counts."""
REAL_SECONDS: Final = 230.0
"""What a run takes from the start of the account to its end, where no speed is asked for."""
_LEAD_SECONDS: Final = 18.0
"""Real time between the operator's start and the start of the account."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Script:
    """What is to be played."""

    manifests: list[dict[str, Any]]
    truth: world.World
    jobs: tuple[arrivals.Arrival, ...]
    start: datetime.datetime
    hours: float
    speed: float
    notes: tuple[str, ...]

    @property
    def end(self) -> datetime.datetime:
        return self.start + datetime.timedelta(hours=self.hours)


def run(options: argparse.Namespace) -> int:
    """Play the demo. The exit status is 0 if every check holds, 1 if one does not, 2 if it cannot be played."""
    console = rich.console.Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        script = _script(options)
    except (history.HistoryError, ValueError, OSError) as problem:
        console.print("[red]demo:[/]", rich.markup.escape(str(problem)))
        return 2
    for note in script.notes:
        console.print(note, style="dim", markup=False)
    try:
        return asyncio.run(_run(options, script, console))
    except (errors.KubeError, operating.OperatorError, TimeoutError, FileNotFoundError) as problem:
        console.print("[red]demo:[/]", rich.markup.escape(str(problem)))
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped")
        return 130


def _script(options: argparse.Namespace) -> _Script:
    manifests = stage.load(options.farm)
    rigs = machines.load(options.farm / "simulation/rigs.yaml")
    hours, start = options.hours, options.start or START
    notes: tuple[str, ...] = ()
    root = Path.cwd()
    files: dict[str, dict[str, Any]] = {}
    if options.market is not None:
        layout = history.Layout(
            time=options.market_time,
            value=options.market_value,
            where=dict(options.market_where),
            unit=options.market_unit,
        )
        past = history.read(options.market, layout)
        spanned = (past.rows[-1][0] - past.rows[0][0]).total_seconds() / 3600
        hours = hours or min(MARKET_HOURS, math.floor(spanned))
        start = options.start or past.liveliest(hours)
        past.write(options.out / "market.csv")
        shift = start - START
        _shift_coins(Path("examples/market/coins.csv"), options.out / "coins.csv", shift)
        files = {
            "ElectricityPrice": {
                "path": str(options.out / "market.csv"),
                "timeColumn": "time",
                "valueColumn": "usd_per_mwh",
                "where": None,
            },
            "CoinRevenue": {"path": str(options.out / "coins.csv")},
        }
        notes = (
            *past.notes,
            f"both sites buy at these prices, each with its own adder; playing {hours:g} h from {start:%Y-%m-%d %H:%M}Z"
            + ("" if options.start else ", the stretch in which they move the most"),
            f"coin revenue is the example's, shifted by {shift.days} days",
        )
    hours = hours or HOURS
    manifests = stage.redirect(manifests, root=root, files=files)
    return _Script(
        manifests=manifests,
        truth=world.build(manifests, rigs=rigs, root=root),
        jobs=arrivals.draw(options.farm / "simulation/demand.yaml", start=start, hours=hours),
        start=start,
        hours=hours,
        speed=options.speed or hours * 3600 / REAL_SECONDS,
        notes=notes,
    )


def _shift_coins(source: Path, target: Path, shift: datetime.timedelta) -> None:
    """The example's coin revenue at another time."""
    with source.open(newline="") as old, target.open("w", newline="") as new:
        rows = csv.DictReader(old)
        writer = csv.DictWriter(new, fieldnames=rows.fieldnames or [], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            moment = datetime.datetime.fromisoformat(row["time"]) + shift
            writer.writerow({**row, "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ")})


async def _run(options: argparse.Namespace, script: _Script, console: rich.console.Console) -> int:
    path = options.kubeconfig or os.environ.get("KUBECONFIG", "")
    if not path:
        console.print("[red]demo:[/] KUBECONFIG is not set; `make demo` starts a control plane and sets it")
        return 2
    # Raised at once: an operator that is left behind would go on writing to whatever cluster comes next.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _stop, asyncio.current_task())
    async with kube.Client(credentials=credentials.from_kubeconfig(str(path)), user_agent="switchyard-demo") as client:
        console.print(f"setting the stage: {len(script.truth.rigs)} rigs on {len(script.truth.sites)} sites ...")
        await stage.establish(client, options.crds)
        await stage.furnish(client, script.manifests, script.truth.rigs.values())
        clock = clocks.ReplayClock(start=script.start, epoch=time.time() + _LEAD_SECONDS, speed=script.speed)
        async with operating.operator(clock=clock, kubeconfig=str(path), log=options.out / "operator.log") as operator:
            party = play.Play(
                client=client,
                clock=clock,
                truth=script.truth,
                jobs=script.jobs,
                start=script.start,
                end=script.end,
            )
            async with _playing(party):
                await _show(party, operator=operator, clock=clock, script=script, console=console)
                summary = verdict.summarise(
                    party,
                    metrics=await operator.metrics(keep=options.out / "metrics.txt"),
                    static=baseline.best(
                        script.truth,
                        script.jobs,
                        start=script.start.timestamp(),
                        end=script.end.timestamp(),
                    ),
                    speed=script.speed,
                )
                summary.write(options.out / "summary.json")
                console.print(summary.table())
                if options.keep:
                    await _keep(console, path=str(path), operator=operator)
    return 0 if summary.passed else 1


@contextlib.asynccontextmanager
async def _playing(party: play.Play) -> AsyncIterator[None]:
    """The party goes on while the body runs; should it break down, the body is broken off too."""
    body = asyncio.current_task()
    assert body is not None  # noqa: S101 - always called from one
    playing = asyncio.create_task(party.run(), name="play")
    trouble: list[BaseException] = []

    def tell(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            trouble.append(problem)
            body.cancel()

    playing.add_done_callback(tell)
    try:
        yield
    except asyncio.CancelledError:
        if trouble:
            raise trouble[0] from None
        raise
    finally:
        playing.cancel()
        with contextlib.suppress(BaseException):
            await playing


async def _show(
    party: play.Play,
    *,
    operator: operating.Operator,
    clock: clocks.ReplayClock,
    script: _Script,
    console: rich.console.Console,
) -> None:
    """Show the run until its end."""
    title = f"{script.hours:g} h of farm time at {script.speed:,.0f}x"
    with live.View(party, clock=clock, title=title, console=console) as view:
        while clock.now() < script.end:
            operator.check()
            view.refresh()
            await asyncio.sleep(0.25)
        view.refresh()


async def _keep(console: rich.console.Console, *, path: str, operator: operating.Operator) -> None:
    kubectl = shutil.which("kubectl")
    folder = f'  export PATH="{Path(kubectl).parent}:$PATH"\n' if kubectl else ""
    console.print(
        f"\nThe farm stays up until Ctrl-C: operator, rigs and market go on. In another terminal:\n"
        f"  export KUBECONFIG={path}\n{folder}"
        "  kubectl get sites,coins,pricefeeds,gpupools,rigs\n"
        "  kubectl get aijobs -A\n"
        "  kubectl get rig ampere-10g-01 -o yaml\n"
        f"  {Path(sys.executable).parent / 'switchyard'} explain rig/ampere-10g-01",
        soft_wrap=True,
    )
    while True:
        operator.check()
        await asyncio.sleep(1)


def _stop(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()
