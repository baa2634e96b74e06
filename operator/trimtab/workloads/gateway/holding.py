"""Requests to a model that sleeps: the first one is held here, the others wait behind it in HAProxy's queue.

A model without replicas has this as its only server, which takes one request at once. When a replica is there, the held
connection is joined to it, byte by byte, whatever the request's size; the queue goes to the replica by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import structlog

from trimtab.planning.traffic import HELD_SECONDS, ModelTraffic, holding_socket

log = structlog.get_logger(__name__)

_MESSAGE = b'{"error":"the model sleeps, and no replica was ready within 30 s"}'
# A 503 would make HAProxy try again, here; it makes one of this.
_TOO_LATE = (
    b"HTTP/1.1 504 Gateway Timeout\r\nContent-Type: application/json\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_MESSAGE), _MESSAGE)
)
_CHUNK = 1 << 16


class Holder:
    """Listens for HAProxy on a socket per model that may sleep."""

    def __init__(self, path: Callable[[str], Path], patience_seconds: float = HELD_SECONDS) -> None:
        self._path = path
        self._patience = patience_seconds
        self._servers: dict[str, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._targets: Mapping[str, str] = {}
        self._changed = asyncio.Condition()
        self._wakes: dict[str, float] = {}

    @property
    def wakes(self) -> Mapping[str, float]:
        """Return model → seconds from the request that woke it to its answer's first byte, of the last time."""
        return self._wakes

    async def follow(self, traffic: Iterable[ModelTraffic], models: Collection[str] | None = None) -> None:
        """Listen for the models that may sleep, and let go what waits for those that have a replica now.

        With `models`, `traffic` is that of these alone, and nothing changes for others.
        """
        items = {item.model: item for item in traffic if item.plain}
        about = items.keys() | self._servers.keys() if models is None else set(models)
        sleepers = {name for name, item in items.items() if item.sleeps}
        for model in sleepers - self._servers.keys():
            self._servers[model] = await self._listen(model)
        for model in (about & self._servers.keys()) - sleepers:
            self._servers.pop(model).close()
        active = {
            name: next((e.address for e in items[name].endpoints if e.weight > 0 and e.pod), None) for name in sleepers
        }
        async with self._changed:
            others = {name: address for name, address in self._targets.items() if name not in about}
            self._targets = others | {name: address for name, address in active.items() if address is not None}
            self._changed.notify_all()

    async def close(self) -> None:
        """Stop listening and break off what is held."""
        for server in self._servers.values():
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _listen(self, model: str) -> asyncio.Server:
        path = self._path(holding_socket(model))
        path.unlink(missing_ok=True)  # of an agent that was killed

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._hold(model, reader, writer))
            self._connections.add(task)
            try:
                await task
            except (OSError, asyncio.CancelledError):
                log.debug("request.let_go", model=model)
            finally:
                self._connections.discard(task)
                writer.close()

        return await asyncio.start_unix_server(accept, path)

    async def _hold(self, model: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began, held = time.perf_counter(), model not in self._targets
        try:
            async with asyncio.timeout(self._patience), self._changed:
                await self._changed.wait_for(lambda: model in self._targets)
        except TimeoutError:
            writer.write(_TOO_LATE)
            await writer.drain()
            log.warning("model.not_woken", model=model, seconds=self._patience)
            return
        host, _, port = self._targets[model].rpartition(":")
        there, back = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            sending = asyncio.create_task(_pump(reader, back))
            try:
                first = await there.read(_CHUNK)
                if held and first:
                    self._wakes[model] = seconds = time.perf_counter() - began
                    log.info("model.woken", model=model, seconds=round(seconds, 3))
                writer.write(first)
                await _pump(there, writer)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        finally:
            back.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy bytes until the source ends."""
    while data := await source.read(_CHUNK):
        target.write(data)
        await target.drain()
