"""Answers Prometheus on a port of its own, for as long as the operator runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog
from aiohttp import web

from trimtab.effects.world import Index, World
from trimtab.handlers.looks import Looks
from trimtab.planning.exposition import CONTENT_TYPE, exposition

log = structlog.get_logger(__name__)

PATH = "/metrics"
OWN_PATH = "/metrics/operator"


@asynccontextmanager
async def metrics(
    world: World, looks: Looks, clock: Callable[[], datetime], host: str, port: int
) -> AsyncIterator[str]:
    """Serve what the statuses say inside the block, and yield the URL; port 0 lets the kernel choose.

    What the operator says of itself comes with it, and alone, which costs nothing however many models there are.
    """

    async def answer(_: web.Request) -> web.Response:
        text = exposition(_bodies(world.models), _bodies(world.pools), clock())
        return _response(text + looks.text())

    async def own(_: web.Request) -> web.Response:
        return _response(looks.text())

    application = web.Application()
    application.router.add_get(PATH, answer)
    application.router.add_get(OWN_PATH, own)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0][1]
        log.info("metrics.served", host=host, port=bound)
        yield f"http://{host}:{bound}{PATH}"
    finally:
        await runner.cleanup()


def _response(text: str) -> web.Response:
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})


def _bodies(index: Index) -> Iterator[dict[str, Any]]:
    for key in index:
        yield from index.get(key, ())
