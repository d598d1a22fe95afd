"""Prices that a test sets, served over HTTP as a market would: also when it is ill."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from types import TracebackType
from typing import Any, Final, Self

_LONGEST_HANG_SECONDS: Final = 60.0


class Prices:
    """A web server on loopback. Each name answers what it was last told, from the next request on."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[int, str, bytes] | None] = {}
        self._closing = threading.Event()
        prices = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = prices._answers.get(self.path.strip("/"), (404, "text/plain", b"no such price"))
                if answer is None:
                    prices._closing.wait(_LONGEST_HANG_SECONDS)
                    self.close_connection = True
                    return
                status, kind, body = answer
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    # Whoever asked may have been killed meanwhile: that is what these tests do.
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def url(self, name: str) -> str:
        """Where a price is asked for; its value stands at /value."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def set(self, name: str, value: object) -> None:
        """Answer well, with whatever value; NaN is written as Python and some services write it."""
        self.answer(name, json.dumps({"value": value}).encode())

    def answer(self, name: str, body: bytes, *, status: int = 200, kind: str = "application/json") -> None:
        """Answer just so."""
        self._answers[name] = status, kind, body

    def hang(self, name: str) -> None:
        """Take the question and say nothing."""
        self._answers[name] = None
