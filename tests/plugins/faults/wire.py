"""Connections to the API server that can be cut, half-closed, silenced and slowed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

_CHUNK = 65_536
# Clients that wait for a silent connection for longer than this wait for ever, as far as a test can tell.
_SILENT_SECONDS = 200.0


@dataclass(eq=False)
class _Line:
    """One connection, both of its ends."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    speaks: asyncio.Event = field(default_factory=asyncio.Event)

    def abort(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class FaultyWire:
    """Forwards TCP connections to an address; to the server all of them come from `source`."""

    def __init__(self, host: str, port: int, source: str) -> None:
        self._target, self._source = (host, port), source
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.slow_s = 0.0
        """For how long each piece of an answer is held back."""

    async def start(self) -> int:
        """Listen beside the server; return the port."""
        self._server = await asyncio.start_server(self._accept, self._target[0], 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection."""
        for line in self._lines:
            line.abort()

    def half_close(self) -> None:
        """End every connection towards its client, and go on reading what the client sends."""
        for line in self._lines:
            with contextlib.suppress(OSError, RuntimeError):
                line.client.write_eof()

    def silence(self) -> None:
        """Let every connection that there is seem open, and pass nothing on any more; new ones work."""
        for line in self._lines:
            line.speaks.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            from_server, to_server = await asyncio.open_connection(*self._target, local_addr=(self._source, 0))
        except OSError:
            writer.transport.abort()
            return
        line = _Line(writer, to_server)
        line.speaks.set()
        self._lines.add(line)
        answers = asyncio.create_task(self._pass(from_server, writer, line, answers=True))
        asks = asyncio.create_task(self._pass(reader, to_server, line, answers=False))
        try:
            await asyncio.wait({answers, asks})
        finally:
            for half in (answers, asks):
                half.cancel()
            await asyncio.gather(answers, asks, return_exceptions=True)
            self._lines.discard(line)
            line.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: _Line, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while data := await reader.read(_CHUNK):
                if not line.speaks.is_set():
                    if not answers:
                        continue  # swallowed: nobody on the other side hears of it
                    await asyncio.sleep(_SILENT_SECONDS)
                    break
                if answers and self.slow_s:
                    await asyncio.sleep(self.slow_s)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
                return
        line.abort()
