"""The owner's side of the supervisor: start, signal and watch processes that cannot outlive this one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class ProcessError(RuntimeError):
    """A process could not be started, or ended when it should not have."""


class Processes:
    """Named processes, a temporary folder and reserved ports, all of which end with this object or this process."""

    def __init__(self, *, prefix: str) -> None:
        self._lock = threading.Lock()
        self._supervisor = subprocess.Popen(
            # -I -S: it needs nothing but the standard library, and starts in half the time.
            [sys.executable, "-I", "-S", str(_SUPERVISOR), str(os.getpid()), prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Its own session: a Ctrl-C in the terminal must reach the owner alone.
            start_new_session=True,
        )
        hello = self._read()
        self.folder = Path(hello["folder"])
        self.supervisor_pid: int = hello["pid"]

    def reserve_ports(self, count: int) -> list[int]:
        """Return ports that are free now and that no other supervisor on this machine will choose meanwhile."""
        ports: list[int] = self._ask(do="ports", count=count)["ports"]
        return ports

    def start(self, name: str, *, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> int:
        """Start a process under this name and return its pid; its output is appended to the log."""
        pid: int = self._ask(do="start", name=name, argv=list(argv), log=str(log), env=dict(env))["pid"]
        return pid

    def signal(self, name: str, number: int, *, wait_seconds: float = 0) -> int | None:
        """Send a signal; with wait_seconds also wait for the end. Returns the exit status, None while it runs."""
        returncode: int | None = self._ask(do="signal", name=name, signal=int(number), wait=wait_seconds)["returncode"]
        return returncode

    def kill(self, name: str) -> None:
        """SIGKILL a process and wait until it is gone."""
        self.signal(name, signal.SIGKILL, wait_seconds=10)

    def status(self) -> dict[str, int | None]:
        """Return the exit status by name, None for what still runs."""
        return {name: each["returncode"] for name, each in self._ask(do="status")["status"].items()}

    def pids(self) -> dict[str, int]:
        """Return the pids of what still runs, by name."""
        return {
            name: each["pid"] for name, each in self._ask(do="status")["status"].items() if each["returncode"] is None
        }

    def close(self) -> None:
        """End every process and remove the folder. May be called twice."""
        with self._lock:
            if self._supervisor.stdin is None or self._supervisor.stdin.closed:
                return
            with contextlib.suppress(BrokenPipeError):
                self._supervisor.stdin.close()
            try:
                self._supervisor.wait(timeout=30)
            except subprocess.TimeoutExpired:
                # Its children die with it: each asked the kernel for that.
                self._supervisor.kill()
                self._supervisor.wait()
            if self._supervisor.stdout is not None:
                self._supervisor.stdout.close()
        # Nothing is left of it unless the supervisor itself was killed.
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            if self._supervisor.stdin is None or self._supervisor.stdin.closed:
                raise ProcessError("these processes have been ended already")
            try:
                self._supervisor.stdin.write(json.dumps(request).encode() + b"\n")
                self._supervisor.stdin.flush()
            except BrokenPipeError:
                raise ProcessError("the supervisor of these processes is gone, and they with it") from None
            return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._supervisor.stdout.readline() if self._supervisor.stdout is not None else b""
        if not line:
            raise ProcessError("the supervisor of these processes is gone, and they with it")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ProcessError(answer["error"])
        return answer
