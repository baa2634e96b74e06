"""Requests at a constant rate, whatever becomes of them: what a slow answer delays is counted, too."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
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
    load = SteadyLoad()

    async def one(due: float) -> None:
        load.sent += 1
        try:
            async with session.post(url, json=body) as response:
                answer = await response.json(content_type=None)
                good = response.status == 200 and bool(answer.get("outputs"))
                outcome = "ok" if good else f"{response.status} {answer}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = repr(error)
        load.outcomes[outcome] += 1
        load.seconds.append(time.perf_counter() - due)

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        constant_rate(rate, one),
    ):
        yield load


@contextlib.asynccontextmanager
async def constant_rate(rate: float, one: Callable[[float], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Begin `one` `rate` times per second inside the block, however long it takes; at its end all have come to theirs.

    `one` gets the moment when it was due, by `time.perf_counter`.
    """
    ending, running = asyncio.Event(), set[asyncio.Task[None]]()

    async def drive() -> None:
        began, begun = time.perf_counter(), 0
        while not ending.is_set():
            while (due := began + begun / rate) <= time.perf_counter():
                begun += 1
                task = asyncio.create_task(one(due))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(0.002)

    driving = asyncio.create_task(drive())
    try:
        yield
    finally:
        ending.set()
        await driving
        await asyncio.gather(*running)
