"""The page beside a cluster: follows its models and listens, for as long as somebody holds it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from trimtab.cli.dashboard.board import Board
from trimtab.cli.dashboard.server import application
from trimtab.cli.report import artifact_uri, fetch_report
from trimtab.effects.kinds import MODELS
from trimtab.effects.kubernetes import Cluster

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@asynccontextmanager
async def serving(
    cluster: Cluster, host: str, port: int, *, namespace: str | None = None, names: Iterable[str] = ()
) -> AsyncIterator[str]:
    """Serve the page and lend its URL; `names` are further hosts that browsers may know it by.

    Raises:
        OSError: It cannot listen there.
    """
    board = Board(time.time)

    async def report(namespace: str, name: str) -> str:
        return await asyncio.to_thread(_page, await artifact_uri(cluster, name, namespace))

    runner = web.AppRunner(application(board, frozenset({host, *_LOOPBACK, *names}), report), access_log=None)
    await runner.setup()
    following = asyncio.create_task(_follow(cluster, board, namespace))
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}/"
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await runner.cleanup()


async def _follow(cluster: Cluster, board: Board, namespace: str | None) -> None:
    async for change, item in cluster.watch(MODELS, namespace):
        if change == "DELETED":
            board.drop(item)
        elif change != "SYNCED":
            board.put(item)


def _page(uri: str) -> str:
    """Return the report of an artifact as HTML, every byte checked."""
    with tempfile.TemporaryDirectory() as scratch:
        fetch_report(uri, Path(scratch), only="report.html")
        return (Path(scratch) / "report.html").read_text()
