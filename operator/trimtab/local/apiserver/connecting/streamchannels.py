"""A session's channels as SPDY streams: what clients before WebSockets, and behind some proxies, use."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from trimtab.local.apiserver.connecting.multiplexing import Connection, Stream
from trimtab.local.apiserver.connecting.spdy import ProtocolError
from trimtab.local.apiserver.connecting.upgrades import Pipe
from trimtab.local.encodings import to_json
from trimtab.local.entering import Streams
from trimtab.local.objects import Object

log = structlog.get_logger(__name__)

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_OPENED_WITHIN_S = 30.0
_UNREAD = 16  # pieces from the client that the command has not taken yet


class StreamChannels:
    """The client opens one stream per channel and names it in the header `streamtype`."""

    def __init__(self, pipe: Pipe, streams: Streams) -> None:
        self._pipe = pipe
        self._wanted = {"error"} | {n for n in ("stdin", "stdout", "stderr") if getattr(streams, n)}
        if streams.terminal:
            self._wanted.add("resize")
        self._streams: dict[str, Stream] = {}
        self._complete = asyncio.Event()
        self._inbound: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(_UNREAD)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Wait until the client has opened every stream that its request announced.

        Raises:
            ConnectionError: It did not.
        """
        driver = asyncio.create_task(self._drive())
        self._tasks.append(driver)
        complete = asyncio.create_task(self._complete.wait())
        await asyncio.wait({driver, complete}, timeout=_OPENED_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        complete.cancel()
        if not self._complete.is_set():
            msg = f"the client opened the streams {sorted(self._streams)}, and announced {sorted(self._wanted)}"
            raise ConnectionAbortedError(msg)

    async def _drive(self) -> None:
        connection = Connection(self._pipe)
        try:
            async for stream in connection.opened():
                self._opened(stream)
        except ProtocolError as error:
            log.debug("session.not_understood", error=str(error))
        await self._inbound.put(None)

    def _opened(self, stream: Stream) -> None:
        kind = stream.headers.get("streamtype", "")
        if kind in self._wanted and kind not in self._streams:
            self._streams[kind] = stream
            if kind in ("stdin", "resize"):
                self._tasks.append(asyncio.create_task(self._take(kind, stream)))
            if self._wanted <= self._streams.keys():
                self._complete.set()

    async def _take(self, kind: str, stream: Stream) -> None:
        async for data in stream.received():
            await self._inbound.put((kind, data))
        if kind == "stdin":
            await self._inbound.put(("end", b""))

    async def send(self, name: str, data: bytes) -> None:
        await self._streams[name].send(data)

    async def received(self) -> AsyncIterator[tuple[str, bytes]]:
        while (piece := await self._inbound.get()) is not None:
            yield piece

    async def finish(self, status: Object) -> None:
        await self._streams["error"].send(to_json(status))
        for stream in self._streams.values():
            await stream.finish()
        await self._pipe.close()

    async def close(self) -> None:
        """End what carries the streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self._pipe.close()
