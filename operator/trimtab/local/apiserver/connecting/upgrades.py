"""From an HTTP request to a connection that both sides may write to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol, cast

from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from trimtab.local.apiserver.calls import Call
from trimtab.local.statuses import ApiError, bad_request

_MOST_UNREAD = 2**18  # bytes that may wait for their reader; then the client waits


def required_upgrade(call: Call) -> None:
    """Raises ApiError 400 where the client did not ask for another protocol."""
    headers = call.request.headers
    wishes = [part.strip().lower() for part in headers.get("Connection", "").split(",")]
    if "upgrade" not in wishes or not headers.get("Upgrade"):
        raise bad_request("Upgrade request required")


def offered(call: Call, known: Sequence[str]) -> list[str]:
    """Those of the client's WebSocket subprotocols that are known, in its order.

    Raises:
        ApiError: 400 where there are none.
    """
    header = call.request.headers.getall("Sec-WebSocket-Protocol", [])
    wanted = [name.strip() for line in header for name in line.split(",") if name.strip()]
    common = [name for name in wanted if name in known]
    if not common:
        raise bad_request(
            f"unable to upgrade: unable to negotiate protocol: client supports [{' '.join(wanted)}], "
            f"server accepts [{' '.join(known)}]"
        )
    return common


class Pipe(Protocol):
    """Bytes both ways, in order."""

    async def send(self, data: bytes) -> None:
        """Send; waits while the client does not read."""

    def received(self) -> AsyncIterator[bytes]:
        """What the client sends, until it is gone."""

    async def close(self) -> None:
        """End the connection."""


class WebSocketPipe:
    """Bytes in binary messages, whose borders mean nothing."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def send(self, data: bytes) -> None:
        await self._socket.send_bytes(data)

    async def received(self) -> AsyncIterator[bytes]:
        async for message in self._socket:
            if message.type == WSMsgType.BINARY:
                yield message.data

    async def close(self) -> None:
        await self._socket.close()


class _Receiver:
    """Takes the place of the HTTP parser after an upgrade."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.waiting = 0

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.pieces.put_nowait(bytes(data))
        self.waiting += len(data)
        if self.waiting > _MOST_UNREAD:
            self._transport.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        self.pieces.put_nowait(b"")

    def taken(self, count: int) -> None:
        self.waiting -= count
        if self.waiting <= _MOST_UNREAD and not self._transport.is_reading():
            self._transport.resume_reading()


class UpgradedPipe(web.StreamResponse):
    """The connection itself, after `101 Switching Protocols`; the answer that ends the request as well."""

    def __init__(self, protocol: str, headers: Mapping[str, str]) -> None:
        super().__init__(status=101, headers={**headers, "Connection": "Upgrade", "Upgrade": protocol})
        self.force_close()  # it is no HTTP connection any more
        self._receiver: _Receiver | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Take the connection over, then tell the client so; the server asks again at the end of the request."""
        if self._receiver is not None:
            return await super().prepare(request)
        transport = request.transport
        if transport is None:
            msg = "the client went away before the upgrade"
            raise ConnectionResetError(msg)
        self._receiver = _Receiver(transport)
        request.protocol.set_parser(cast("Any", self._receiver))
        return await super().prepare(request)

    async def send(self, data: bytes) -> None:
        await self.write(data)

    async def received(self) -> AsyncIterator[bytes]:
        while self._receiver is not None and (data := await self._receiver.pieces.get()):
            self._receiver.taken(len(data))
            yield data

    async def close(self) -> None:
        await self.write_eof()


def is_websocket(call: Call) -> bool:
    """Whether the client asks for a WebSocket, and not for SPDY."""
    return call.request.headers.get("Upgrade", "").lower() == "websocket"


def negotiated(call: Call, known: Sequence[str]) -> str:
    """The first of the client's stream protocols that is known; it asks for SPDY.

    Raises:
        ApiError: 400 for another upgrade, 403 where no protocol is known.
    """
    upgrade = call.request.headers.get("Upgrade", "")
    if upgrade.lower() != "spdy/3.1":
        raise bad_request(f"unable to upgrade: unsupported protocol {upgrade!r}; use websocket or SPDY/3.1")
    header = call.request.headers.getall("X-Stream-Protocol-Version", [])
    wanted = [name.strip() for line in header for name in line.split(",") if name.strip()]
    found = next((name for name in wanted if name in known), None)
    if found is None:
        text = f"unable to upgrade: unable to negotiate protocol: client supports {wanted}, server accepts {known}"
        raise ApiError(403, "Forbidden", text, {})
    return found
