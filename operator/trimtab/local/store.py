"""Objects with one increasing version, a bounded history, and the watches on it; a journal makes them outlast us."""

import weakref
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable

from trimtab.local import statuses
from trimtab.local.encodings import Encodings
from trimtab.local.objects import Event, EventType, Object, key_of
from trimtab.local.state import records
from trimtab.local.state.journal import Journal
from trimtab.local.state.records import Saved
from trimtab.local.watching import Change, Filter, Watch, with_version

HISTORY = 4_096  # changes kept for watches that start from a version; older ones get 410
HISTORY_BYTES = 256 * 1024 * 1024  # of JSON in them at most; a change that is larger is kept alone


class Store:
    """Holds what was written. Objects are never changed in place: every write stores a new one.

    With a journal, what is stored here runs ahead of what is on disk: `durable` tells when they have met.
    """

    def __init__(self, journal: Journal | None = None, saved: Saved | None = None) -> None:
        """`saved` is what an earlier store left; watches from before it are told to list again."""
        self.version = saved.version if saved else 1
        self.encodings = Encodings()
        self._journal = journal
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._ordered: dict[str, list[tuple[str, str]]] = {}
        self._history: deque[Change] = deque()
        self._history_bytes = 0
        self._forgotten = saved.version if saved else 0
        self._watches: dict[str, weakref.WeakSet[Watch]] = defaultdict(weakref.WeakSet)
        if saved is not None:
            for resource, objects in saved.objects.items():
                self._objects[resource].update(objects)
        if journal is not None:
            journal.begin(self.version, self._everything)

    def _everything(self) -> Iterable[tuple[str, Object]]:
        return [(resource, obj) for resource, objects in self._objects.items() for obj in objects.values()]

    async def durable(self, version: int | None = None) -> None:
        """Wait until a version, or all there is, outlasts a crash. Raises ApiError 500 when it cannot."""
        if self._journal is not None:
            await self._journal.durable(self.version if version is None else version)

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        return self._objects[resource].get((namespace, name))

    def all(self, resource: str) -> list[Object]:
        """Every object of a resource, ordered as NAMESPACE/NAME reads (not by namespace, then name)."""
        objects = self._objects[resource]
        if (keys := self._ordered.get(resource)) is None:
            keys = self._ordered[resource] = sorted(objects, key="/".join)
        return [objects[key] for key in keys]

    def at(self, resource: str, version: int) -> list[Object]:
        """Every object of a resource as they were at a version that has been, in the same order.

        The history is undone from its end, so that no copies need to be kept.

        Raises:
            ApiError: 410 when the history no longer reaches back that far.
        """
        if version < self._forgotten:
            raise statuses.list_expired()
        objects = dict(self._objects[resource])
        for change in reversed(self._history):
            if change.version <= version:
                break
            if change.resource != resource:
                continue
            if change.before is None:
                objects.pop(key_of(change.object), None)
            else:
                objects[key_of(change.object)] = change.before
        return [objects[key] for key in sorted(objects, key="/".join)]

    def resources(self) -> Iterable[str]:
        return [resource for resource, objects in self._objects.items() if objects]

    def put(self, resource: str, obj: Object) -> Object:
        """Store a new object or a new version of one; returns it with its version."""
        key = key_of(obj)
        before = self._objects[resource].get(key)
        self.version += 1
        stored = with_version(obj, self.version)
        self._objects[resource][key] = stored
        encoded = self.encodings.keep(stored)
        if before is None:
            self._ordered.pop(resource, None)
        else:
            self.encodings.release(before)
        if self._journal is not None:
            self._journal.note(self.version, records.put(resource, encoded))
        kind: EventType = "MODIFIED" if before else "ADDED"
        self._publish(Change(self.version, resource, kind, stored, before, len(encoded)))
        return stored

    def refresh(self, resource: str, obj: Object) -> None:
        """Replace how a stored object reads, without a new version and unseen by watchers."""
        key = key_of(obj)
        self.encodings.release(self._objects[resource][key])
        self._objects[resource][key] = obj

    def remove(self, resource: str, obj: Object) -> Object:
        """Take an object away; returns its last state with the version of its removal."""
        key = key_of(obj)
        before = self._objects[resource].pop(key)
        self._ordered.pop(resource, None)
        size = self.encodings.release(before)
        self.version += 1
        if self._journal is not None:
            self._journal.note(self.version, records.removed(resource, *key, self.version))
        last = with_version(obj, self.version)
        # Watchers see what was stored, not what the last request made of it (finalizers taken off, for one).
        self._publish(Change(self.version, resource, "DELETED", with_version(before, self.version), before, size))
        return last

    def watch(self, resource: str, chosen: Filter, version: int | None) -> Watch:
        """Start a watch: from `version` on, or, for None and 0, with what is there as ADDED.

        A version that is still to come is waited for: nothing up to it is shown.

        Raises:
            ApiError: 410 when the history no longer reaches back to `version`.
        """
        watch = Watch(chosen, max(self.version, version or 0))
        if not version:
            for obj in self.all(resource):
                if chosen.admits(obj):
                    watch.push(Event("ADDED", obj))
        else:
            self._replay(watch, resource, version)
        self._watches[resource].add(watch)
        return watch

    def _replay(self, watch: Watch, resource: str, version: int) -> None:
        if version < self._forgotten:
            raise statuses.expired(version, self._forgotten)
        start = bisect_right(self._history, version, key=lambda change: change.version)
        for index in range(start, len(self._history)):
            if self._history[index].resource == resource:
                watch.replay(self._history[index])

    def close_watches(self, resource: str | None = None) -> None:
        """End the watches of a resource that is no longer served, or all."""
        for name in [resource] if resource else list(self._watches):
            for watch in list(self._watches[name]):
                watch.close()

    def _publish(self, change: Change) -> None:
        self._history.append(change)
        self._history_bytes += change.size
        while len(self._history) > HISTORY or (self._history_bytes > HISTORY_BYTES and len(self._history) > 1):
            oldest = self._history.popleft()
            self._history_bytes -= oldest.size
            self._forgotten = oldest.version
        for watch in list(self._watches[change.resource]):
            watch.offer(change)
