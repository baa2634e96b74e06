"""The listening socket and every connection that it accepted: who owns them, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from trimtab.workloads.serve.connection import Connection
from trimtab.workloads.serve.exchange import Exchange, Heads
from trimtab.workloads.serve.limits import Limits

_CHECK_S = 0.25


class Listener:
    """Accepts connections and ends those that take too long; ended by `drain`, or at once by leaving the context."""

    def __init__(self, handle: Callable[[Exchange], None], limits: Limits, time: Callable[[], float]) -> None:
        self.handle = handle
        self.time = time
        self.limits = limits
        self.draining = False
        self.heads = Heads()
        self._buffered = 0
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.get_running_loop()
        self._checks: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._checks:
            self._checks.cancel()
        if self._server:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._empty.wait()

    async def listen(self, host: str, port: int) -> int:
        """Start accepting and return the port, which the kernel chose where `port` is 0."""
        self._server = await self._loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        address = self._server.sockets[0].getsockname()
        return int(address[1])

    async def drain(self, timeout_s: float) -> int:
        """Tell clients to go, stop accepting, and wait for what is in flight; return how many were cut off.

        Every answer from here on says `Connection: close`. A connection that is idle for a moment is closed; not at
        once, since its client may just be sending the next request, and that one would be lost.
        """
        self.draining = True
        self._watch()
        # One turn of the loop accepts what the kernel has completed already: closing the socket would reset it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self._server:
            self._server.close()
        try:
            async with asyncio.timeout(timeout_s):  # wait_for may swallow a cancellation before Python 3.12
                await self._empty.wait()
        except TimeoutError:
            return len(self._connections)
        return 0

    # --- what connections need ---

    def opened(self, connection: Connection) -> bool:
        self._connections.add(connection)
        self._empty.clear()
        self._watch()
        return len(self._connections) <= self.limits.connections

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def claim(self, size: int) -> bool:
        if self._buffered + size > self.limits.buffered_bytes:
            return False
        self._buffered += size
        return True

    def release(self, size: int) -> None:
        self._buffered -= size

    def _watch(self) -> None:
        if self._checks is None:
            self._checks = self._loop.call_later(_CHECK_S, self._check)

    def _check(self) -> None:
        """Look at all connections; a timer for each would cost every request two more calls."""
        self._checks = None
        now = self.time()
        for connection in list(self._connections):
            connection.check(now)
        if self._connections:
            self._watch()
