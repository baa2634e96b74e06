"""The load: writes as fast as they are answered or at a steady rate, with watchers that note when they hear of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from client import STAMP, STATUS_STAMP, Connection
from peers import Server

WATCHERS = 5
CONNECTIONS = 16
_HEARD_WITHIN_S = 30.0


@dataclass
class Heard:
    """What one watcher heard: how long after it was due each write reached it, in nanoseconds."""

    stamp: re.Pattern[bytes]
    delays: list[int] = field(default_factory=list)

    def line(self, text: bytes) -> None:
        if found := self.stamp.search(text):
            self.delays.append(time.monotonic_ns() - int(found.group(1)))


@asynccontextmanager
async def _watched(server: Server, kind: str) -> AsyncIterator[list[Heard]]:
    """Five watchers, and what they hear of a kind of writes."""
    heard = [Heard(STATUS_STAMP if kind == "status patch" else STAMP) for _ in range(WATCHERS)]
    streams = [await server.watch(one.line) for one in heard]
    await asyncio.sleep(0.3)  # until the last of them is surely open
    try:
        yield heard
    finally:
        for stream in streams:
            stream.close()


@asynccontextmanager
async def _connected(server: Server) -> AsyncIterator[list[Connection]]:
    connections = [await server.connect() for _ in range(CONNECTIONS)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


async def flat_out(server: Server, kind: str, numbers: Sequence[int]) -> float:
    """Writes per second with every connection busy all the time, while five clients watch."""
    todo: Iterator[int] = iter(numbers)

    async def work(connection: Connection) -> None:
        for number in todo:
            await server.write(connection, kind, number, time.monotonic_ns())

    async with _watched(server, kind) as heard, _connected(server) as connections:
        start = time.monotonic()
        await asyncio.gather(*(work(c) for c in connections))
        seconds = time.monotonic() - start
        await _all_heard(heard, len(numbers))
    return len(numbers) / seconds


async def _all_heard(heard: list[Heard], writes: int) -> None:
    """Every watcher hears of every write, or the numbers mean nothing."""
    end = time.monotonic() + _HEARD_WITHIN_S
    while any(len(one.delays) < writes for one in heard):
        if time.monotonic() > end:
            raise RuntimeError(f"of {writes} writes the watchers heard of {[len(one.delays) for one in heard]}")
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Steady:
    """A stretch at a steady rate; delays in milliseconds from when a write was due."""

    rate: float
    watch_p50: float
    watch_p99: float
    answer_p50: float
    answer_p99: float


async def steady(server: Server, kind: str, rate: int, seconds: float, objects: int) -> Steady:
    """Send `rate` writes each second, whether or not earlier ones are answered: a stall counts for all it delays."""
    answers: list[int] = []
    async with _watched(server, kind) as heard, _connected(server) as connections:
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for connection in connections:
            free.put_nowait(connection)
        running: set[asyncio.Task[None]] = set()

        async def send(number: int, due: int) -> None:
            connection = await free.get()
            try:
                await server.write(connection, kind, number, due)
            finally:
                free.put_nowait(connection)
            answers.append(time.monotonic_ns() - due)

        total = int(rate * seconds)
        start = time.monotonic_ns()
        for index in range(total):
            due = start + index * 1_000_000_000 // rate
            if (ahead := due - time.monotonic_ns()) > 500_000:
                await asyncio.sleep(ahead / 1e9)
            task = asyncio.create_task(send(index * 7919 % objects, due))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        took = (time.monotonic_ns() - start) / 1e9
        await _all_heard(heard, total)
    delays = sorted(delay for one in heard for delay in one.delays)
    answers.sort()
    return Steady(total / took, *(_ms(delays, q) for q in (0.5, 0.99)), *(_ms(answers, q) for q in (0.5, 0.99)))


def _ms(ordered: list[int], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))] / 1e6


async def lists(server: Server) -> float:
    """Full lists per second when five clients ask at once."""
    connections = [await server.connect() for _ in range(WATCHERS)]
    start = time.monotonic()
    await asyncio.gather(*(server.listed(c) for c in connections))
    seconds = time.monotonic() - start
    for connection in connections:
        connection.close()
    return WATCHERS / seconds
