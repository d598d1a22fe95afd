"""The process that owns a control plane's processes, ports and folder, so that none outlives who asked for them.

It is run as a script by `controlplane.processes`, never imported: it stands on the standard library alone and has one
thread, because a child's death signal is tied to the thread that forked it.

Why a process of its own: its owner may die by SIGKILL, and then nobody in the owner can clean up. This one notices,
kills what it started and removes the folder. Should this one be killed too, the kernel kills the children (each asked
for that when it was forked), and the owner removes the folder.

It reads one JSON request a line from stdin and answers each with one JSON line on stdout.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _tie_to_parent(*, parent: int) -> None:
    """Have the kernel kill this (just forked) process when its parent dies."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # The parent died before the kernel was asked: nobody would ever send the signal.
        os.kill(os.getpid(), signal.SIGKILL)


def _candidate_ports() -> range:
    """Return the ports to choose from: below those the kernel hands to outgoing connections.

    A port from the kernel's own range may be taken by any outgoing connection while its server is down. Worse, a
    client that keeps trying can be given the very port it dials, and then talks to itself and keeps the server out.
    """
    try:
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        lowest = 32768
    return range(10240, lowest) if lowest > 12288 else range(20000, 32768)


class _Supervisor:
    """The state: what runs, which ports are reserved, where the folder is."""

    def __init__(self, *, folder: Path) -> None:
        self.folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._reservations: list[socket.socket] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one request asks."""
        match request["do"]:
            case "ports":
                return {"ports": [self._reserve_port() for _ in range(request["count"])]}
            case "start":
                return self._start(request)
            case "signal":
                return self._signal(request)
            case "status":
                return {
                    "status": {
                        name: {"pid": child.pid, "returncode": child.poll()} for name, child in self._children.items()
                    }
                }
            case unknown:
                return {"error": f"unknown request {unknown!r}"}

    def _reserve_port(self) -> int:
        """Find a port that is free now, and keep other supervisors off it for as long as this process lives."""
        for port in random.sample(_candidate_ports(), k=500):
            reservation = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                if sys.platform == "linux":
                    # A name in the abstract namespace: one holder per network namespace, no file, gone with us.
                    reservation.bind(f"\0switchyard-port-{port}")
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("0.0.0.0", port))
            except OSError:
                reservation.close()
                continue
            self._reservations.append(reservation)
            return port
        raise OSError("no free port was found in 500 tries")

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        running = self._children.get(name)
        if running is not None and running.poll() is None:
            return {"error": f"{name} runs already (pid {running.pid})"}
        me = os.getpid()
        with Path(request["log"]).open("ab") as log:
            child = subprocess.Popen(
                request["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=request["env"],
                # Safe between fork and exec here, because this process has one thread.
                preexec_fn=lambda: _tie_to_parent(parent=me),
            )
        self._children[name] = child
        return {"pid": child.pid}

    def _signal(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._children.get(request["name"])
        if child is None:
            return {"error": f"{request['name']} was never started"}
        if child.poll() is None:
            child.send_signal(request["signal"])
        if request["wait"]:
            try:
                child.wait(timeout=request["wait"])
            except subprocess.TimeoutExpired:
                return {"error": f"{request['name']} still runs {request['wait']} s after signal {request['signal']}"}
        return {"returncode": child.poll()}

    def tear_down(self) -> None:
        """Kill everything, then remove the folder. Nothing in it is worth a graceful end."""
        for child in self._children.values():
            if child.poll() is None:
                child.kill()
        for child in self._children.values():
            child.wait()
        for _ in range(20):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            # A process that a test started beside ours may still be writing here.
            time.sleep(0.1)


def _owner_descriptor(*, owner: int) -> int | None:
    """Return a descriptor that becomes readable when the owner dies, where the system has such a thing.

    The end of stdin says the same, but only once every process that inherited the other end has gone, and a fork of
    the owner (multiprocessing) inherits it.
    """
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.pidfd_open(owner)
    except OSError:
        return None
    return descriptor if os.getppid() == owner else None


def main() -> None:
    """Serve requests until the owner closes stdin, dies, or sends SIGTERM."""
    owner = int(sys.argv[1])
    prefix = sys.argv[2]
    # A Ctrl-C in the terminal is for the owner, who ends us in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.write(wake_write, b"."))
    supervisor = _Supervisor(folder=Path(tempfile.mkdtemp(prefix=prefix)))
    try:
        owner_gone = _owner_descriptor(owner=owner)
        if os.getppid() != owner:
            return
        _reply({"folder": str(supervisor.folder), "pid": os.getpid()})
        watched = [0, wake_read] if owner_gone is None else [0, wake_read, owner_gone]
        pending = b""
        while True:
            readable, _, _ = select.select(watched, [], [])
            if readable != [0]:
                return
            received = os.read(0, 65536)
            if not received:
                return
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                try:
                    reply = supervisor.answer(json.loads(line))
                except (OSError, ValueError, KeyError) as problem:
                    reply = {"error": f"{type(problem).__name__}: {problem}"}
                _reply(reply)
    except BrokenPipeError:
        # The owner died while it was being answered.
        return
    finally:
        supervisor.tear_down()


def _reply(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
