"""A queue of keys: each at most once, one reconcile at a time, failures tried again later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

import structlog

log = structlog.get_logger(__name__)

RETRY_FIRST_S = 0.05
RETRY_LONGEST_S = 30.0


class Key(NamedTuple):
    """Identifies an object of one resource; the namespace is empty for cluster-scoped ones."""

    namespace: str
    name: str


K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Coalesces keys: a key that is added while it waits is reconciled once.

    `reconcile` returns the seconds after which to look again, or None to wait for a change.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._ready: dict[K, None] = {}  # a dict keeps the order and drops duplicates
        self._wake = asyncio.Event()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Reconcile the key soon."""
        self._ready[key] = None
        self._wake.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Reconcile the key at the latest then; an earlier timer stays."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        running = self._timers.get(key)
        if running is not None:
            if running.when() <= due:
                return
            running.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    async def run(self, reconcile: Callable[[K], float | None]) -> None:
        """Reconcile keys until cancelled."""
        try:
            while True:
                await self._wake.wait()
                while self._ready:
                    key = next(iter(self._ready))
                    del self._ready[key]
                    self._reconcile(reconcile, key)
                    await asyncio.sleep(0)  # requests and other controllers run between two keys
                self._wake.clear()
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def _fire(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _reconcile(self, reconcile: Callable[[K], float | None], key: K) -> None:
        try:
            again_in = reconcile(key)
        except Exception as error:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            delay = min(RETRY_LONGEST_S, RETRY_FIRST_S * 2**failures)
            log.warning(
                "reconcile.failed",
                controller=self._name,
                key=key,
                retry_s=delay,
                error=str(error),
                exc_info=failures == 3,  # a conflict settles by itself; what lasts deserves its traceback
            )
            self.add_after(key, delay)
            return
        self._failures.pop(key, None)
        if again_in is not None:
            self.add_after(key, again_in)
