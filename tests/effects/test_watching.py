"""Watches of servers that fall silent or break off, without a cluster."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from itertools import count, pairwise
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from trimtab.effects import kinds, kubernetes
from trimtab.effects.kubernetes import Cluster

pytestmark = pytest.mark.integration


CHANGE = {"type": "ADDED", "object": {"metadata": {"name": "n", "resourceVersion": "8"}}}
TOO_OLD = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}


@asynccontextmanager
async def watched(talk: Callable[[web.StreamResponse, int], Awaitable[None]], folder: Path) -> AsyncIterator[Cluster]:
    """Lend a client of a server that has empty lists, and watches that `talk`, told how many there were before."""
    watches = count()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})
        assert request.query["resourceVersion"] == "7"
        stream = web.StreamResponse()
        await stream.prepare(request)
        await talk(stream, next(watches))
        return stream

    app = web.Application()
    app.router.add_get("/api/v1/nodes", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    try:
        async with await Cluster.connect(str(folder / "kubeconfig")) as cluster, asyncio.timeout(60):
            yield cluster
    finally:
        await runner.cleanup()


async def told_until_added(cluster: Cluster) -> list[str]:
    told = []
    async with aclosing(cluster.watch(kinds.NODES)) as stream:
        async for change, _ in stream:
            told.append(change)
            if change == "ADDED":
                break
    return told


async def test_a_silent_watch_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where it was: a server that vanished without a word is not listened to for ever."""
    monkeypatch.setattr(kubernetes, "_WATCH_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_read=0.2))

    async def talk(stream: web.StreamResponse, before: int) -> None:
        if before:
            await stream.write(json.dumps(CHANGE).encode() + b"\n")
        await asyncio.Event().wait()

    async with watched(talk, tmp_path) as cluster:
        assert await told_until_added(cluster) == ["SYNCED", "ADDED"]


async def test_watches_that_end_at_once_are_not_hammered(tmp_path: Path) -> None:
    """Each is waited for longer than the one before, until one says something."""
    at: list[float] = []

    async def talk(stream: web.StreamResponse, before: int) -> None:
        at.append(time.monotonic())
        if before == 3:
            await stream.write(json.dumps(CHANGE).encode() + b"\n")
            await asyncio.Event().wait()

    async with watched(talk, tmp_path) as cluster:
        assert await told_until_added(cluster) == ["SYNCED", "ADDED"]
    waited = [later - earlier for earlier, later in pairwise(at)]
    assert all(seconds > least for seconds, least in zip(waited, (0.19, 0.49, 0.99), strict=True)), waited


async def test_a_last_word_without_an_end(tmp_path: Path) -> None:
    """That the history is lost counts even where its line is not ended; half a line is none."""

    async def talk(stream: web.StreamResponse, before: int) -> None:
        if before == 0:
            await stream.write(json.dumps(CHANGE).encode()[:20])
        elif before == 1:
            await stream.write(json.dumps(TOO_OLD).encode())
        else:
            await stream.write(json.dumps(CHANGE).encode() + b"\n")
            await asyncio.Event().wait()

    async with watched(talk, tmp_path) as cluster:
        assert await told_until_added(cluster) == ["SYNCED", "SYNCED", "ADDED"]
