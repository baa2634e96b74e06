"""The agent's own HTTP port: `/v1/stats` for the operator, `/metrics` for Prometheus."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from trimtab.workloads.gateway.agent import Agent

_LOOK_SECONDS = 0.5
_LONGEST_WAIT_S = 60


@asynccontextmanager
async def stats_server(agent: Agent, host: str, port: int) -> AsyncIterator[int]:
    """Answer on `host`:`port` while the context is open; lends the port, which the kernel chooses where it is 0."""

    async def stats(request: web.Request) -> web.Response:
        """Report; who names the report that it knows and says `Prefer: wait=N` hears of another one, or after N s."""
        known, until = request.headers.get("If-None-Match"), time.monotonic() + _wait_s(request)
        while True:
            report = await agent.stats(time.time())
            tag = f'"{hashlib.sha256(report.model_dump_json(exclude={"time"}).encode()).hexdigest()[:16]}"'
            if tag != known:
                return web.json_response(text=report.model_dump_json(by_alias=True), headers={"ETag": tag})
            if time.monotonic() >= until:
                return web.Response(status=304, headers={"ETag": tag})
            await asyncio.sleep(_LOOK_SECONDS)  # HAProxy tells nobody what it counts

    async def metrics(_: web.Request) -> web.Response:
        text = await agent.metrics(time.time())
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.router.add_get("/v1/stats", stats)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _wait_s(request: web.Request) -> int:
    """Return for how long a client would wait for a change (RFC 7240)."""
    said = re.search(r"\bwait=(\d{1,4})\b", request.headers.get("Prefer", ""))
    return min(int(said.group(1)), _LONGEST_WAIT_S) if said else 0
