"""Watches of servers that fall silent, without a cluster."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from trimtab.effects import kinds, kubernetes
from trimtab.effects.kubernetes import Cluster

pytestmark = pytest.mark.integration


@asynccontextmanager
async def server_that_falls_silent(asked: list[str]) -> AsyncIterator[str]:
    """Serve lists, and watches that say nothing: the first one for ever, the next ones of one change."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})
        asked.append(request.query["resourceVersion"])
        stream = web.StreamResponse()
        await stream.prepare(request)
        if len(asked) > 1:
            change = {"type": "ADDED", "object": {"metadata": {"name": "n", "resourceVersion": "8"}}}
            await stream.write(json.dumps(change).encode() + b"\n")
        await asyncio.Event().wait()
        return stream

    app = web.Application()
    app.router.add_get("/api/v1/nodes", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_silent_watch_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where it was: a server that vanished without a word is not listened to for ever."""
    monkeypatch.setattr(kubernetes, "_WATCH_TIMEOUT", aiohttp.ClientTimeout(total=None, sock_read=0.2))
    asked: list[str] = []
    async with server_that_falls_silent(asked) as url:
        config = {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        told = []
        async with await Cluster.connect(str(tmp_path / "kubeconfig")) as cluster, asyncio.timeout(30):
            stream = cluster.watch(kinds.NODES)
            async for change, _ in stream:
                told.append(change)
                if change == "ADDED":
                    break
            await stream.aclose()  # type: ignore[attr-defined]
    assert told == ["SYNCED", "ADDED"]
    assert asked == ["7", "7"]
