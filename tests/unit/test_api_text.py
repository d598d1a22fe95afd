"""Decimals, durations and quantities as people write them."""

from __future__ import annotations

import datetime
import decimal
import math
import re

import hypothesis
import pytest
from hypothesis import strategies

from switchyard.api import text


@hypothesis.given(strategies.decimals(-(10**12), 10**12, places=8))
def test_decimals_are_read_as_they_stand(value: decimal.Decimal) -> None:
    assert text.parse_decimal(f"{value:f}") == float(value)


@hypothesis.given(strategies.floats(-1e14, 1e14))
def test_decimals_come_back(value: float) -> None:
    written = text.format_decimal(value)

    assert "e" not in written
    assert math.isclose(text.parse_decimal(written), value, rel_tol=5e-6, abs_tol=6e-16)


@hypothesis.given(strategies.floats(1e-15, 1e14), strategies.integers(1, 12))
def test_writing_a_decimal_twice_changes_nothing(value: float, significant: int) -> None:
    once = text.format_decimal(value, significant)

    assert text.format_decimal(text.parse_decimal(once), significant) == once


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.085, "0.085"),
        (1 / 3, "0.333333"),
        (-2.5, "-2.5"),
        (1234567.0, "1234570"),
        (100.0, "100"),
        (1.2e-7, "0.00000012"),
        (-1e-16, "0"),
    ],
)
def test_decimals_are_written_plainly(value: float, written: str) -> None:
    assert text.format_decimal(value) == written


@pytest.mark.parametrize(
    "wrong", ["", "1e3", "nan", "inf", "0,5", ".5", "5.", "+1", "1_0", " 1", "1\n", "\u0661", 1, None]
)
def test_other_decimals_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a decimal number"):
        text.parse_decimal(wrong)


@hypothesis.given(strategies.integers(0, 99999 * 3600))
def test_durations_come_back(seconds: int) -> None:
    assert text.parse_duration(text.format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2h5s", 7205), ("0s", 0), ("90m", 5400), ("1h0m30s", 3630)],
)
def test_durations_are_read(written: str, seconds: int) -> None:
    assert text.parse_duration(written) == seconds


@pytest.mark.parametrize(
    "wrong", ["", "5", "1.5h", "1d", "30m1h", "-5m", "5 m", "5M", "1h ", "1h\n", "\u0663h", 60, None]
)
def test_other_durations_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        text.parse_duration(wrong)


@hypothesis.given(strategies.text("0123456789hms ", max_size=12))
def test_the_api_server_takes_the_same_durations(written: str) -> None:
    accepted = re.match(text.DURATION_PATTERN, written) is not None

    try:
        text.parse_duration(written)
    except ValueError:
        assert not accepted
    else:
        assert accepted


@hypothesis.given(strategies.integers(0, 2**40), strategies.sampled_from(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]))
def test_binary_quantities(number: int, suffix: str) -> None:
    power = 10 * (1 + ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].index(suffix))

    assert text.parse_quantity(f"{number}{suffix}") == number * 2**power
    assert text.parse_mebibytes(f"{number}{suffix}") == number * 2**power // 2**20


@hypothesis.given(strategies.decimals(0, 10**6, places=3), strategies.sampled_from(["m", "", "k", "M", "G", "E"]))
def test_decimal_quantities(number: decimal.Decimal, suffix: str) -> None:
    power = {"m": -3, "": 0, "k": 3, "M": 6, "G": 9, "E": 18}[suffix]

    assert text.parse_quantity(f"{number:f}{suffix}") == number.scaleb(power)
    assert text.parse_quantity(f"{number:f}e{power}") == number.scaleb(power)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("8Gi", 8 * 2**30),
        ("3927028Ki", 3927028 * 1024),
        ("500m", 0.5),
        (6, 6),
        ("1E", 1e18),
        ("1E3", 1000),
        (".5", 0.5),
    ],
)
def test_quantities(written: str | int, value: float) -> None:
    assert text.parse_quantity(written) == value


def test_mebibytes_are_rounded_down() -> None:
    assert text.parse_mebibytes("2097151") == 1
    assert text.parse_mebibytes("1G") == 953


@pytest.mark.parametrize("wrong", ["", "8GB", "8 Gi", "Gi", "8gi", "1e", "--1", "8Gi\n", "nan", "True"])
def test_other_quantities_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        text.parse_quantity(wrong)


def test_compute_capabilities() -> None:
    assert text.parse_capability("8.6") == (8, 6)
    assert text.parse_capability("12.0") > text.parse_capability("9.0")
    for wrong in ("8", "8.65", "sm_86", "8.6\n"):
        with pytest.raises(ValueError, match="not a compute capability"):
            text.parse_capability(wrong)


def test_times_of_day() -> None:
    assert text.parse_clock("16:05") == datetime.time(16, 5)
    for wrong in ("24:00", "4:00", "16:60", "16:00:00", "16:00\n"):
        with pytest.raises(ValueError, match="not a time of day"):
            text.parse_clock(wrong)
