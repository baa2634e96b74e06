"""One TCP connection to a pod, fed by a stream of the client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

_CHUNK = 65_536


async def carry(
    address: str,
    port: int,
    pod: str,
    received: AsyncIterator[bytes],
    send: Callable[[bytes], Awaitable[None]],
    over: asyncio.Event | None = None,
) -> str:
    """Carry one connection to its end; returns what went wrong, in the words that kubectl shows."""
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return f"error forwarding port {port} to pod {pod}: failed to connect to {address}:{port}: {why}"

    async def outward() -> None:
        while data := await reader.read(_CHUNK):
            await send(data)

    async def inward() -> None:
        async for data in received:
            writer.write(data)
            await writer.drain()
        if over is None or not over.is_set():
            writer.write_eof()
            await reading  # the pod may go on answering

    reading, writing = asyncio.create_task(outward()), asyncio.create_task(inward())
    try:
        await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reading, writing):
            task.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return ""
