"""Clients as users are told to write them: what a gateway broke off is asked again, what it answered is an answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from steadyload import constant_rate

_PATIENCE_S = 90.0
_SLOW_S = 10.0
# A gateway that is down refuses at once; one that hangs takes connections and is silent.
_TIMEOUT = aiohttp.ClientTimeout(total=75.0, sock_connect=5.0)


@dataclass
class Asked:
    """What became of the requests to one model."""

    sent: int = 0
    answered: int = 0
    again: int = 0
    """Requests that were broken off and asked again."""
    failures: list[str] = field(default_factory=list)
    """Answers other than the right one, and requests that got none, with the second since the start."""
    revisions: Counter[str] = field(default_factory=Counter)
    """By which revision they were answered."""
    seconds: list[float] = field(default_factory=list)
    """From when each was due to its answer."""
    slow: list[str] = field(default_factory=list)
    """Those that took longer than 10 s."""


@contextlib.asynccontextmanager
async def asking(
    url: str, body: dict[str, Any], rate: float, say: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Asked]:
    """Send `rate` requests a second inside the block; at its end all have been answered, or have failed.

    `say` is told of each that failed, when it does.
    """
    asked = Asked()
    began = time.perf_counter()

    async def once() -> str | None:
        """Return why it failed, or None; raises ClientError or OSError where there was no answer."""
        async with session.post(url, json=body, timeout=_TIMEOUT) as response:
            if response.status != 200:
                return f"{response.status} {(await response.text())[:300]}"
            answer = await response.json(content_type=None)
            asked.revisions[answer["model_version"]] += 1
            return None if answer["outputs"][0]["shape"] == [1, 10] else f"wrong answer: {answer}"

    async def one(due: float) -> None:
        asked.sent += 1
        failed, broken, trouble = None, 0, ""
        while True:
            try:
                failed = await once()
                break
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                broken += 1
                trouble += f"{time.perf_counter() - due:.1f} {error!r} "
                if time.perf_counter() - due > _PATIENCE_S:
                    failed = f"gave up after {broken} attempts: {error!r}"
                    break
                await asyncio.sleep(min(1.0, 0.05 * 2**broken))
        asked.again += bool(broken)
        took = time.perf_counter() - due
        if took > _SLOW_S:
            asked.slow.append(f"{due - began:.1f} s: {took:.1f} s, {broken} attempts broken off {trouble}")
        if failed is None:
            asked.answered += 1
            asked.seconds.append(took)
        else:
            asked.failures.append(f"{due - began:.1f} s: {failed}")
            say(f"asked at {asked.failures[-1]}")

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        constant_rate(rate, one),
    ):
        yield asked
