"""One TCP connection through a Service: bytes both ways, half-closed where a side has finished."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

CONNECT_TIMEOUT_S = 2.0

Endpoint = tuple[str, int]


class _Side(asyncio.Protocol):
    """One end of a forwarded connection; what it receives goes to `peer`."""

    def __init__(self, peer: _Side | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer = peer
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end on; the other direction stays open until it ends by itself."""
        self.ended = True
        if self.peer is None or self.peer.transport is None or self.peer.transport.is_closing():
            return False
        if self.peer.transport.can_write_eof():
            self.peer.transport.write_eof()
        return not self.peer.ended

    def pause_writing(self) -> None:
        """Let the other end stop reading: what it sends cannot be written fast enough."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the other end read on."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        peer = self.peer.transport if self.peer is not None else None
        if peer is not None and not peer.is_closing():
            if exc is None:
                peer.close()
            else:
                peer.abort()  # a reset stays a reset


class Client(_Side):
    """The client's end. It is paused until an endpoint has answered; what comes all the same is kept for it.

    uvloop begins to read after `connection_made`, so that a pause from within it does not hold.
    """

    def __init__(self, candidates: Callable[[str], Sequence[Endpoint]], open_clients: set[Client]) -> None:
        super().__init__()
        self._candidates = candidates
        self._open = open_clients
        self._connecting: asyncio.Task[None] | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.transport is not None:
            self.transport.pause_reading()
        self._open.add(self)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            self._early += data
        else:
            super().data_received(data)

    def eof_received(self) -> bool:
        if self.peer is None:
            self.ended = True
            return True
        return super().eof_received()

    async def _connect(self) -> None:
        """Try the endpoints in turn; without any the connection is reset, as a refused one."""
        loop = asyncio.get_running_loop()
        peer = self.transport.get_extra_info("peername") if self.transport is not None else None
        for host, port in self._candidates(peer[0] if peer else ""):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    # It knows its peer from the start: an endpoint may speak first.
                    _, side = await loop.create_connection(lambda: _Side(self), host, port)
            except (OSError, TimeoutError):
                continue
            if self.transport is None or self.transport.is_closing():
                if side.transport is not None:
                    side.transport.abort()
                return
            self.peer = side
            self._catch_up(side)
            return
        if self.transport is not None:
            self.transport.abort()

    def _catch_up(self, side: _Side) -> None:
        if side.transport is None or self.transport is None:
            return
        side.transport.write(bytes(self._early))
        self._early.clear()
        if self.ended:
            side.transport.write_eof()
        elif not self.transport.is_reading():
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self._connecting is not None:
            self._connecting.cancel()
        super().connection_lost(exc)

    def abort(self) -> None:
        """End the connection now."""
        if self.transport is not None:
            self.transport.abort()
