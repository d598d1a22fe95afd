"""How numbers are written in statuses and sentences."""

from __future__ import annotations

import math

from switchyard.api import text


def usd(value: float) -> str:
    """Dollars, or dollars per hour, for a field."""
    return text.format_decimal(value, 6)


def rate(value: float) -> str:
    """A number of any size for a field: six significant digits, never an exponent."""
    if value == 0 or not math.isfinite(value):
        return "0"
    return text.format_decimal(value, min(15, max(0, 5 - math.floor(math.log10(abs(value))))))


def share(value: float) -> str:
    """A share from 0 to 1, two digits."""
    return f"{value:.2f}"


def money(value: float) -> str:
    """Dollars in a sentence: four digits, so that cents per hour still tell something. Always with a point."""
    return f"{value:.4f} $"


def per_hour(value: float) -> str:
    """Dollars per hour in a sentence."""
    return f"{value:.4f} $/h"


def count(number: int, singular: str, plural: str = "") -> str:
    """`1 rig`, `2 rigs`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def some(entries: list[str], *, most: int = 5) -> str:
    """A list in a sentence that stays short: `a, b and 3 more`."""
    if len(entries) <= most:
        return ", ".join(entries)
    return f"{', '.join(entries[:most])} and {len(entries) - most} more"


def per_gpu_hour(value: float) -> str:
    """Dollars per GPU and hour in a sentence."""
    return f"{value:.4f} $/GPU-h"
