"""The operator's own web server: /metrics for Prometheus, /healthz and /readyz for the kubelet."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import web

from switchyard.telemetry import metrics as metrics_

Checks = Mapping[str, Callable[[], str | None]]
"""By name: a check that returns None when all is well, else the trouble in plain words. It must not block."""


def application(*, metrics: metrics_.Metrics, live: Checks, ready: Checks) -> web.Application:
    """The web application. A probe answers 200 with one line per check, or 503 when any check finds trouble."""

    async def show_metrics(_: web.Request) -> web.Response:
        body, content_type = metrics.expose()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthz(_: web.Request) -> web.Response:
        return _probe(live)

    async def readyz(_: web.Request) -> web.Response:
        return _probe(ready)

    app = web.Application()
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


@contextlib.asynccontextmanager
async def serve(app: web.Application, *, host: str = "0.0.0.0", port: int = 8080) -> AsyncIterator[int]:  # noqa: S104 - probes come from outside the pod
    """Serve while the context is open; yields the port, which is a free one when 0 was asked for.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _probe(checks: Checks) -> web.Response:
    troubles = {name: _ask(check) for name, check in checks.items()}
    lines = [f"{name}: {trouble or 'ok'}" for name, trouble in troubles.items()] or ["ok"]
    return web.Response(text="\n".join(lines) + "\n", status=503 if any(troubles.values()) else 200)


def _ask(check: Callable[[], str | None]) -> str | None:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a check that fails is itself a trouble to report, never a 500
        return f"the check itself failed: {error!r}"
