from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from switchyard.telemetry import logs

KASPA = "kaspa:qqkqkzjvr7zwxxmjxjkmxxdwju9kjs6e9u82uh59z07vgaks6gg62v8707g73"
BITCOIN = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
ETHEREUM = "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe"
BECH32 = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"
MONERO = "44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A"


@pytest.fixture(autouse=True)
def _root_logger_as_found() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in ("kopf.objects", "aiohttp.access")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in quiet.items():
        logging.getLogger(name).setLevel(was)


@pytest.mark.parametrize("wallet", [KASPA, BITCOIN, ETHEREUM, BECH32, MONERO])
def test_a_wallet_is_hidden_wherever_it_stands(wallet: str) -> None:
    for text in (
        wallet,
        f"--user {wallet}.rig-7 --pass x",
        f'{{"args": ["{wallet}"]}}',
        f"stratum://{wallet}@pool:3333",
    ):
        assert wallet not in logs.redact(text)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz"),
        ('{"authorization": "s3cr3t"}', "s3cr3t"),
        ('[("Authorization", "Bearer s3cr3ttoken")]', "s3cr3ttoken"),
        ("proxy-authorization=hunter2", "hunter2"),
        ("GET http://alice:pa55@prices.example/x", "pa55"),
        ("GET http://alice:pa55@prices.example/x", "alice"),
        ("GET https://prices.example/x?a=1&api_key=k3y&b=2", "k3y"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJzdWIiOiIxIn0"),
    ],
)
def test_credentials_are_hidden(text: str, secret: str) -> None:
    assert secret not in logs.redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "Rig/gpu-0007: Mining/kas -> AI/tenant-a/train, 0.0123 $/h better, costs 0.02 $",
        "image registry.example/miner@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "uid 6ff0b4e5-5d4d-4f6b-9b0a-6f2f9f0c1d2e resourceVersion 123456789",
        "GET https://prices.example:8443/v1/coins?symbol=kas&day=2026-01-02",
        "GPU-8f6a2b1c-1234-5678-9abc-def012345678",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert logs.redact(text) == text


def test_json_lines_keep_extras_and_hide_secrets_in_message_arguments_extras_and_tracebacks() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)  # no terminal: JSON
    try:
        raise RuntimeError(f"pool refused {BITCOIN}")
    except RuntimeError:
        logging.getLogger("switchyard.x").exception("wallet %s", KASPA, extra={"rig": "gpu-7", "who": ETHEREUM})
    [line] = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said["level"] == "ERROR"
    assert said["logger"] == "switchyard.x"
    assert said["rig"] == "gpu-7"
    assert said["who"] == "[hidden]"
    assert "RuntimeError: pool refused [hidden]" in said["exc_info"]
    assert all(secret not in line for secret in (BITCOIN, KASPA, ETHEREUM))


def test_plain_lines_for_people_and_loud_loggers_are_quiet() -> None:
    stream = io.StringIO()
    logs.configure(level="INFO", stream=stream, json=False)
    logging.getLogger("kopf.objects").info("handler succeeded")
    logging.getLogger("aiohttp.access").info("GET /metrics")
    logging.getLogger("kopf.objects").warning("handler failed")
    logging.getLogger("switchyard").info("planned 24 rigs")
    lines = stream.getvalue().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "kopf.objects: handler failed",
        "   switchyard: planned 24 rigs",
    ]


def test_configuring_twice_does_not_double_the_lines() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logs.configure(stream=stream)
    logging.getLogger("switchyard").warning("once")
    assert len(stream.getvalue().splitlines()) == 1


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure(level="LOUD", stream=io.StringIO())
