"""A level-triggered work queue: at most one reconcile per key, and once more if it was woken meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
Reconcile = Callable[[K], Awaitable[float | None]]

_BACKOFF_FIRST_SECONDS = 0.5
_BACKOFF_LAST_SECONDS = 60.0


class WorkQueue(Generic[K]):
    """Keys that want a look. `reconcile` returns the seconds until it wants the next one, or None."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._urgent: asyncio.Queue[K] = asyncio.Queue()
        self._patient: asyncio.Queue[K] = asyncio.Queue()
        # Whether each waits behind those that are urgent.
        self._dirty: dict[K, bool] = {}
        self._active: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._jitter = jitter
        self.woken = False
        """Whether anybody ever asked for a look."""

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Ask for a look at `key` as soon as a worker is free; asking twice is asking once.

        What is `urgent`, as something happened to it, goes before what is looked at to be sure.
        """
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self.woken = True
        patient = not urgent
        if self._dirty.get(key, True) <= patient and key in self._dirty:
            return
        self._dirty[key] = patient
        if key not in self._active:
            self._put(key)

    def _put(self, key: K) -> None:
        (self._patient if self._dirty[key] else self._urgent).put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for a look after `seconds`, unless one is due before."""
        if key in self._dirty:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        pending = self._timers.get(key)
        if pending is not None:
            if pending.when() <= due:
                return
            pending.cancel()
        self._timers[key] = loop.call_later(seconds, partial(self.add, key, urgent=True))

    async def run(self, reconcile: Reconcile[K], workers: int = 16, patient_workers: int = 2) -> None:
        """Work until cancelled.

        Few workers for what is not urgent: it comes in thousands, and what something happened to shares a loop with it.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for worker in range(workers + patient_workers):
                    group.create_task(self._work(reconcile, patient=worker < patient_workers))
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self, reconcile: Reconcile[K], *, patient: bool) -> None:
        while True:
            key = await (self._patient if patient else self._urgent).get()
            if key in self._active or self._dirty.get(key) != patient:
                continue  # it became urgent, and was looked at
            del self._dirty[key]
            self._active.add(key)
            delay: float | None = None
            try:
                delay = await reconcile(key)
                self._failures.pop(key, None)
            except Exception:
                failures = self._failures[key] = self._failures.get(key, 0) + 1
                delay = backoff(failures, self._jitter())
                log.exception("reconcile.failed", key=str(key), failures=failures, retry_seconds=round(delay, 1))
            finally:
                self._active.discard(key)
            if key in self._dirty:
                self._put(key)
            elif delay is not None:
                self.add_after(key, delay)


def backoff(failures: int, jitter: float) -> float:
    """Return the seconds to wait after so many failures in a row: doubling, half of it drawn by `jitter` in [0, 1)."""
    ceiling = min(_BACKOFF_LAST_SECONDS, _BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 16))
    return ceiling / 2 * (1 + jitter)
