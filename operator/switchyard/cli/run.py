"""`switchyard run`: the operator itself."""

from __future__ import annotations

import argparse
import asyncio
import math
from pathlib import Path
from typing import Final

from switchyard.api import text
from switchyard.cli import arguments as parsing

_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the Pod


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` can be told."""
    parser.add_argument("--kubeconfig", type=Path, help="default: KUBECONFIG, the Pod's own account, ~/.kube/config")
    parser.add_argument("--miners-namespace", default="switchyard-miners", help="of miner Pods and wallet Secrets")
    parser.add_argument(
        "--memory-name", default="switchyard-memory", help="of the ConfigMap that keeps what was learned"
    )
    parser.add_argument(
        "--memory-namespace", help="of that ConfigMap; default: the Pod's own, outside a cluster that of the miners"
    )
    parser.add_argument(
        "--plan-interval", type=_seconds, default=60.0, metavar="DURATION", help="farm time between plans (60s)"
    )
    parser.add_argument(
        "--listen",
        type=_address,
        default=(_EVERYWHERE, 8080),
        metavar="HOST:PORT",
        help="where /metrics, /healthz and /readyz are served (0.0.0.0:8080); port 0 picks a free one",
    )
    parser.add_argument("--prices", type=Path, metavar="FOLDER", help="price files may be read from here only")
    parser.add_argument(
        "--handover-patience",
        type=_factor,
        default=1.0,
        metavar="FACTOR",
        help="multiplies every deadline of a hand-over but the notice to work (1); more for slow rigs",
    )
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument("--log-format", default="auto", choices=["auto", "json", "plain"])
    replay = parser.add_argument_group("replay", "farm time instead of real time, for replaying a market")
    replay.add_argument(
        "--replay-start", type=parsing.moment, metavar="TIME", help="farm time at --replay-epoch, RFC 3339"
    )
    replay.add_argument("--replay-epoch", type=float, default=0.0, metavar="SECONDS", help="Unix time")
    replay.add_argument("--replay-speed", type=float, default=1.0, metavar="FACTOR")


def run(arguments: argparse.Namespace) -> int:
    """Run until told to stop."""
    # Late, so that `switchyard --help` need not load kopf.
    from switchyard import app

    host, port = arguments.listen
    options = app.Options(
        kubeconfig=arguments.kubeconfig,
        miners_namespace=arguments.miners_namespace,
        plan_seconds=arguments.plan_interval,
        host=host,
        port=port,
        log_level=arguments.log_level,
        log_json={"auto": None, "json": True, "plain": False}[arguments.log_format],
        replay_start=arguments.replay_start,
        replay_epoch=arguments.replay_epoch,
        replay_speed=arguments.replay_speed,
        handover_patience=arguments.handover_patience,
        prices=arguments.prices,
        memory_name=arguments.memory_name,
        memory_namespace=arguments.memory_namespace,
    )
    asyncio.run(app.run(options))
    return 0


def _seconds(argument: str) -> float:
    try:
        return text.parse_duration(argument)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _factor(argument: str) -> float:
    try:
        factor = float(argument)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise argparse.ArgumentTypeError(f"a number above 0 expected, not {argument!r}")
    return factor


def _address(argument: str) -> tuple[str, int]:
    host, _, port = argument.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"HOST:PORT expected, not {argument!r}")
    return host or _EVERYWHERE, int(port)
