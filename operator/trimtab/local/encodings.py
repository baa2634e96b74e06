"""JSON as bytes, and the bytes of stored objects: each is encoded once, however many are sent it."""

import json
from collections import OrderedDict
from typing import Any

import orjson

from trimtab.local.objects import Object

_RECENT = 1_024  # objects that are no longer current and whose bytes are kept: what watchers are about to be sent


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8, with keys in their order."""
    try:
        return orjson.dumps(value)
    except TypeError:  # numbers beyond 64 bits and halves of surrogate pairs
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


class Encodings:
    """Remembers the bytes of objects that never change: those that are current, and the most recent of the others.

    An object is known by its identity, so it is kept beside its bytes.
    """

    def __init__(self) -> None:
        self._current: dict[int, tuple[Object, bytes]] = {}
        self._recent: OrderedDict[int, tuple[Object, bytes]] = OrderedDict()

    def keep(self, obj: Object) -> bytes:
        """Encode an object that is current from now on."""
        encoded = to_json(obj)
        self._current[id(obj)] = obj, encoded
        return encoded

    def release(self, obj: Object) -> None:
        """The object is current no longer."""
        if (found := self._current.pop(id(obj), None)) is not None:
            self._note(found)

    def bytes_of(self, obj: Object) -> bytes:
        """The JSON of any object that will not be changed."""
        found = self._current.get(id(obj)) or self._recent.get(id(obj))
        if found is None:
            found = (obj, to_json(obj))
            self._note(found)
        return found[1]

    def _note(self, found: tuple[Object, bytes]) -> None:
        self._recent[id(found[0])] = found
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
