"""The agent's report over HTTP: at once, or when there is another one."""

import asyncio
from typing import Any

import aiohttp
import pytest

from trimtab.api.gateway import GatewayStats, ModelStats
from trimtab.workloads.gateway import server
from trimtab.workloads.gateway.server import stats_server

pytestmark = pytest.mark.integration


class Reporting:
    """What the server asks an agent for; the time goes on, the numbers stay until somebody changes them."""

    def __init__(self) -> None:
        self.models = {"digits": ModelStats()}
        self.asked = 0
        self.looked = asyncio.Event()

    async def stats(self, now: float) -> GatewayStats:
        self.asked += 1
        if self.asked > 2:
            self.looked.set()
        return GatewayStats(time=now, proxy_up=True, models=self.models)


async def test_a_report_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names the report that it has hears nothing until there is another, or the time that it gives is over."""
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.01)
    agent: Any = Reporting()
    async with aiohttp.ClientSession() as session, stats_server(agent, "127.0.0.1", 0) as port:
        await _listen(session, agent, f"http://127.0.0.1:{port}/v1/stats")


async def _listen(session: aiohttp.ClientSession, agent: Reporting, url: str) -> None:
    async with asyncio.timeout(60):
        async with session.get(url) as first:
            assert first.status == 200
            assert "digits" in (await first.json())["models"]
            known = {"If-None-Match": first.headers["ETag"]}
        async with session.get(url, headers=known) as same:
            assert same.status == 304, "at once, and without a body"
        async with session.get(url, headers={**known, "Prefer": "wait=1"}) as after:
            assert after.status == 304
        agent.asked = 0
        agent.looked.clear()
        waiting = asyncio.create_task(_get(session, url, {**known, "Prefer": "wait=50"}))
        await agent.looked.wait()
        assert not waiting.done()
        agent.models = {"digits": ModelStats(queued=1)}
        status, report = await waiting
        assert status == 200
        assert report["models"]["digits"]["queued"] == 1


async def _get(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> tuple[int, Any]:
    async with session.get(url, headers=headers) as answer:
        return answer.status, await answer.json()
