"""How numbers are written in YAML: decimals, durations and Kubernetes quantities, read and written.

Money and ratios are decimal strings, because a JSON number is a binary float to some and an integer to others.
"""

from __future__ import annotations

import datetime
import decimal
import re
from typing import Final

DECIMAL_PATTERN: Final = r"^[0-9]{1,15}([.][0-9]{1,15})?$"
SIGNED_DECIMAL_PATTERN: Final = r"^-?[0-9]{1,15}([.][0-9]{1,15})?$"
# At least one part, and the parts in their order: an empty string is no duration.
DURATION_PATTERN: Final = r"^([0-9]{1,5}h([0-9]{1,6}m)?([0-9]{1,7}s)?|[0-9]{1,6}m([0-9]{1,7}s)?|[0-9]{1,7}s)$"
CAPABILITY_PATTERN: Final = r"^[0-9]{1,2}[.][0-9]$"
CLOCK_PATTERN: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

_SIGNED_DECIMAL: Final = re.compile(SIGNED_DECIMAL_PATTERN, re.ASCII)
_DURATION: Final = re.compile(r"(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?", re.ASCII)
_CAPABILITY: Final = re.compile(CAPABILITY_PATTERN, re.ASCII)
_CLOCK: Final = re.compile(CLOCK_PATTERN, re.ASCII)
# Kubernetes: a signed decimal with either a decimal exponent or one suffix, binary or of powers of ten.
_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:[.][0-9]*)?|[.][0-9]+))(?P<suffix>[eE][+-]?[0-9]{1,2}|[KMGTPE]i|[numkMGTPE])?",
    re.ASCII,
)
_SCALES: Final = {
    "n": decimal.Decimal("1e-9"),
    "u": decimal.Decimal("1e-6"),
    "m": decimal.Decimal("1e-3"),
    "": decimal.Decimal(1),
    "k": decimal.Decimal("1e3"),
    "M": decimal.Decimal("1e6"),
    "G": decimal.Decimal("1e9"),
    "T": decimal.Decimal("1e12"),
    "P": decimal.Decimal("1e15"),
    "E": decimal.Decimal("1e18"),
    "Ki": decimal.Decimal(2**10),
    "Mi": decimal.Decimal(2**20),
    "Gi": decimal.Decimal(2**30),
    "Ti": decimal.Decimal(2**40),
    "Pi": decimal.Decimal(2**50),
    "Ei": decimal.Decimal(2**60),
}
_EXACT: Final = decimal.Context(prec=100)
_MEBIBYTE: Final = decimal.Decimal(2**20)


def parse_decimal(text: str) -> float:
    """Read a decimal string such as `0.085` or `-3`. Raises ValueError for anything else, exponents and `nan` too."""
    if not isinstance(text, str) or not _SIGNED_DECIMAL.match(text) or text.endswith("\n"):
        raise ValueError(f'not a decimal number in quotes, such as "0.085": {text!r}')
    return float(text)


def format_decimal(value: float, significant: int = 6) -> str:
    """Write a finite number as statuses show it: plain, no exponent, rounded to `significant` digits.

    Anything below 1e-15 is "0", so that `parse_decimal` always reads it back.
    """
    text = f"{value:.{significant}g}"
    # Up to eleven digits without an exponent are plain as they are, and there are many to write.
    if "e" in text or significant > 11 or not text[-1].isdigit():
        text = f"{decimal.Decimal(text):.15f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def parse_duration(text: str) -> float:
    """Read a duration such as `15m` or `1h30m`, in seconds. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        raise ValueError(f'not a duration in hours, minutes and seconds, such as "1h30m" or "90s": {text!r}')
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def format_duration(seconds: float) -> str:
    """Write seconds as people do: `1h30m`, `90s` is `1m30s`, rounded to whole seconds; `0s` for none."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{value}{unit}" for value, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if value]
    return "".join(parts) or "0s"


def parse_quantity(value: str | int | float) -> decimal.Decimal:
    """Read a Kubernetes quantity: `8Gi`, `500m`, `1e3`, or a bare number. Raises ValueError for anything else."""
    text = str(value)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f'not a Kubernetes quantity, such as "8Gi" or "500m": {value!r}')
    suffix = match["suffix"] or ""
    number = decimal.Decimal(match["number"])
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return number.scaleb(int(suffix[1:]), _EXACT)
    return _EXACT.multiply(number, _SCALES[suffix])


def parse_mebibytes(value: str | int | float) -> int:
    """Read a Kubernetes quantity of bytes as whole MiB, rounded down. Raises ValueError for anything else."""
    return int(_EXACT.divide_int(parse_quantity(value), _MEBIBYTE))


def parse_capability(text: str) -> tuple[int, int]:
    """Read a CUDA compute capability such as `8.6`. Raises ValueError for anything else."""
    if not isinstance(text, str) or not _CAPABILITY.match(text) or text.endswith("\n"):
        raise ValueError(f'not a compute capability, such as "8.6": {text!r}')
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def parse_clock(text: str) -> datetime.time:
    """Read a time of day such as `16:00`. Raises ValueError for anything else."""
    if not isinstance(text, str) or not _CLOCK.match(text) or text.endswith("\n"):
        raise ValueError(f'not a time of day, such as "16:00": {text!r}')
    return datetime.time.fromisoformat(text)
