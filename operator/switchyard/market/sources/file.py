"""Prices from a file, of this moment or replayed."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import pathlib

from switchyard.market import cleaning, curves
from switchyard.market.sources import table

SIZE_LIMIT_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Maps farm time to the file's: `start` when farm time was `created`, running `speed` times as fast."""

    start: datetime.datetime
    created: datetime.datetime
    speed: float

    @property
    def shift(self) -> datetime.timedelta:
        """What is to be added to a time of the file, at speed 1."""
        return self.created - self.start

    def file_time(self, now: datetime.datetime) -> datetime.datetime:
        """The moment of the file that is being played at `now`."""
        return self.start + (now - self.created) * self.speed

    def farm_time(self, moment: datetime.datetime) -> datetime.datetime:
        """When a moment of the file was, or will be, played."""
        return self.created + (moment - self.start) / self.speed


class File:
    """Reads CSV or JSON lines; parses once and again when the file has changed.

    The value is that of the row in force. It is of this very moment while a later row bounds its span, but only of the
    row's own time where it is the last: so a file that has ended goes stale.

    Args:
        path: where the file is.
        layout: which columns hold what.
        replay: how farm time maps to the file's, None where they are the same.
        folder: files outside are refused, and a relative path starts from here; None takes any path.
    """

    def __init__(
        self,
        *,
        path: pathlib.Path,
        layout: table.Layout,
        replay: Replay | None = None,
        folder: pathlib.Path | None = None,
    ) -> None:
        self._path = path if folder is None else folder / path
        self._folder = folder
        self._layout = layout
        self._replay = replay
        self._seen: tuple[int, int, int] | None = None
        self._parsed: table.Table | cleaning.Trouble = table.Table([])

    async def read(self, *, now: datetime.datetime) -> cleaning.Reading:
        """The value of the row in force at `now`, or the trouble with the file."""
        # In a thread: parsing a large file, or a disk that is slow today, must not hold up everybody else.
        found = await asyncio.to_thread(self._load)
        if isinstance(found, cleaning.Trouble):
            return cleaning.Reading(trouble=found)
        return self._look_up(found, now=now)

    async def rows(self, *, now: datetime.datetime) -> list[curves.Row] | cleaning.Trouble:
        """The rows around `now` that a forecast is made of, in farm time; or the trouble with the file."""
        found = await asyncio.to_thread(self._load)
        if isinstance(found, cleaning.Trouble):
            return found
        shift = self._replay.shift if self._replay is not None else datetime.timedelta(0)
        try:
            near = found.between(now - shift - curves.BACK, now - shift + curves.AHEAD)
        except OverflowError:
            return cleaning.Trouble(
                reason="ReplayOutOfRange", message=f"{self._path.name}: the replay has left the calendar"
            )
        return [curves.Row(moment + shift, value, f"{self._path.name}:{line}") for moment, value, line in near]

    def _look_up(self, found: table.Table, *, now: datetime.datetime) -> cleaning.Reading:
        name = self._path.name
        if found.first is None:
            such = " and ".join(f"{column}={wanted}" for column, wanted in self._layout.where.items())
            return cleaning.Reading.failed("NoSample", f"{name} has no row" + (f" with {such}" if such else ""))
        try:
            moment = now if self._replay is None else self._replay.file_time(now)
            row = found.at(moment)
            if row is None:
                return cleaning.Reading.failed(
                    "BeforeFirstRow",
                    f"{name} begins at {cleaning.shown_time(found.first)}, after {cleaning.shown_time(moment)}",
                )
            of_row = row.moment if self._replay is None else self._replay.farm_time(row.moment)
        except OverflowError:
            return cleaning.Reading.failed("ReplayOutOfRange", f"{name}: the replay has left the calendar")
        return cleaning.Reading(value=row.value, as_of=of_row if row.last else now, origin=f"{name}:{row.line}")

    def _load(self) -> table.Table | cleaning.Trouble:
        path = self._path
        try:
            resolved = path.resolve()
            if self._folder is not None and not resolved.is_relative_to(self._folder.resolve()):
                return cleaning.Trouble(reason="FileRefused", message=f"{path} is outside the folder for price files")
            if not resolved.is_file():
                # Also for pipes and devices, which would never end.
                what = "is not a file" if resolved.exists() else "does not exist"
                return cleaning.Trouble(reason="FileMissing", message=f"{path} {what}")
            status = resolved.stat()
            if status.st_size > SIZE_LIMIT_BYTES:
                return cleaning.Trouble(
                    reason="FileTooLarge", message=f"{path} has {status.st_size} bytes, more than {SIZE_LIMIT_BYTES}"
                )
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._parsed = self._parse(resolved.read_bytes())
                self._seen = seen
        except (OSError, RuntimeError) as problem:  # RuntimeError: a loop of links, in some versions of Python
            why = problem.strerror if isinstance(problem, OSError) else None
            return cleaning.Trouble(reason="FileUnreadable", message=f"{path}: {why or type(problem).__name__}")
        return self._parsed

    def _parse(self, content: bytes) -> table.Table | cleaning.Trouble:
        name = self._path.name
        try:
            return table.parse(content.decode("utf-8-sig"), layout=self._layout, name=name)
        except UnicodeDecodeError as problem:
            line = content.count(b"\n", 0, problem.start) + 1
            return cleaning.Trouble(reason="BadRow", message=f"{name}:{line}: not UTF-8")
        except table.TableError as problem:
            return problem.trouble
