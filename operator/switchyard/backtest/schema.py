"""The JSON schema of scenario files, for editors: `python -m switchyard.backtest.schema docs/backtest.schema.json`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from switchyard.backtest import scenario


def document() -> dict[str, Any]:
    """The schema, from the models."""
    schema = scenario.Scenario.model_json_schema(by_alias=True)
    # Keys such as x-power hold anchors; the reader leaves them out.
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Scenario of switchyard backtest",
        **{key: value for key, value in schema.items() if key != "title"},
        "patternProperties": {"^x-": {}},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or compare it. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m switchyard.backtest.schema", description="JSON schema of scenarios"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 when the file differs")
    parser.add_argument("file", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    wanted = json.dumps(document(), indent=1, ensure_ascii=False) + "\n"
    if options.check:
        if not options.file.is_file() or options.file.read_text(encoding="utf-8") != wanted:
            sys.stderr.write(
                f"{options.file} differs from the models; run: python -m switchyard.backtest.schema {options.file}\n"
            )
            return 1
        return 0
    options.file.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
