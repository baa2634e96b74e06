"""The load: requests at a given rate whether or not earlier ones are answered, or as fast as they are."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

_BODY = b"x" * 3000
_REQUEST = (
    b"POST /v2/models/model/infer HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_POD = re.compile(rb'{"pod": (\d+)}')
PATIENCE_S = 20.0


@dataclass
class Answers:
    """What became of the requests; milliseconds from when each was due."""

    milliseconds: list[float] = field(default_factory=list)
    pods: Counter[int] = field(default_factory=Counter)
    failures: int = 0

    def at(self, share: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self._buffer = b""

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it

    async def ask(self) -> bytes:
        """Send a request; return the answer, empty where there was none."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(_REQUEST)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and len(body) >= (int(length.group(1)) if length else 0):
            answer, self._buffer = self._buffer, b""
            self._settle(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self._settle(b"")

    def _settle(self, answer: bytes) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(answer)

    def close(self) -> None:
        self._transport.close()


def _count(answers: Answers, answer: bytes, milliseconds: float) -> None:
    if answer.startswith(b"HTTP/1.1 200") and (pod := _POD.search(answer)):
        answers.milliseconds.append(milliseconds)
        answers.pods[int(pod.group(1))] += 1
    else:
        answers.failures += 1


async def steady(host: str, port: int, rate: float, seconds: float, seed: int) -> Answers:
    """Send Poisson arrivals; a request without an answer after 20 s failed."""
    answers, loop, rng = Answers(), asyncio.get_running_loop(), random.Random(seed)
    idle: list[Connection] = []

    async def one(due: float) -> None:
        connection = idle.pop() if idle else await Connection.open(host, port)
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await connection.ask()
        except TimeoutError:
            answer = b""
        _count(answers, answer, 1000 * (loop.time() - due))
        if answer:
            idle.append(connection)
        else:
            connection.close()

    async with asyncio.TaskGroup() as group:
        began = due = loop.time()
        while due < began + seconds:
            due += rng.expovariate(rate)
            await asyncio.sleep(due - loop.time())
            group.create_task(one(due))
    for connection in idle:
        connection.close()
    return answers


async def flat_out(host: str, port: int, connections: int, seconds: float) -> Answers:
    """Keep every connection busy."""
    answers, loop = Answers(), asyncio.get_running_loop()

    async def one() -> None:
        connection = await Connection.open(host, port)
        try:
            while (began := loop.time()) < ends:
                _count(answers, await connection.ask(), 1000 * (loop.time() - began))
        finally:
            connection.close()

    ends = loop.time() + seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(one())
    return answers
