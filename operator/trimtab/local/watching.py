"""Watches: a queue of events per watcher, filtered by its selectors, fed by the store."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from trimtab.local.objects import Event, EventType, Object
from trimtab.local.selectors import Matcher

# How far a watcher may lag behind before its watch ends and it has to list again: events, and bytes of JSON in them.
BACKLOG = 20_000
BACKLOG_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """One write, as the history keeps it: `before` is None for a creation, `size` the bytes of the object's JSON."""

    version: int
    resource: str
    type: EventType
    object: Object
    before: Object | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which objects a watcher sees."""

    namespace: str | None = None
    labels: Matcher | None = None
    fields: Matcher | None = None

    def admits(self, obj: Object) -> bool:
        if self.namespace and obj["metadata"].get("namespace") != self.namespace:
            return False
        return (self.labels is None or self.labels(obj)) and (self.fields is None or self.fields(obj))

    def event_of(self, change: Change) -> Event | None:
        """The change as this watcher sees it: leaving the selection reads as DELETED, entering as ADDED."""
        before = change.before is not None and self.admits(change.before)
        if change.type == "DELETED":
            return Event("DELETED", change.object) if before else None
        now = self.admits(change.object)
        if now:
            return Event("MODIFIED" if before else "ADDED", change.object)
        if before and change.before is not None:
            return Event("DELETED", with_version(change.before, change.version))
        return None


def with_version(obj: Object, version: int) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


@dataclass(eq=False)
class Watch(AsyncIterator[Event]):
    """An open watch. It is subscribed from its creation on; `close` ends the iteration.

    `version` is the newest version that the watcher has been shown or has been spared.
    """

    filter: Filter
    version: int
    _events: deque[tuple[Event, int]] = field(default_factory=deque)
    _bytes: int = 0
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def offer(self, change: Change) -> None:
        """Called by the store for every change of the watched resource."""
        if self._closed or change.version <= self.version:
            return
        self.version = change.version
        self.replay(change)

    def replay(self, change: Change) -> None:
        """A change from before the watch was opened."""
        if (event := self.filter.event_of(change)) is not None:
            self.push(event, change.size)

    def push(self, event: Event, size: int = 0) -> None:
        """Queue an event; `size` is what it keeps in memory that would else be forgotten."""
        self._bytes += size
        if len(self._events) >= BACKLOG or self._bytes > BACKLOG_BYTES:
            self.close()
            return
        self._events.append((event, size))
        self._woken.set()

    def close(self) -> None:
        """End the watch: what is queued is dropped and the iteration stops."""
        self._closed = True
        self._events.clear()
        self._woken.set()

    async def aclose(self) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def ready(self) -> Event | None:
        """The next event if one is queued."""
        if not self._events:
            return None
        event, size = self._events.popleft()
        self._bytes -= size
        return event

    async def __anext__(self) -> Event:
        while True:
            if (event := self.ready()) is not None:
                return event
            if self._closed:
                raise StopAsyncIteration
            self._woken.clear()
            await self._woken.wait()
