"""The policy's memory as JSON, for the copy that survives a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from switchyard.planning import priced, remembered
from switchyard.planning import request as planning


def dump(memory: planning.Memory) -> dict[str, Any]:
    """What is worth keeping. What gangs have forgone stands in their rigs' statuses."""
    found: dict[str, Any] = {"lines": {key: remembered.dump(line) for key, line in sorted(memory.lines.items())}}
    if memory.book is not None:
        found["demand"] = priced.dump(memory.book)
    return found


def load(
    found: Mapping[str, Any], *, on_trouble: Callable[[str, Exception], None] = lambda *_: None
) -> planning.Memory:
    """What `dump` wrote, as the memory of a policy that has not planned yet.

    A line that cannot be read is one that is not remembered: nothing that was learned is worth a crash. `on_trouble`
    hears its name and what was wrong with it; of what is known of demand the name is `demand`.
    """
    lines: dict[str, remembered.Line] = {}
    kept = found.get("lines")
    for key, line in kept.items() if isinstance(kept, Mapping) else ():
        try:
            lines[str(key)] = remembered.load(line)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as problem:
            on_trouble(str(key), problem)
    book: priced.Book | None = None
    if found.get("demand") is not None:
        try:
            book = priced.load(found["demand"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as problem:
            on_trouble("demand", problem)
    return planning.Memory(lines=lines, book=book)
