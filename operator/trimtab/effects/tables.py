"""What is kept of the cluster's objects: by the key that makes looking it up cheap, and no more than is read.

A whole object as Python dicts takes ten times its JSON, and an operator for thousands of models keeps tens of thousands
of objects. What every look reads is kept as small dicts; what is read seldom is kept packed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from sys import intern
from typing import Any, Generic, NamedTuple, TypeVar, cast

Object = dict[str, Any]
Identity = tuple[str, str]
"""Namespace (empty for none) and name."""

K = TypeVar("K")


def identity(item: Object) -> Identity:
    meta = item["metadata"]
    return meta.get("namespace") or "", meta["name"]


def pack(item: Object) -> bytes:
    """Return an object in a tenth of the memory."""
    return zlib.compress(json.dumps(item, separators=(",", ":")).encode(), 1)


def unpack(packed: bytes) -> Object:
    return cast("Object", json.loads(zlib.decompress(packed)))


def interned(item: Any) -> Any:
    """Return the same JSON with one copy of each string that others are likely to have as well."""
    if isinstance(item, dict):
        return {intern(name): interned(value) for name, value in item.items()}
    if isinstance(item, list):
        return [interned(value) for value in item]
    return intern(item) if type(item) is str and len(item) < 64 else item


class Table(Mapping[K, Collection[Object]], Generic[K]):
    """Objects by a key that several may share; those whose key is None are left out."""

    def __init__(
        self, key_of: Callable[[Object], K | None], keep: Callable[[Object], Object], *, packed: bool = False
    ) -> None:
        """`keep` makes what is kept of an object; `packed` where it is read seldom."""
        self._key_of = key_of
        self._keep = keep
        self._packed = packed
        self._keys: dict[Identity, K] = {}
        self._groups: dict[K, dict[Identity, Object | bytes]] = {}
        self.changes = 0
        """How often anything became another one than it was."""
        self.newest = 0
        """The highest resource version that a watch told."""

    def put(self, item: Object) -> bool:
        """Take an object in as it is now; return whether that differs from what was kept."""
        key, who = self._key_of(item), identity(item)
        if who in self._keys and (key is None or self._keys[who] != key):
            self.drop(who)
        if key is None:
            return False
        kept = pack(self._keep(item)) if self._packed else interned(self._keep(item))
        group = self._groups.setdefault(key, {})
        if group.get(who) == kept:
            return False
        group[who] = kept
        self.changes += 1
        self._keys[who] = key
        return True

    def drop(self, who: Identity) -> bool:
        """Forget an object; return whether it was there."""
        if who not in self._keys:
            return False
        key = self._keys.pop(who)
        self.changes += 1
        group = self._groups[key]
        del group[who]
        if not group:
            del self._groups[key]
        return True

    def mark(self, key: K) -> object | None:
        """Return what is another object once the only one of a key is another one than it was; None for several."""
        kept = self._groups.get(key, {})
        return next(iter(kept.values())) if len(kept) == 1 else None

    def __getitem__(self, key: K) -> Collection[Object]:
        kept = self._groups[key].values()
        return (
            [unpack(cast("bytes", item)) for item in kept] if self._packed else cast("Collection[Object]", list(kept))
        )

    def __contains__(self, key: object) -> bool:
        return key in self._groups

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._groups))

    def __len__(self) -> int:
        return len(self._groups)


class Packed(NamedTuple):
    """A packed object, what tells it from another one of its name, and what is asked of it too often to unpack it."""

    uid: str
    body: bytes
    note: Any = None


class Unpacked(Mapping[K, Collection[Object]], Generic[K]):
    """An index of packed objects, read as the objects."""

    def __init__(self, packed: Mapping[K, Collection[Packed]]) -> None:
        self._packed = packed

    def __getitem__(self, key: K) -> Collection[Object]:
        return [unpack(item.body) for item in self._packed[key]]

    def mark(self, key: K) -> object | None:
        """Return what is another object once the only one of a key was told anew; None for several."""
        kept = list(self._packed.get(key, ()))
        return kept[0].body if len(kept) == 1 else None

    def notes(self) -> Iterator[tuple[K, Any]]:
        """Yield what is noted of each object, with its key."""
        for key in self._packed:
            for item in self._packed.get(key, ()):
                yield key, item.note

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._packed))

    def __len__(self) -> int:
        return len(self._packed)
