"""Many streams over one connection, as SPDY has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from trimtab.local.apiserver.connecting import spdy
from trimtab.local.apiserver.connecting.upgrades import Pipe

_WAITING = 64  # pieces that one stream may have unread before the connection waits for their reader
_LARGEST_PIECE = 2**20  # bytes of a data frame that is sent
MOST_STREAMS = 1_000  # open at once on one connection; each port-forward connection takes two


class Stream:
    """One stream that the client has opened."""

    def __init__(self, number: int, headers: Mapping[str, str], pipe: Pipe) -> None:
        self.number = number
        self.headers = headers
        self._pipe = pipe
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self.over = asyncio.Event()
        self._finished = False

    async def received(self) -> AsyncIterator[bytes]:
        """What the client sends, until it has closed its direction or the stream was reset."""
        while piece := await self._next():
            yield piece

    async def _next(self) -> bytes:
        if not self._pieces.empty():
            return self._pieces.get_nowait()
        getting, ending = asyncio.create_task(self._pieces.get()), asyncio.create_task(self.over.wait())
        try:
            await asyncio.wait({getting, ending}, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else b""
        finally:
            getting.cancel()
            ending.cancel()

    async def take(self, frame: spdy.Frame) -> None:
        """A data frame of this stream has arrived."""
        if frame.data and not self.over.is_set():
            await self._put(frame.data)
        if frame.fin:
            await self._put(b"")

    async def _put(self, piece: bytes) -> None:
        if not self._pieces.full():
            self._pieces.put_nowait(piece)
            return
        putting, ending = asyncio.create_task(self._pieces.put(piece)), asyncio.create_task(self.over.wait())
        try:
            await asyncio.wait({putting, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()
            ending.cancel()

    async def send(self, data: bytes) -> None:
        """Send to the client; waits while it is slow. After the end nothing is sent any more."""
        for at in range(0, len(data), _LARGEST_PIECE):
            if self._finished or self.over.is_set():
                return
            await self._pipe.send(spdy.data_frame(self.number, data[at : at + _LARGEST_PIECE]))

    async def finish(self) -> None:
        """Nothing more is sent from here."""
        if not self._finished and not self.over.is_set():
            self._finished = True
            await self._pipe.send(spdy.data_frame(self.number, b"", fin=True))


class Connection:
    """The server's end: accepts streams, and hands each to whoever asks for the next one."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._decoder = spdy.Decoder()
        self._encoder = spdy.Encoder()
        self._streams: dict[int, Stream] = {}

    async def opened(self) -> AsyncIterator[Stream]:
        """Streams as the client opens them, until the connection ends. Reading on is what drives all of them.

        Raises:
            ProtocolError: The client does not speak SPDY/3.1.
        """
        try:
            async for data in self._pipe.received():
                for frame in self._decoder.feed(data):
                    if frame.type == spdy.SYN_STREAM:
                        yield await self._accept(frame)
                    elif frame.type == spdy.GOAWAY:
                        return
                    else:
                        await self._arrived(frame)
        finally:
            for stream in self._streams.values():
                stream.over.set()

    async def _accept(self, frame: spdy.Frame) -> Stream:
        if len(self._streams) >= MOST_STREAMS:
            msg = f"more than {MOST_STREAMS} streams are open on one connection"
            raise spdy.ProtocolError(msg)
        stream = Stream(frame.stream, frame.headers, self._pipe)
        self._streams[frame.stream] = stream
        await self._pipe.send(self._encoder.syn_reply(frame.stream))
        if frame.fin:
            await stream.take(frame)
        return stream

    async def _arrived(self, frame: spdy.Frame) -> None:
        if frame.type == spdy.PING:
            await self._pipe.send(spdy.ping_frame(frame.number))
            return
        stream = self._streams.get(frame.stream)
        if stream is None:
            return
        if frame.type == 0:
            await stream.take(frame)
        elif frame.type == spdy.RST_STREAM:
            stream.over.set()
            self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """The stream is done with; what still arrives for it is dropped."""
        stream.over.set()
        self._streams.pop(stream.number, None)
