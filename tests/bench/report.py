"""What a benchmark found: as text, as raw JSON, and as a section of docs/benchmarks.md."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import re
import resource
import time
from pathlib import Path
from typing import Any, Protocol

_HEAD = """# Benchmarks

Written by `make bench`; each section is replaced by the benchmark of its name, everything else stays. Raw figures of
the last run are left in `build/bench/`.
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table: what was measured, what came of it, and what was hoped for ("" for nothing)."""

    what: str
    value: str
    goal: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One benchmark's result.

    Attributes:
        name: of the benchmark; the section's place in the file.
        title: its heading.
        how: paragraphs on how it was measured.
        figures: the table.
        raw: everything, for the JSON file.
        machine: where it was measured, see `machine`.
        tried: it ran with other settings than the documented ones, so that it is not to be written down.
    """

    name: str
    title: str
    how: tuple[str, ...]
    figures: tuple[Figure, ...]
    raw: dict[str, Any]
    machine: dict[str, Any]
    tried: bool = False

    def text(self) -> str:
        """For the terminal."""
        width = max(len(figure.what) for figure in self.figures)
        lines = [
            f"  {figure.what:{width}}  {figure.value}" + (f"  (goal: {figure.goal})" if figure.goal else "")
            for figure in self.figures
        ]
        return "\n".join([f"\n{self.title}", *lines, ""])

    def markdown(self) -> str:
        """For docs/benchmarks.md."""
        machine = self.machine
        lines = [
            f"## {self.title}",
            "",
            f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"Python {machine['python']}, Kubernetes {machine['kubernetes']}. Others on the machine took "
            f"{machine['others_percent']} % of its cores meanwhile.",
            "",
            "| what | measured | goal |",
            "|---|---|---|",
            *(f"| {figure.what} | {figure.value} | {figure.goal} |" for figure in self.figures),
        ]
        for paragraph in self.how:
            lines += ["", paragraph]
        return "\n".join(lines)

    def write_raw(self, path: Path) -> None:
        """The JSON file."""
        path.write_text(json.dumps({"machine": self.machine, **self.raw}, indent=1) + "\n")


class Busy:
    """Counts from its making on what the machine does for others than us."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._all, self._own = _all_cpu_seconds(), _own_cpu_seconds()

    def others_percent(self) -> int:
        """Their share of all cores so far. Our own processes have to have ended."""
        others = (_all_cpu_seconds() - self._all) - (_own_cpu_seconds() - self._own)
        return max(0, round(100 * others / ((time.monotonic() - self._started) * (os.cpu_count() or 1))))


def _all_cpu_seconds() -> float:
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_cpu_seconds() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def machine(*, kubernetes: str) -> dict[str, Any]:
    """Where and when."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 2**20) if memory else None,
        "python": platform.python_version(),
        "kubernetes": kubernetes,
    }


class Written(Protocol):
    """What can be put into the file."""

    @property
    def name(self) -> str:
        """The section's place in the file."""

    def markdown(self) -> str:
        """Its text."""


def write(path: Path, section: Written) -> None:
    """Put a section into the file, in place of an older one of its name."""
    begin, end = f"<!-- bench:{section.name} begins -->", f"<!-- bench:{section.name} ends -->"
    text = path.read_text() if path.exists() else _HEAD
    block = f"{begin}\n{section.markdown()}\n{end}"
    if begin in text and end in text:
        head, _, rest = text.partition(begin)
        text = head + block + rest.partition(end)[2]
    else:
        text = f"{text.rstrip()}\n\n{block}\n"
    path.write_text(text)
