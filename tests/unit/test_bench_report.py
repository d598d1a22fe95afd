"""What a benchmark writes into docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

from bench import report


def section(name: str, value: str) -> report.Section:
    return report.Section(
        name=name,
        title=f"Of {name}",
        how=("In one way.",),
        figures=(report.Figure(what="seconds", value=value, goal="< 2"),),
        raw={"seconds": 1},
        machine=report.machine(kubernetes="v1.0.0") | {"others_percent": 0},
    )


def test_a_section_is_replaced_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    report.write(path, section("one", "1.5 s"))
    path.write_text(path.read_text() + "\nWritten by hand.\n")
    report.write(path, section("two", "7 s"))
    before = path.read_text()

    report.write(path, section("one", "1.7 s"))

    assert path.read_text() == before.replace("1.5 s", "1.7 s")
    assert "Written by hand." in before
    assert before.count("| seconds | 7 s | < 2 |") == 1
    assert before.startswith("# Benchmarks\n")


def test_others_share_is_a_share() -> None:
    busy = report.Busy()
    sum(range(10**6))
    assert 0 <= busy.others_percent() <= 100
