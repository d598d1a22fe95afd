"""The command line: ``python -m controlplane build|exec|sandbox|tool``."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane import build, manifests
from controlplane.launcher import CommandError, ControlPlane
from controlplane.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        match options.do:
            case "build":
                return _build(names=options.tools)
            case "tool":
                print(build.tool(options.name))
                return 0
            case "exec":
                return _exec(
                    command=options.command,
                    kwok=options.kwok,
                    lean=options.lean,
                    files=options.file,
                    tools=options.tools,
                )
            case _:
                return _sandbox(files=options.file, kwok=options.kwok, lean=options.lean, tools=options.tools)
    except (build.BuildError, ProcessError, CommandError, OSError, ValueError) as problem:
        print(f"controlplane: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m controlplane",
        description="A real Kubernetes control plane from source: built once, up in seconds, gone without trace.",
    )
    commands = parser.add_subparsers(dest="do", required=True)
    builder = commands.add_parser("build", help="build tools into the cache (all of them if none is named)")
    builder.add_argument("tools", nargs="*", metavar="TOOL", help=f"of: {', '.join([*build.RECIPES, *build.TOOLS])}")
    single = commands.add_parser("tool", help="print the path of a tool, building it first if need be")
    single.add_argument("name", metavar="TOOL")
    runner = commands.add_parser("exec", help="run a command against a fresh control plane")
    _common(runner)
    runner.add_argument("command", nargs="+", metavar="CMD ARGS", help="after --")
    sandbox = commands.add_parser("sandbox", help="start a control plane in the foreground and apply manifests")
    _common(sandbox)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-kwok", dest="kwok", action="store_false", help="without simulated nodes")
    parser.add_argument("--lean", action="store_true", help="for thousands of nodes: no leases, nobody notices deaths")
    parser.add_argument(
        "--with",
        action="append",
        default=[],
        dest="tools",
        metavar="TOOL",
        help="have this tool on PATH too, such as helm, building it first if need be (may be repeated)",
    )
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        type=Path,
        metavar="MANIFEST_OR_DIR",
        help="apply these first, CRDs before all else (may be repeated)",
    )


def _build(*, names: Sequence[str]) -> int:
    for recipe in build.expand(names):
        print(f"{recipe.module}: {build.build(recipe)}")
    return 0


def _exec(*, command: Sequence[str], kwok: bool, lean: bool, files: Sequence[Path], tools: Sequence[str]) -> int:
    with _terminating_cleanly(), ControlPlane(kwok=kwok, lean=lean) as control_plane:
        for tool in tools:
            control_plane.link_tool(tool)
        if files:
            manifests.apply(control_plane, files)
        try:
            child = subprocess.Popen(command, env=control_plane.env)
        except OSError as problem:
            # As a shell has it: not found, or not to be run.
            print(f"controlplane: {problem}", file=sys.stderr)
            return 127 if isinstance(problem, FileNotFoundError) else 126
        with child, _Relay(child):
            status = child.wait()
    return status if status >= 0 else 128 - status


def _sandbox(*, files: Sequence[Path], kwok: bool, lean: bool, tools: Sequence[str]) -> int:
    for file in files:
        if not file.exists():
            raise FileNotFoundError(f"no such file or folder: {file}")
    with _terminating_cleanly(), ControlPlane(kwok=kwok, lean=lean) as control_plane:
        for tool in tools:
            control_plane.link_tool(tool)
        print(f"Kubernetes is ready at {control_plane.server} ({control_plane.seconds_to_ready:.1f} s).", flush=True)
        if files:
            print(f"Applied {manifests.apply(control_plane, files)} objects.", flush=True)
        print(
            "\nIn another terminal, for this cluster and with kubectl on PATH:\n\n"
            f"  export KUBECONFIG={control_plane.kubeconfig}\n"
            f'  export PATH="{control_plane.bin_dir}:$PATH"\n\n'
            f"Logs are in {control_plane.logs_dir}. Ctrl-C ends it and removes everything.",
            flush=True,
        )
        while True:
            ended = [name for name, status in control_plane.status().items() if status is not None]
            if ended:
                raise ProcessError(f"ended by themselves: {', '.join(ended)}")
            threading.Event().wait(1)


class _terminating_cleanly:  # noqa: N801 - used as a with statement reads
    """Turn SIGTERM into KeyboardInterrupt, so that it unwinds as a Ctrl-C does."""

    def __enter__(self) -> None:
        # A shell starts what it puts into the background with SIGINT ignored; who sends us one means it.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            raise KeyboardInterrupt

        self._before = signal.signal(signal.SIGTERM, interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)


class _Relay:
    """While a child runs, signals are for it: SIGTERM is passed on, Ctrl-C reaches it from the terminal anyway."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def __enter__(self) -> None:
        self._before = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda _number, _frame: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda _number, _frame: self._child.terminate()),
        }

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
