"""Pods that take as long as they are told, a few requests at once, the others in turn.

python pods.py 4 10=127.1.0.1:8080 20=127.1.0.2:8080 …

The first number is how many requests a pod works on at once, the others are milliseconds per request and where.
Prints a line when all of them listen. With 0 ms a pod answers at once.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import deque
from functools import partial
from typing import cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Pod:
    """One pod: its service time, its places, and who waits for one."""

    def __init__(self, milliseconds: int, places: int) -> None:
        self._seconds = milliseconds / 1000
        self._free = places
        self._waiting: deque[Connection] = deque()
        self.answer = _response({"pod": milliseconds})
        self.metadata = _response({"parameters": {"max_concurrency": places}})

    def take(self, connection: Connection) -> None:
        if self._seconds == 0:
            connection.send(self.answer)
        elif self._free:
            self._free -= 1
            asyncio.get_running_loop().call_later(self._seconds, self._done, connection)
        else:
            self._waiting.append(connection)

    def _done(self, connection: Connection) -> None:
        connection.send(self.answer)
        self._free += 1
        if self._waiting:
            self.take(self._waiting.popleft())


class Connection(asyncio.Protocol):
    """Takes whole requests off a connection; nobody pipelines."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or len(body) < (int(length.group(1)) if length else 0):
            return
        self._buffer = b""
        if head.startswith(b"POST"):
            self._pod.take(self)
        else:
            self.send(self._pod.metadata)

    def send(self, response: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(response)


def _response(content: object) -> bytes:
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def serve(places: int, pods: list[str]) -> None:
    loop = asyncio.get_running_loop()
    for each in pods:
        milliseconds, _, address = each.partition("=")
        host, _, port = address.partition(":")
        pod = Pod(int(milliseconds), places)
        await loop.create_server(partial(Connection, pod), host, int(port), backlog=1024)
    print("listening", flush=True)
    await loop.create_future()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2:]))
