"""Objects in memory with one increasing version, a bounded history, and the watches on it."""

import weakref
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable

from trimtab.local import statuses
from trimtab.local.objects import Event, Object, key_of
from trimtab.local.watching import Change, Filter, Watch, with_version

HISTORY = 4_096  # changes kept for watches that start from a version; older ones get 410


class Store:
    """Holds what was written. Objects are never changed in place: every write stores a new one."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._forgotten = 0
        self._watches: dict[str, weakref.WeakSet[Watch]] = defaultdict(weakref.WeakSet)

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        return self._objects[resource].get((namespace, name))

    def all(self, resource: str) -> Iterable[Object]:
        """Every object of a resource, ordered by namespace and name."""
        objects = self._objects[resource]
        return [objects[key] for key in sorted(objects)]

    def resources(self) -> Iterable[str]:
        return [resource for resource, objects in self._objects.items() if objects]

    def put(self, resource: str, obj: Object) -> Object:
        """Store a new object or a new version of one; returns it with its version."""
        before = self._objects[resource].get(key_of(obj))
        self.version += 1
        stored = with_version(obj, self.version)
        self._objects[resource][key_of(obj)] = stored
        self._publish(Change(self.version, resource, "MODIFIED" if before else "ADDED", stored, before))
        return stored

    def refresh(self, resource: str, obj: Object) -> None:
        """Replace how a stored object reads, without a new version and unseen by watchers."""
        self._objects[resource][key_of(obj)] = obj

    def remove(self, resource: str, obj: Object) -> Object:
        """Take an object away; returns its last state with the version of its removal."""
        before = self._objects[resource].pop(key_of(obj))
        self.version += 1
        last = with_version(obj, self.version)
        self._publish(Change(self.version, resource, "DELETED", last, before))
        return last

    def watch(self, resource: str, chosen: Filter, version: int | None) -> Watch:
        """Start a watch: from `version` on, or, for None and 0, with what is there as ADDED.

        Raises:
            ApiError: 410 when the history no longer reaches back to `version`.
        """
        watch = Watch(chosen, self.version)
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
        if version > self.version:
            raise statuses.too_large_version(version, self.version)
        start = bisect_right(self._history, version, key=lambda change: change.version)
        for index in range(start, len(self._history)):
            if self._history[index].resource == resource:
                watch.offer(self._history[index])

    def close_watches(self, resource: str | None = None) -> None:
        """End the watches of a resource that is no longer served, or all."""
        for name in [resource] if resource else list(self._watches):
            for watch in list(self._watches[name]):
                watch.close()

    def _publish(self, change: Change) -> None:
        if len(self._history) == HISTORY:
            self._forgotten = self._history[0].version
        self._history.append(change)
        for watch in list(self._watches[change.resource]):
            watch.offer(change)
