"""What a benchmark found: as text, as raw JSON, and as a section of docs/benchmarks.md."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

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
            f"Python {machine['python']}, Kubernetes {machine['kubernetes']}. Load of the machine when it began: "
            f"{machine['load']}.",
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
        "load": round(os.getloadavg()[0], 2),
    }


def write(path: Path, section: Section) -> None:
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
