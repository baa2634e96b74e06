"""JSON as bytes, and the bytes of stored objects: each is encoded once, however many are sent it."""

import json
from collections import OrderedDict
from typing import Any

import orjson

from trimtab.local.objects import Object

# Objects that are no longer current and whose bytes are kept, as watchers are about to be sent them: so many, so large.
_RECENT = 1_024
_RECENT_BYTES = 64 * 1024 * 1024


class Encoded:
    """An object whose JSON is known; `to_json` takes it in place of the object."""

    __slots__ = ("json", "object")

    def __init__(self, obj: Object, encoded: bytes) -> None:
        self.object = obj
        self.json = encoded


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8, with keys in their order; `value` may hold `Encoded` objects."""
    try:
        return orjson.dumps(value, default=_known)
    except TypeError:  # numbers beyond 64 bits and halves of surrogate pairs
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_itself)
        return text.encode("utf-8", "replace")


def _known(value: Any) -> Any:
    if isinstance(value, Encoded):
        return orjson.Fragment(value.json)
    raise TypeError


def _itself(value: Any) -> Any:
    if isinstance(value, Encoded):
        return value.object
    raise TypeError(f"{type(value).__name__} is no JSON")


class Encodings:
    """Remembers the bytes of objects that never change: those that are current, and the most recent of the others.

    An object is known by its identity, so it is kept beside its bytes.
    """

    def __init__(self) -> None:
        self._current: dict[int, tuple[Object, bytes]] = {}
        self._recent: OrderedDict[int, tuple[Object, bytes]] = OrderedDict()
        self._recent_bytes = 0

    def keep(self, obj: Object) -> bytes:
        """Encode an object that is current from now on."""
        encoded = to_json(obj)
        self._current[id(obj)] = obj, encoded
        return encoded

    def release(self, obj: Object) -> int:
        """The object is current no longer; returns the bytes of its JSON, 0 where they are not known."""
        if (found := self._current.pop(id(obj), None)) is None:
            return 0
        self._note(found)
        return len(found[1])

    def known(self, obj: Object) -> Object | Encoded:
        """The object, with its JSON where that is there already."""
        found = self._current.get(id(obj))
        return Encoded(*found) if found is not None else obj

    def bytes_of(self, obj: Object) -> bytes:
        """The JSON of any object that will not be changed."""
        found = self._current.get(id(obj)) or self._recent.get(id(obj))
        if found is None:
            found = (obj, to_json(obj))
            self._note(found)
        return found[1]

    def _note(self, found: tuple[Object, bytes]) -> None:
        if (before := self._recent.pop(id(found[0]), None)) is not None:
            self._recent_bytes -= len(before[1])
        self._recent[id(found[0])] = found
        self._recent_bytes += len(found[1])
        while len(self._recent) > _RECENT or self._recent_bytes > _RECENT_BYTES:
            _, (_, oldest) = self._recent.popitem(last=False)
            self._recent_bytes -= len(oldest)
