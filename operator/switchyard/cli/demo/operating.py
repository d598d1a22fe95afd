"""The operator as a process of its own, as in a cluster: started, asked for its metrics, ended for sure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import aiohttp
from prometheus_client import parser

from switchyard import clock as clocks

_GRACE_SECONDS: Final = 10.0
_LOG_LINES: Final = 12


class OperatorError(RuntimeError):
    """The operator ended by itself. The message holds the end of its log."""


class Operator:
    """A running operator."""

    def __init__(self, *, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self._process = process
        self._port = port
        self._log = log

    def check(self) -> None:
        """Raises OperatorError if it has ended."""
        if self._process.returncode is not None:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
            raise OperatorError(f"the operator ended with status {self._process.returncode}; {self._log}:\n{last}")

    async def metrics(self, *, keep: Path) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample: by its name and its sorted labels. What was exposed is kept in a file."""
        address = f"http://127.0.0.1:{self._port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(address) as response:
            exposed = await response.text()
        return _samples(exposed, keep=keep)

    async def stop(self) -> None:
        """End it and all it has started: first asked, then made to."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(_GRACE_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()


@contextlib.asynccontextmanager
async def operator(*, clock: clocks.ReplayClock, kubeconfig: str, log: Path) -> AsyncIterator[Operator]:
    """`switchyard run` on a replayed market, until the body ends."""
    port = _free_port()
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys; from switchyard import cli; sys.exit(cli.main())",
            "run",
            "--replay-start",
            clock.start.isoformat(),
            "--replay-epoch",
            f"{clock.epoch:.6f}",
            "--replay-speed",
            f"{clock.speed:.6f}",
            "--listen",
            f"127.0.0.1:{port}",
            "--miners-namespace",
            "switchyard-miners",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "KUBECONFIG": kubeconfig},
            # A group of its own: Ctrl-C goes to us, who end it in order.
            start_new_session=True,
        )
    running = Operator(process=process, port=port, log=log)
    try:
        yield running
    finally:
        await asyncio.shield(running.stop())


def _samples(exposed: str, *, keep: Path) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    keep.write_text(exposed)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parser.text_string_to_metric_families(exposed)
        for sample in family.samples
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
