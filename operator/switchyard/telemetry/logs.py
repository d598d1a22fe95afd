"""Logs: one line per happening, JSON for machines and plain for people, without anybody's secrets."""

from __future__ import annotations

import logging
import re
import sys
from typing import IO, Final

from pythonjsonlogger import json as json_logs

_HIDDEN: Final = "[hidden]"

# The header's name may stand in a dict's repr or in JSON, hence the quotes; a value never runs past a quote or comma.
_AUTHORIZATION: Final = re.compile(
    r"""(?ix) ( (?:proxy-)? authorization \\? ["']? \s* [:=,]\s* \\? ["']? )
    (?: (?:basic|bearer|digest|token)\s+ )? [^\s"',;\\}\])]+"""
)
_BEARER: Final = re.compile(r"(?i)\b(bearer\s+)[a-z0-9._~+/=-]{8,}")
_JSON_WEB_TOKEN: Final = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*")
_URL_USER: Final = re.compile(r"""(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@"'<>]+@""")
_URL_SECRET: Final = re.compile(
    r"""(?ix) ( [?&] (?:api[_-]?key|key|(?:access[_-]?)?token|secret|passw(?:or)?d|sig|signature|wallet|address) = )
    [^&\s"'<>\\]+"""
)
_WALLETS: Final = (
    re.compile(r"\b0x[0-9a-fA-F]{40}\b"),  # Ethereum and its kin
    re.compile(r"\b[a-z]{2,12}:[02-9ac-hj-np-z]{40,120}\b"),  # Kaspa, cash addresses
    re.compile(r"\b(?:bc|tb|ltc|dgb|vtc|grs)1[02-9ac-hj-np-z]{11,87}\b"),  # bech32
    # Base58 (Bitcoin, Monero, Ergo, Ravencoin, Alephium ...): long, and with all three of upper, lower, digit, which
    # neither names of Kubernetes nor digests have.
    re.compile(r"\b(?=[A-Za-z]*\d)(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])[1-9A-HJ-NP-Za-km-z]{26,120}\b"),
)


def redact(text: str) -> str:
    """The text with credentials and wallet addresses hidden."""
    text = _AUTHORIZATION.sub(rf"\g<1>{_HIDDEN}", text)
    text = _BEARER.sub(rf"\g<1>{_HIDDEN}", text)
    text = _URL_USER.sub(rf"\g<1>{_HIDDEN}@", text)
    text = _URL_SECRET.sub(rf"\g<1>{_HIDDEN}", text)
    text = _JSON_WEB_TOKEN.sub(_HIDDEN, text)
    for pattern in _WALLETS:
        text = pattern.sub(_HIDDEN, text)
    return text


class PlainFormatter(logging.Formatter):
    """A line as a person reads it in a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Format, then hide: tracebacks and arguments pass here too."""
        return redact(super().format(record))


class JsonFormatter(json_logs.JsonFormatter):
    """A line of JSON: time, level, logger, message, and every `extra` under its own name."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S%z",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )

    def format(self, record: logging.LogRecord) -> str:
        """Format, then hide: extras and tracebacks pass here too."""
        return redact(super().format(record))


def configure(*, level: int | str = logging.INFO, stream: IO[str] | None = None, json: bool | None = None) -> None:
    """Set up the process's logging, replacing what was there.

    Args:
        level: of the root logger.
        stream: where lines go; standard error by default.
        json: JSON lines or plain ones; by default JSON unless the stream is a terminal.

    Raises:
        ValueError: the level's name is unknown.
    """
    stream = sys.stderr if stream is None else stream
    if json is None:
        json = not stream.isatty()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if json else PlainFormatter())
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers[:] = [handler]
    # Both write a line per object or request: at a thousand rigs that is all one would ever see.
    for name in ("kopf.objects", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
