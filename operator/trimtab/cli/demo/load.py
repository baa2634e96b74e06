"""Requests at a given rate, whatever the answers take; every answer is checked against what a person had written."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np

from trimtab.cli.demo.timeline import Requests, percentile
from trimtab.errors import TrimtabError

_WINDOW_S = 3.0
# More are not sent at once: beyond this the load waits for answers, as any client with a pool does.
_AT_ONCE = 256
_TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=5)
_FAILURES_KEPT = 5


@dataclass(frozen=True, slots=True)
class Question:
    """One scan, ready to be sent, and the digit that it shows."""

    body: bytes
    digit: int


def questions(data: Path, tensor: str) -> list[Question]:
    """Return the test scans as Open Inference Protocol requests; `tensor` is the model's input."""
    with np.load(data, allow_pickle=False) as arrays:
        scans, digits = arrays["x_test"], arrays["y_test"]
    made = []
    for scan, digit in zip(scans, digits, strict=True):
        values = [round(float(value), 4) for value in scan.ravel()]
        entry = {"name": tensor, "shape": [1, *scan.shape], "datatype": "FP32", "data": values}
        made.append(Question(json.dumps({"inputs": [entry]}).encode(), int(digit)))
    return made


def answer(status: int, raw: bytes) -> int:
    """Return the digit that an answer names.

    Raises:
        ValueError: It is not one row of ten scores.
    """
    if status != 200:
        raise ValueError(f"HTTP {status}: {raw[:200].decode(errors='replace')}")
    try:
        output = json.loads(raw)["outputs"][0]
        shape, scores = list(output["shape"]), list(output["data"])
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"an answer without outputs: {raw[:200].decode(errors='replace')}") from error
    if shape != [1, 10] or len(scores) != 10:
        raise ValueError(f"an answer of shape {shape} with {len(scores)} values, expected [1, 10]")
    return max(range(10), key=scores.__getitem__)


class Load:
    """Clients with kept connections. `run` sends until cancelled; `rate` may be set at any time.

    `gap` returns the seconds between two requests at a rate: always the same unless told otherwise.
    """

    def __init__(
        self,
        url: str,
        asked: list[Question],
        rate: float,
        clock: Callable[[], float],
        gap: Callable[[float], float] = lambda rate: 1 / rate,
    ) -> None:
        self.rate = rate
        """Requests per second, above 0."""
        self.sent = 0
        self.failed = 0
        self._url = url
        self._questions = asked
        self._clock = clock
        self._gap = gap
        self._right = 0
        self._latencies_ms: list[float] = []
        self._recent: deque[tuple[float, float]] = deque()  # when it was answered, milliseconds
        self._failures: Counter[str] = Counter()

    async def run(self) -> None:
        """Send; on cancellation wait for the answers that are due."""
        connector = aiohttp.TCPConnector(limit=_AT_ONCE, keepalive_timeout=30)
        async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
            due: set[asyncio.Task[None]] = set()
            try:
                await self._send_for_ever(session, due)
            finally:
                if due:
                    await asyncio.wait(due)

    async def _send_for_ever(self, session: aiohttp.ClientSession, due: set[asyncio.Task[None]]) -> None:
        following = self._clock()
        while True:
            now = self._clock()
            if following > now:
                await asyncio.sleep(following - now)
            elif now - following > 1.0:  # fell behind: go on from here instead of catching up in a burst
                following = now
            following += self._gap(self.rate)
            while len(due) >= _AT_ONCE:
                await asyncio.wait(due, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._ask(session, self._questions[self.sent % len(self._questions)]))
            self.sent += 1
            due.add(task)
            task.add_done_callback(due.discard)

    async def _ask(self, session: aiohttp.ClientSession, question: Question) -> None:
        began = self._clock()
        try:
            async with session.post(
                self._url, data=question.body, headers={"Content-Type": "application/json"}
            ) as response:
                digit = answer(response.status, await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self.failed += 1
            self._failures[f"{type(error).__name__}: {error}"[:300]] += 1
            return
        ended = self._clock()
        self._right += digit == question.digit
        self._latencies_ms.append((ended - began) * 1000)
        self._recent.append((ended, (ended - began) * 1000))

    def recent(self) -> tuple[float, float]:
        """Return answers per second and their 95th percentile in milliseconds, over the last seconds."""
        since = self._clock() - _WINDOW_S
        while self._recent and self._recent[0][0] < since:
            self._recent.popleft()
        return len(self._recent) / _WINDOW_S, percentile([ms for _, ms in self._recent], 0.95)

    def mean_ms(self) -> float:
        """Return the mean latency of all answers so far, in milliseconds."""
        return sum(self._latencies_ms) / max(1, len(self._latencies_ms))

    def result(self) -> Requests:
        """Return what became of it all; to be read when `run` has ended."""
        return Requests(
            sent=self.sent,
            failed=self.failed,
            right=self._right,
            p50_ms=percentile(self._latencies_ms, 0.5),
            p95_ms=percentile(self._latencies_ms, 0.95),
            failures=tuple(f"{text} ({count}x)" for text, count in self._failures.most_common(_FAILURES_KEPT)),
        )


async def input_tensor(url: str, model: str) -> str:
    """Ask the served model for the name of its input.

    Raises:
        TrimtabError: It does not answer, or not with its metadata.
    """
    address = f"{url}/v2/models/{model}"
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(address, raise_for_status=True) as response,
        ):
            metadata = await response.json()
        return str(metadata["inputs"][0]["name"])
    except (aiohttp.ClientError, OSError, ValueError, LookupError) as error:
        raise TrimtabError("NoAnswer", f"GET {address}: {error or type(error).__name__}") from error
