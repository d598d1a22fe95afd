"""Small scenario files and the CSV files they name, written into a test's own folder."""

from __future__ import annotations

import datetime
import pathlib
from typing import Any

import yaml

from switchyard.backtest import build, scenario, script


def farm(**changes: Any) -> dict[str, Any]:
    """A scenario of one day in hours, all of it constant; `changes` replace whole sections, None leaves one out."""
    whole = {
        "description": "a day",
        "start": "2021-06-01",
        "duration": "1d",
        "step": "1h",
        "sites": {"here": {"tariff": {"fixed": 0.05}}},
        "coins": {"one": {"unit": "MH/s", "revenue": {"fixed": {"value": 0.024, "unit": "USD/(MH/s)/day"}}}},
        "groups": {
            "g": {
                "site": "here",
                "rigs": 4,
                "gpusPerRig": 2,
                "gpu": "card",
                "aiWatts": 200,
                "idleWatts": 10,
                "yields": {"one": {"hashrate": 50, "watts": 120}},
            }
        },
        "switching": {"referenceUsdPerGpuHour": 0.2},
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def built(folder: pathlib.Path, *, seed: int = 0, data: pathlib.Path | None = None, **changes: Any) -> script.Script:
    path = folder / "scene.yaml"
    path.write_text(yaml.safe_dump(farm(**changes), sort_keys=False))
    return build.build(scenario.load(path), seed=seed, data=data)


def write(folder: pathlib.Path, name: str, header: str, *rows: str) -> None:
    (folder / name).write_text("\n".join([header, *rows]) + "\n")


def hours(count: int, *, first: str = "2021-06-01T00:00", zone: str = "Z", values: Any = None) -> list[str]:
    start = datetime.datetime.fromisoformat(first)
    return [
        f"{(start + datetime.timedelta(hours=hour)).isoformat(timespec='minutes')}{zone},"
        f"{hour if values is None else values[hour]}"
        for hour in range(count)
    ]


def tariff(**series: Any) -> dict[str, Any]:
    given = {"file": "p.csv", "time": "t", "column": "v", "unit": "USD/MWh", **series}
    return {"here": {"tariff": {"series": given}}}
