"""A small JSON client of the API server, for tests: the standard library alone, one connection a thread."""

from __future__ import annotations

import http.client
import json
import select
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class ApiError(RuntimeError):
    """The server refused; status is the HTTP status, reason the server's own word for it."""

    def __init__(self, *, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


class Api:
    """Requests to one API server with the administrator's certificate. Safe to share between threads."""

    def __init__(self, *, server: str, authority: Path, certificate: Path, key: Path) -> None:
        self._address = urlsplit(server)
        self._tls = ssl.create_default_context(cafile=str(authority))
        self._tls.load_cert_chain(certfile=str(certificate), keyfile=str(key))
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []
        self._open_lock = threading.Lock()

    def get(self, path: str, **query: str) -> Any:
        """GET a path such as ``/api/v1/nodes``; query as keywords, such as labelSelector="a=b"."""
        return self.request("GET", path, query=query)

    def create(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST an object to its collection's path and return what the server made of it."""
        return self.request("POST", path, body=body)

    def patch(self, path: str, body: Any, *, kind: str = "merge") -> Any:
        """PATCH an object; kind is merge, strategic-merge, json or apply (as field manager "tests", forced)."""
        if kind == "apply":
            query = {"fieldManager": "tests", "force": "true"}
            return self.request("PATCH", path, body=body, query=query, content_type="application/apply-patch+yaml")
        return self.request("PATCH", path, body=body, content_type=f"application/{kind}-patch+json")

    def delete(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """DELETE an object or a collection; the body may hold DeleteOptions."""
        return self.request("DELETE", path, body=body)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout_seconds: float = 30,
    ) -> Any:
        """Send one request and return the JSON answer (text where it is not JSON).

        Raises:
            ApiError: the server answered with a status of 400 or more.
            OSError: the server cannot be reached, or hung up.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json"} | ({} if payload is None else {"Content-Type": content_type})
        connection = self._connection()
        if connection.sock is not None:
            # Readable though nothing was asked: the server closed it as idle, or was killed meanwhile.
            if select.select([connection.sock], [], [], 0)[0]:
                connection.close()
            else:
                connection.sock.settimeout(timeout_seconds)
        connection.timeout = timeout_seconds
        try:
            connection.request(method, target, body=payload, headers=headers)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as problem:
            connection.close()
            if isinstance(problem, OSError):
                raise
            raise ConnectionError(f"{method} {path}: {problem!r}") from problem
        is_json = response.headers.get_content_type() == "application/json"
        answer: Any = json.loads(text) if is_json else text
        if response.status >= 400:
            known = answer if isinstance(answer, dict) else {}
            raise ApiError(
                status=response.status,
                reason=known.get("reason", response.reason),
                message=known.get("message", text[:500]),
            )
        return answer

    def wait_until(self, what: str, check: Callable[[], Any], *, timeout_seconds: float = 30) -> Any:
        """Call check until it returns something true, and return that. Refusals and lost connections count as no.

        Raises:
            TimeoutError: with `what` and the last answer or error.
        """
        deadline = time.monotonic() + timeout_seconds
        last: Any = None
        while (asked := time.monotonic()) < deadline:
            try:
                last = check()
            except (ApiError, OSError) as problem:
                last = problem
            else:
                if last:
                    return last
            # A check that reads thousands of objects must not keep the server from what it waits for.
            time.sleep(max(0.05, time.monotonic() - asked))
        raise TimeoutError(f"not within {timeout_seconds} s: {what} (last: {last!r:.500})")

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._open_lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._local = threading.local()

    def _connection(self) -> http.client.HTTPSConnection:
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection(
                self._address.hostname or "", self._address.port, context=self._tls, timeout=30
            )
            self._local.connection = connection
            with self._open_lock:
                self._open.append(connection)
        return connection
