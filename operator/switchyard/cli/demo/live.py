"""The demo as it runs: a live view in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import collections
import datetime
import time
from typing import Any, Final, Self

import rich.box
import rich.console
import rich.live
import rich.table
import rich.text

from switchyard import clock as clocks
from switchyard.simulate import baseline, play

_BASELINE_EVERY_SECONDS: Final = 8.0
_LINE_EVERY_SECONDS: Final = 5.0
_SWITCHES_SHOWN: Final = 8
_CHEAP, _DEAR = 0.015, 0.1  # $/kWh: where prices are shown in colour
_COIN_STYLES: Final = ("dark_orange3", "gold3", "plum3", "cyan3")
_MODE_STYLES: Final = {"AI": "bold green", "Idle": "grey62", "Off": "grey35", "Switching": "grey74", "": "grey23"}


class View:
    """A context manager; `refresh` brings it up to date."""

    def __init__(self, party: play.Play, *, clock: clocks.Clock, title: str, console: rich.console.Console) -> None:
        self._party = party
        self._clock = clock
        self._title = title
        self._console = console
        self._live = rich.live.Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._static: float | None = None
        self._static_at = self._line_at = -1e9
        coins = sorted(party.truth.coins)
        self._styles = {coin: _COIN_STYLES[index % len(_COIN_STYLES)] for index, coin in enumerate(coins)}

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Show how things stand now."""
        now, real = self._clock.now(), time.monotonic()
        if real - self._static_at >= _BASELINE_EVERY_SECONDS and now > self._party.start:
            self._static_at = real
            self._static = baseline.best(
                self._party.truth,
                self._party.jobs,
                start=self._party.start.timestamp(),
                end=min(now, self._party.end).timestamp(),
                thorough=False,
            ).usd
        if self._live is not None:
            self._live.update(self._whole(now), refresh=True)
        elif real - self._line_at >= _LINE_EVERY_SECONDS:
            self._line_at = real
            self._console.print(self._line(now), soft_wrap=True, markup=False)

    # --- a line ------------------------------------------------------------------------------------------------

    def _line(self, now: datetime.datetime) -> str:
        modes = collections.Counter(_short(mode) for mode in self._party.modes.values())
        jobs = self._party.standing()
        counted = " ".join(f"{mode or 'unknown'} {count}" for mode, count in sorted(modes.items()))
        prices = " ".join(f"{site.name} {site.price.at(now.timestamp()):.3f}" for site in self._sites())
        return (
            f"{now:%a %d %H:%M}Z | $/kWh {prices} | {counted} | jobs {len(jobs.running)} running, "
            f"{len(jobs.finished)} finished, {len(jobs.waiting) + len(jobs.refused)} waiting | {self._money()}"
        )

    def _money(self) -> str:
        earned = self._party.account.totals.earned_usd
        static = "" if self._static is None else f", best static farm so far {self._static:.2f} $"
        return f"earned {earned:.2f} ${static}"

    # --- the whole picture -------------------------------------------------------------------------------------

    def _whole(self, now: datetime.datetime) -> rich.console.Group:
        return rich.console.Group(self._head(now), self._rigs(now), self._market(now), self._history())

    def _head(self, now: datetime.datetime) -> rich.table.Table:
        party, totals = self._party, self._party.account.totals
        done = (now - party.start) / (party.end - party.start)
        table = rich.table.Table.grid(expand=False, padding=(0, 3))
        when = f"{now:%A %d %B %Y %H:%M} UTC"
        state = "warming up" if done < 0 else f"{min(done, 1):.0%}"
        table.add_row(f"[bold]Switchyard[/]  {self._title}", f"[bold]{when}[/]", f"[dim]{state}[/]")
        static = "" if self._static is None else f"best static farm so far [bold]{self._static:8.2f} $[/]"
        table.add_row(
            f"earned [bold green]{totals.earned_usd:8.2f} $[/]  [dim]mining {totals.mining_usd:.2f}"
            f" + work {totals.work_usd:.2f} - power {totals.power_usd:.2f}[/]",
            static,
            "",
        )
        return table

    def _sites(self) -> list[Any]:
        return sorted(self._party.truth.sites.values(), key=lambda site: site.name)

    def _rigs(self, now: datetime.datetime) -> rich.table.Table:
        table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, expand=False)
        table.add_column("site", style="dim")
        table.add_column("rigs")
        table.add_column("what each does")
        for site in self._sites():
            price = site.price.at(now.timestamp())
            label = rich.text.Text(f"{site.name} {site.jurisdiction} ")
            style = "bold red" if price > _DEAR else "bold cyan" if price < _CHEAP else "bold"
            label.append(f"{price:+.3f} $/kWh", style=style)
            kinds: dict[str, list[str]] = {}
            for name, rig in self._party.truth.rigs.items():
                if rig.zone == site.zone:
                    kinds.setdefault(rig.kind, []).append(name)
            for kind, names in kinds.items():
                cells = rich.text.Text()
                for name in names:
                    cells.append_text(self._cell(self._party.modes.get(name, "")))
                table.add_row(label, kind, cells)
                label = rich.text.Text()
        return table

    def _cell(self, mode: str) -> rich.text.Text:
        short = _short(mode)
        style = self._styles.get(short) or _MODE_STYLES.get(short, "white")
        word = {"AI": mode.rpartition("/")[2], "Switching": "...", "": "-"}.get(short, short.lower())
        return rich.text.Text(f"{word[:10]:<11}", style=style)

    def _market(self, now: datetime.datetime) -> rich.table.Table:
        jobs = self._party.standing()
        table = rich.table.Table.grid(padding=(0, 3))
        coins = "  ".join(
            f"[{self._styles[name]}]{name}[/] {coin.revenue.at(now.timestamp()) * 24e6:.5f}"
            for name, coin in sorted(self._party.truth.coins.items())
        )
        table.add_row("[dim]coins, $ per MH/s and day[/]", coins)
        table.add_row(
            "[dim]jobs[/]",
            f"[bold green]{len(jobs.running)}[/] running  {len(jobs.waiting)} waiting  {len(jobs.finished)} finished  "
            f"{len(jobs.refused)} refused  {len(jobs.preempted)} preempted",
        )
        return table

    def _history(self) -> rich.table.Table:
        table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, expand=True)
        for column, width in (("last switches", 13), ("rig", 15), ("from", 10), ("to", 10)):
            table.add_column(column, no_wrap=True, overflow="ellipsis", width=width, min_width=width)
        # The reasons take what is left: a rich table would rather squeeze the short columns to nothing.
        table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
        shown = list(self._party.switches)[-_SWITCHES_SHOWN:][::-1]
        for switch in shown:
            why = rich.text.Text(switch.message or switch.reason, style="dim")
            table.add_row(f"{switch.at:%a %H:%M}", switch.rig, _brief(switch.origin), _brief(switch.mode), why)
        for _ in range(_SWITCHES_SHOWN - len(shown)):
            table.add_row("", "", "", "", "")
        return table


def _short(mode: str) -> str:
    """The coin's name for mining, else the kind of mode."""
    kind, _, name = mode.partition("/")
    return name if kind == "Mining" else kind


def _brief(mode: str) -> str:
    kind, _, name = mode.partition("/")
    return f"AI/{name.rpartition('/')[2]}" if kind == "AI" else name if kind == "Mining" else kind.lower()
