"""The real operator as a process of its own: `switchyard run`, which cannot outlive the one who started it."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from prometheus_client import parser

from controlplane import processes

_PORT: Final = re.compile(r"readyz on port (\d+)")
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_NAME: Final = "operator"

Sample = tuple[str, tuple[tuple[str, str], ...]]


class OperatorError(RuntimeError):
    """The operator ended, or did not get as far as it should have; the message ends with its log's last lines."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the kernel says of a process: seconds of CPU since its start, MiB of memory now and at most."""

    cpu_seconds: float
    resident_mib: float
    peak_mib: float


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, in user and kernel mode."""
    # The name of the program stands in brackets and may hold anything; the 14th and 15th field follow it.
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class OperatorProcess:
    """`switchyard run` as a context manager.

    Args:
        kubeconfig: of whom it acts as.
        arguments: more of `switchyard run`.
        log: where its output goes, appended.
        profile: where cProfile shall leave its figures when the operator ends; costs about half its speed.
    """

    def __init__(
        self, *, kubeconfig: Path, arguments: Sequence[str] = (), log: Path, profile: Path | None = None
    ) -> None:
        self.log = log.resolve()
        profiler = ["-m", "cProfile", "-o", str(profile.resolve())] if profile is not None else []
        self._argv = [
            sys.executable,
            *profiler,
            str(Path(sys.executable).with_name("switchyard")),
            "run",
            f"--kubeconfig={kubeconfig.resolve()}",
            "--listen=127.0.0.1:0",
            *arguments,
        ]
        self._processes: processes.Processes | None = None
        self._begins_at = 0
        self.pid = 0
        self.started_at = 0.0

    def __enter__(self) -> Self:
        self._processes = processes.Processes(prefix="switchyard-operator-")
        self._begins_at = self.log.stat().st_size if self.log.exists() else 0
        self.started_at = time.monotonic()
        self.pid = self._processes.start(
            _NAME, argv=self._argv, log=self.log, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._processes is not None:
            self._processes.close()
            self._processes = None

    def signal(self, number: int, *, wait_seconds: float = 0) -> int | None:
        """Send a signal; with wait_seconds also wait for the end. Returns the exit status, None while it runs."""
        assert self._processes is not None, "it was not started"
        return self._processes.signal(_NAME, number, wait_seconds=wait_seconds)

    def output(self) -> str:
        """What this run has logged so far."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[self._begins_at :].decode(errors="replace")

    @property
    def address(self) -> str | None:
        """Where it serves its metrics and probes; None until it has said so."""
        found = _PORT.search(self.output())
        return f"http://127.0.0.1:{found[1]}" if found else None

    def probe(self, path: str = "/readyz") -> tuple[int, str]:
        """Status and text of a probe; 0 while nobody answers. Raises OperatorError if it has ended."""
        self.check()
        if self.address is None:
            return 0, "it does not serve yet"
        try:
            with _DIRECT.open(self.address + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError as problem:
            return 0, str(problem)

    def wait_ready(self, *, timeout_seconds: float = 60) -> float:
        """Wait until /readyz says yes; gives the seconds since the start of the process. Raises OperatorError."""
        told = ""
        while time.monotonic() - self.started_at < timeout_seconds:
            status, told = self.probe()
            if status == 200:
                return time.monotonic() - self.started_at
            time.sleep(0.02)
        raise OperatorError(f"not ready within {timeout_seconds:.0f} s: {told.strip()}; {self._tail()}")

    def metrics(self) -> Mapping[Sample, float]:
        """Every sample of /metrics, by its name and its sorted labels."""
        status, text = self.probe("/metrics")
        if status != 200:
            raise OperatorError(f"no metrics: {status} {text.strip()}")
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parser.text_string_to_metric_families(text)
            for sample in family.samples
        }

    def usage(self) -> Usage:
        """CPU and memory so far."""
        status = (Path("/proc") / str(self.pid) / "status").read_text()
        found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        return Usage(
            cpu_seconds=cpu_seconds(self.pid),
            resident_mib=int(found["VmRSS"].split()[0]) / 1024,
            peak_mib=int(found["VmHWM"].split()[0]) / 1024,
        )

    def check(self) -> None:
        """Raises OperatorError if it has ended."""
        assert self._processes is not None, "it was not started"
        status = self._processes.status()[_NAME]
        if status is not None:
            raise OperatorError(f"the operator ended with status {status}; {self._tail()}")

    def _tail(self) -> str:
        return f"{self.log} ends with:\n" + "\n".join(self.output().splitlines()[-20:])
