"""What travels between a client and a command: stdin, stdout, stderr, the outcome, the size of the terminal.

Over a WebSocket each message begins with the number of its channel (`v4.channel.k8s.io`; with
`base64` in the name as text: a digit and base64). In `v5` the client may also close a channel.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Protocol

from aiohttp import WSMsgType, web

from trimtab.local.apiserver.calls import Call
from trimtab.local.encodings import to_json
from trimtab.local.objects import Object
from trimtab.local.statuses import bad_request

STDIN, STDOUT, STDERR, OUTCOME, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
SUBPROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io")
_NUMBERS = {"stdout": STDOUT, "stderr": STDERR}
_LARGEST_MESSAGE = 32 * 2**20  # bytes; clients send 32 KiB at once


class Channels(Protocol):
    """The client's side of a session."""

    async def send(self, name: str, data: bytes) -> None:
        """Send what the command wrote to "stdout" or "stderr"; waits for a slow client."""

    def received(self) -> AsyncIterator[tuple[str, bytes]]:
        """What the client sends: "stdin", "resize", and "end" where it closes stdin. Ends with the connection."""

    async def finish(self, status: Object) -> None:
        """Tell the outcome and end the connection."""


class WebSocketChannels:
    """Channels over one WebSocket, of any of the known subprotocols."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._text = "base64" in (socket.ws_protocol or "")

    async def send(self, name: str, data: bytes) -> None:
        await self._send(_NUMBERS[name], data)

    async def _send(self, channel: int, data: bytes) -> None:
        if self._text:
            await self._socket.send_str(str(channel) + base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(bytes((channel,)) + data)

    async def received(self) -> AsyncIterator[tuple[str, bytes]]:
        async for message in self._socket:
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                continue
            channel, data = parsed(message.data, text=self._text)
            if channel == STDIN:
                yield "stdin", data
            elif channel == RESIZE:
                yield "resize", data
            elif channel == CLOSE and data[:1] == bytes((STDIN,)):
                yield "end", b""

    async def finish(self, status: Object) -> None:
        await self._send(OUTCOME, to_json(status))
        await self._socket.close()


def parsed(message: bytes | str, *, text: bool = False) -> tuple[int, bytes]:
    """Channel and content of a message; one that makes no sense has channel -1.

    The official client sends text on the binary protocols: the bytes count, not the kind of message.
    """
    content = message.encode() if isinstance(message, str) else message
    if not text:
        return (content[0], content[1:]) if content else (-1, b"")
    try:
        return int(content[:1]), base64.b64decode(content[1:], validate=True)
    except (ValueError, binascii.Error):
        return -1, b""


async def opened_socket(call: Call, *subprotocols: str) -> web.WebSocketResponse:
    """A WebSocket of one of these subprotocols, after the handshake. Raises ApiError 400 for a broken one."""
    socket = web.WebSocketResponse(protocols=subprotocols, max_msg_size=_LARGEST_MESSAGE, compress=False)
    if call.request.method != "GET" or not socket.can_prepare(call.request):
        raise bad_request("unable to upgrade: the WebSocket handshake is incomplete")
    await socket.prepare(call.request)
    return socket
