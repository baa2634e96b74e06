"""The load: one process on a core of its own, with as little between it and the kernel as Python allows.

It is the same for all servers. `busy` says which part of its time it worked: near 1 the client was measured.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"
_LOST_AFTER_S = 60.0


@dataclass
class Load:
    """What came back."""

    seconds: float
    latencies: list[float]
    """Seconds, from when a request was sent or due."""
    bodies: list[set[bytes]] = field(repr=False)
    """The different answers to each question."""
    busy: float
    ended: list[float] = field(default_factory=list)
    """Latencies of the last answers, which came after the time was over."""

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile_ms(self, share: float) -> float:
        return float(np.quantile(self.latencies, share)) * 1000


class _Connection:
    __slots__ = ("fileno", "parts", "question", "since", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, _LOST_AFTER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fileno = self.socket.fileno()
        self.parts = b""
        self.question = 0
        self.since = 0.0

    def send(self, question: int, request: bytes, since: float) -> None:
        self.question, self.since = question, since
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Return the body once it is there.

        Raises:
            RuntimeError: It is another answer than 200, or none.
        """
        data = self.socket.recv(65536)
        if not data:
            raise RuntimeError("the server closed the connection")
        if self.parts:
            data = self.parts + data
        if (body := _body(data)) is None:
            self.parts = data
            return None
        self.parts = b""
        if data[9:12] != b"200":
            raise RuntimeError(data[:500].decode("latin-1"))
        return body


def _body(data: bytes) -> bytes | None:
    """Return the body of an answer once it is whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    start = end + 4
    length = _LENGTH.search(data, 0, end + 2)
    if length is not None:
        return data[start:] if len(data) >= start + int(length[1]) else None
    if not data.endswith(_LAST_CHUNK):
        return None
    body = b""
    while data[start : start + 5] != _LAST_CHUNK:
        size, _, _ = data[start : start + 20].partition(b"\r\n")
        start += len(size) + 2
        body += data[start : start + int(size, 16)]
        start += int(size, 16) + 2
    return body


class Client:
    """Connections to one server, and the requests that go over them in turns; a context that closes them."""

    def __init__(self, address: tuple[str, int], requests: Sequence[bytes], connections: int) -> None:
        self._requests = requests
        self._connections = {c.fileno: c for c in (_Connection(address) for _ in range(connections))}
        self._poll = select.epoll()
        for fileno in self._connections:
            self._poll.register(fileno, select.EPOLLIN)
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()
        for connection in self._connections.values():
            connection.socket.close()

    def flat_out(self, seconds: float) -> Load:
        """Have every connection ask again as soon as it is answered."""
        began, cpu = time.perf_counter(), time.process_time()
        end = began + seconds
        for connection in self._connections.values():
            self._ask(connection, time.perf_counter())
        latencies: list[float] = []
        bodies: list[set[bytes]] = [set() for _ in self._requests]
        ended: list[float] = []
        waiting = len(self._connections)
        while waiting:
            for connection in self._readable(_LOST_AFTER_S):
                if (body := connection.receive()) is None:
                    continue
                now = time.perf_counter()
                bodies[connection.question].add(body)
                if now >= end:
                    ended.append(now - connection.since)
                    waiting -= 1
                    continue
                latencies.append(now - connection.since)
                self._ask(connection, now)
        busy = (time.process_time() - cpu) / (time.perf_counter() - began)
        return Load(seconds, latencies, bodies, busy, ended)

    def at_rate(self, rate: float, seconds: float, seed: int) -> Load:
        """Ask at random moments, so many times a second, answered or not; waits for a connection count as well."""
        draw = np.random.default_rng(seed)
        dues = np.cumsum(draw.exponential(1 / rate, int(rate * seconds))).tolist()
        free = list(self._connections.values())
        latencies: list[float] = []
        bodies: list[set[bytes]] = [set() for _ in self._requests]
        began, cpu = time.perf_counter(), time.process_time()
        sent = 0
        while len(latencies) < len(dues):
            now = time.perf_counter() - began
            while sent < len(dues) and free and dues[sent] <= now:
                self._ask(free.pop(), began + dues[sent])
                sent += 1
            soon = sent < len(dues) and free and dues[sent] - now < 0.002  # epoll sleeps whole milliseconds
            for connection in self._readable(0.0 if soon else 0.001 if free else _LOST_AFTER_S):
                if (body := connection.receive()) is None:
                    continue
                latencies.append(time.perf_counter() - connection.since)
                bodies[connection.question].add(body)
                free.append(connection)
        took = time.perf_counter() - began
        return Load(took, latencies, bodies, (time.process_time() - cpu) / took)

    def _ask(self, connection: _Connection, since: float) -> None:
        question = self._next % len(self._requests)
        self._next += 1
        connection.send(question, self._requests[question], since)

    def _readable(self, timeout_s: float) -> list[_Connection]:
        found = [self._connections[fileno] for fileno, _ in self._poll.poll(timeout_s)]
        if not found and timeout_s == _LOST_AFTER_S:
            raise RuntimeError(f"no answer within {_LOST_AFTER_S:.0f} s")
        return found


def http(address: tuple[str, int], path: str, form: tuple[bytes, bytes]) -> bytes:
    """Return a whole POST request; `form` has header lines and the body."""
    lines, body = form
    return b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n%b" % (
        *(path.encode(), f"{address[0]}:{address[1]}".encode(), lines, len(body), body),
    )
