"""File descriptors on the event loop: reading and writing that wait for the other end, and for nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable

_CHUNK = 65_536


async def _once(add: Callable[..., None], remove: Callable[[int], bool], fd: int) -> None:
    happened = asyncio.Event()
    add(fd, happened.set)
    try:
        await happened.wait()
    finally:
        remove(fd)


async def readable(fd: int) -> None:
    """Wait until there is something to read, or the end."""
    loop = asyncio.get_running_loop()
    await _once(loop.add_reader, loop.remove_reader, fd)


class Inlet:
    """The writing end of what a process reads. Owns its descriptor."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._turn = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        """Write all of it; returns early where nobody will read it any more."""
        async with self._turn:
            left = memoryview(data)
            while left and self._fd >= 0:
                try:
                    left = left[os.write(self._fd, left) :]
                except BlockingIOError:
                    await self._writable()
                except OSError:
                    return

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        await _once(loop.add_writer, loop.remove_writer, self._fd)

    def close(self) -> None:
        """The reader finds the end."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1


class Outlet:
    """The reading end of what a process writes. Owns its descriptor."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd

    async def pieces(self, ended: asyncio.Event, linger_s: float) -> AsyncIterator[bytes]:
        """What is written, until the end.

        Once the process has `ended`, quiet of `linger_s` is the end as well: something that it left behind
        may hold the other end open.
        """
        while self._fd >= 0:
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                if not await self._more(ended, linger_s):
                    return
                continue
            except OSError:
                return  # a terminal that nobody has open any more
            if not data:
                return
            yield data

    async def _more(self, ended: asyncio.Event, linger_s: float) -> bool:
        ready = asyncio.create_task(readable(self._fd))
        over = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait({ready, over}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                await asyncio.wait({ready}, timeout=linger_s)
            return ready.done()
        finally:
            for task in (ready, over):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def close(self) -> None:
        """Stop reading."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
