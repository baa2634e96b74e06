"""The models as they are, their replicas over time, and who is to be told of changes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from trimtab.cli.dashboard.card import card, key_of

Json = dict[str, Any]
# Changes, not samples: what stays the same takes no room, however long it stays.
HISTORY_CHANGES = 500
_COALESCE_S = 0.25


class Point(NamedTuple):
    """Replicas since a moment."""

    at: float
    """Seconds since the epoch."""
    desired: int
    on_demand: int
    spot: int


class Board:
    """Holds a card and a history per model. Listeners hear which models changed, several changes as one."""

    def __init__(self, clock: Callable[[], float], history: int = HISTORY_CHANGES) -> None:
        self._clock = clock
        self._limit = history
        self._cards: dict[str, Json] = {}
        self._histories: dict[str, deque[Point]] = {}
        self._listeners: set[_Listener] = set()

    def put(self, model: Json) -> None:
        """Take a model as it is now."""
        key = key_of(model)
        new = card(model)
        if self._cards.get(key) == new:
            return
        self._cards[key] = new
        replicas = new.get("replicas") or {}
        point = Point(self._clock(), replicas.get("desired", 0), replicas.get("onDemand", 0), replicas.get("spot", 0))
        history = self._histories.setdefault(key, deque(maxlen=self._limit))
        if not history or history[-1][1:] != point[1:]:
            history.append(point)
        self._tell(key)

    def drop(self, model: Json) -> None:
        """Forget a model that was deleted."""
        key = key_of(model)
        if self._cards.pop(key, None) is not None:
            del self._histories[key]
            self._tell(key)

    def shown(self, key: str) -> Json | None:
        """Return what the page shows of a model, its history included, or None when it is gone."""
        found = self._cards.get(key)
        return None if found is None else found | {"history": [list(point) for point in self._histories[key]]}

    def all(self) -> list[Json]:
        """Return all models, by key."""
        return [shown for key in sorted(self._cards) if (shown := self.shown(key)) is not None]

    @contextmanager
    def listening(self) -> Iterator[_Listener]:
        """Lend an ear that has all models to tell at first, then those that changed."""
        listener = _Listener(set(self._cards))
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        """How many pages are open."""
        return len(self._listeners)

    def _tell(self, key: str) -> None:
        for listener in self._listeners:
            listener.add(key)


class _Listener:
    """Keys that somebody has not heard of yet. Slow readers cost a set of names, not a queue of messages."""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys
        self._some = asyncio.Event()
        self._some.set()

    def add(self, key: str) -> None:
        self._keys.add(key)
        self._some.set()

    async def changes(self, heartbeat_s: float) -> AsyncIterator[list[str]]:
        """Yield what changed since the last time, sorted; an empty list when nothing did for `heartbeat_s`.

        The first list has every model and may be empty.
        """
        while True:
            keys = sorted(self._keys)
            self._keys.clear()
            self._some.clear()
            yield keys
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self._some.wait()
            except TimeoutError:
                continue
            # What changes together is told together.
            await asyncio.sleep(_COALESCE_S)
