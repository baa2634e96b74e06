"""The agent's own HTTP port: `/v1/stats` for the operator, `/metrics` for Prometheus, `/healthz` for the kubelet."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from trimtab.workloads.gateway.agent import Agent


@asynccontextmanager
async def stats_server(agent: Agent, host: str, port: int) -> AsyncIterator[None]:
    """Answer on `host`:`port` while the context is open."""

    async def stats(_: web.Request) -> web.Response:
        report = await agent.stats(time.time())
        return web.json_response(text=report.model_dump_json(by_alias=True))

    async def metrics(_: web.Request) -> web.Response:
        text = await agent.metrics(time.time())
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def health(_: web.Request) -> web.Response:
        # Alive, no more: HAProxy goes on without us, and a gateway must not leave its Service because the API
        # server is away.
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/v1/stats", stats)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
