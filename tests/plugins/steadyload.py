"""Requests at a constant rate, whatever becomes of them: what a slow answer delays is counted, too."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass
class SteadyLoad:
    """What became of the requests."""

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """From when each request was due to its answer."""

    @property
    def failed(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome != "ok")

    def check(self, at_least: int) -> None:
        """Every request was answered well."""
        assert self.outcomes["ok"] >= at_least, self.outcomes
        assert not self.failed, self.outcomes


@contextlib.asynccontextmanager
async def steady_load(url: str, body: dict[str, Any], rate: float) -> AsyncIterator[SteadyLoad]:
    """Send `rate` requests per second inside the block; at its end all are answered."""
    load, ending, running = SteadyLoad(), asyncio.Event(), set[asyncio.Task[None]]()

    async def one(session: aiohttp.ClientSession, due: float) -> None:
        try:
            async with session.post(url, json=body) as response:
                answer = await response.json(content_type=None)
                good = response.status == 200 and bool(answer.get("outputs"))
                outcome = "ok" if good else f"{response.status} {answer}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = repr(error)
        load.outcomes[outcome] += 1
        load.seconds.append(time.perf_counter() - due)

    async def drive(session: aiohttp.ClientSession) -> None:
        began = time.perf_counter()
        while not ending.is_set():
            while (due := began + load.sent / rate) <= time.perf_counter():
                load.sent += 1
                task = asyncio.create_task(one(session, due))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(0.002)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        driving = asyncio.create_task(drive(session))
        try:
            yield load
        finally:
            ending.set()
            await driving
            await asyncio.gather(*running)
