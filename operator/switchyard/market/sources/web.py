"""GET of a JSON document, bounded in time, size and redirects. Trouble comes back as a value.

Addresses may hold keys in their query or user part; what leaves this module for a log, a message or a status holds
neither.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from switchyard.market import cleaning

SIZE_LIMIT_BYTES: Final = 2**20
_REDIRECT_LIMIT: Final = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """A JSON document and the status it came with."""

    status: int
    document: Any


def redact(url: str) -> str:
    """The address without user, password, query and fragment."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "the address"
    return f"{parts.scheme}://{host}{port}{parts.path}"


async def fetch_json(
    session: aiohttp.ClientSession,
    url: str,
    *,
    timeout_seconds: float,
    params: Mapping[str, str] | None = None,
    also_read: frozenset[int] = frozenset(),
) -> Answer | cleaning.Trouble:
    """GET a JSON document of at most 1 MiB.

    Args:
        session: to ask with.
        url: http or https.
        timeout_seconds: for the whole exchange, in the machine's own time.
        params: added to the address's query.
        also_read: statuses besides 200 whose document is wanted; any other is trouble.
    """
    name = redact(url)
    try:
        # asyncio's own limit, because a session whose connector hangs in name resolution is beyond aiohttp's.
        async with (
            asyncio.timeout(timeout_seconds),
            session.get(
                url,
                params=params,
                headers={"Accept": "application/json"},
                max_redirects=_REDIRECT_LIMIT,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response,
        ):
            if response.status != 200 and response.status not in also_read:
                return cleaning.Trouble(reason="HttpStatus", message=f"{name} answered {response.status}")
            content = bytearray()
            async for chunk in response.content.iter_chunked(2**16):
                content += chunk
                if len(content) > SIZE_LIMIT_BYTES:
                    return cleaning.Trouble(
                        reason="TooLarge", message=f"{name} answered more than {SIZE_LIMIT_BYTES} bytes"
                    )
            status, kind = response.status, response.content_type
    except TimeoutError:
        return cleaning.Trouble(
            reason="TimedOut", message=f"{name} has not answered in full within {timeout_seconds:g} s"
        )
    except aiohttp.TooManyRedirects:
        return cleaning.Trouble(
            reason="TooManyRedirects", message=f"{name} redirected more than {_REDIRECT_LIMIT} times"
        )
    # ValueError: addresses that aiohttp or the codec for host names cannot take, before or after a redirect.
    except (aiohttp.ClientError, OSError, ValueError) as problem:
        return cleaning.Trouble(reason="Unreachable", message=f"{name}: {_why(problem)}")
    try:
        return Answer(status, json.loads(bytes(content)))
    except (ValueError, RecursionError):
        return cleaning.Trouble(reason="NotJson", message=f"{name} answered {status} with {kind}, which is not JSON")


def _why(problem: Exception) -> str:
    # Never str(problem) of these: some quote the whole address.
    match problem:
        case aiohttp.ClientConnectorDNSError():
            return "its host name is not known"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted"
        case aiohttp.ClientSSLError():
            return "no TLS connection could be made"
        case aiohttp.InvalidURL():
            return "no address that can be asked"
        case OSError() if problem.errno:
            return os.strerror(problem.errno)
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
    return type(problem).__name__
