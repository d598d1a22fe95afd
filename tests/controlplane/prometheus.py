"""A real Prometheus that scrapes given addresses, for tests of whatever asks it."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from controlplane import build
from controlplane.processes import ProcessError, Processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_ATTEMPTS = 4


class Prometheus:
    """One Prometheus on a free port of loopback, with a temporary data folder.

    Args:
        scrape_targets: addresses such as ``127.0.0.1:9090``, scraped at /metrics as job "test".
        scrape_interval: how often, in Prometheus' own notation.
        rule_files: rule files to load.
        config: more top-level keys of its configuration; they win over the above.
        arguments: more flags.
    """

    def __init__(
        self,
        *,
        scrape_targets: Sequence[str] = (),
        scrape_interval: str = "1s",
        rule_files: Sequence[Path] = (),
        config: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self._config: dict[str, Any] = {
            "global": {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval},
            "rule_files": [str(path.resolve()) for path in rule_files],
            "scrape_configs": [{"job_name": "test", "static_configs": [{"targets": list(scrape_targets)}]}],
            **(config or {}),
        }
        self._arguments = arguments
        self._processes: Processes | None = None
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.url = ""
        """Its address while it runs, such as ``http://127.0.0.1:9090``."""

    def __enter__(self) -> Self:
        program = build.tool("prometheus")
        for attempt in range(_ATTEMPTS):
            try:
                self._open(program)
            except BaseException as problem:
                self.close()
                if "address already in use" in str(problem) and attempt < _ATTEMPTS - 1:
                    continue
                raise
            break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an instant query and return its result: a list of {"metric": ..., "value": [time, text]}."""
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["data"]["result"]
        return result

    def get(self, path: str, **query: str) -> Any:
        """GET a path of its HTTP API and return the JSON answer."""
        target = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        with self._direct.open(target, timeout=10) as answer:
            return json.loads(answer.read())

    def wait_for(self, expression: str, *, timeout_seconds: float = 20) -> list[dict[str, Any]]:
        """Repeat an instant query until it returns something.

        Raises:
            TimeoutError: it stayed empty.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if result := self.query(expression):
                return result
            time.sleep(0.1)
        raise TimeoutError(f"no result within {timeout_seconds} s: {expression}")

    def close(self) -> None:
        """End it and remove its data. May be called twice."""
        if self._processes is not None:
            self._processes.close()
        self._processes = None
        self.url = ""

    def _open(self, program: Path) -> None:
        self._processes = Processes(prefix="switchyard-prometheus-")
        folder = self._processes.folder
        (port,) = self._processes.reserve_ports(1)
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(self._config))
        log = folder / "prometheus.log"
        self._processes.start(
            "prometheus",
            argv=[
                str(program),
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                *self._arguments,
            ],
            log=log,
            env={"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder)},
        )
        self.url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while not self._is_ready():
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            if (status := self._processes.status()["prometheus"]) is not None:
                raise ProcessError(f"prometheus ended with status {status}; the end of its log:\n{tail}")
            if time.monotonic() > deadline:
                raise ProcessError(f"prometheus was not ready within 30 s; the end of its log:\n{tail}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            with self._direct.open(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refused:
            refused.close()
            return False
        except OSError:
            return False
