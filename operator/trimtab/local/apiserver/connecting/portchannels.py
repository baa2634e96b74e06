"""Port-forward as the official Python client has it: one WebSocket, and two channels per port."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

from aiohttp import web

from trimtab.local.apiserver.connecting.carrying import carry
from trimtab.local.apiserver.connecting.channels import parsed

_UNREAD = 64  # messages that one port may be behind


async def forward_channels(socket: web.WebSocketResponse, ports: list[int], address: str, pod: str) -> None:
    """Carry one connection per port, until all have ended or the client goes.

    Port i has the channels 2i for data and 2i+1 for what went wrong; each begins with the port's
    number, little-endian.
    """
    inbound: list[asyncio.Queue[bytes]] = [asyncio.Queue(_UNREAD) for _ in ports]
    with contextlib.suppress(ConnectionError, RuntimeError):
        for index, port in enumerate(ports):
            for channel in (2 * index, 2 * index + 1):
                await socket.send_bytes(bytes((channel,)) + struct.pack("<H", port))
        serving = [
            asyncio.create_task(_serve(socket, index, port, inbound[index], address, pod))
            for index, port in enumerate(ports)
        ]
        listening = asyncio.create_task(_listen(socket, inbound, serving))
        try:
            waiting = {listening, *serving}
            while waiting > {listening}:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if listening in done:
                    break
        finally:
            for task in (*serving, listening):
                task.cancel()
            await asyncio.gather(*serving, listening, return_exceptions=True)
        await socket.close()


async def _serve(
    socket: web.WebSocketResponse, index: int, port: int, inbound: asyncio.Queue[bytes], address: str, pod: str
) -> None:
    async def received() -> AsyncIterator[bytes]:
        while True:
            yield await inbound.get()

    async def send(data: bytes) -> None:
        await socket.send_bytes(bytes((2 * index,)) + data)

    if problem := await carry(address, port, pod, received(), send):
        await socket.send_bytes(bytes((2 * index + 1,)) + problem.encode())


async def _listen(
    socket: web.WebSocketResponse, inbound: list[asyncio.Queue[bytes]], serving: list[asyncio.Task[None]]
) -> None:
    async for message in socket:
        channel, data = parsed(message.data) if isinstance(message.data, (bytes, str)) else (-1, b"")
        index, wrong = divmod(channel, 2)
        if 0 <= index < len(inbound) and not wrong and data and not serving[index].done():
            await inbound[index].put(data)
