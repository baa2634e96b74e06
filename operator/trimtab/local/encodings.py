"""JSON as bytes, and the bytes of stored objects: each is encoded once, however many are sent it."""

import json
from collections import OrderedDict
from typing import Any

import orjson

from trimtab.local.objects import Object

_RECENT = 1_024  # objects that are no longer current and whose bytes are kept: what watchers are about to be sent


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

    def keep(self, obj: Object) -> bytes:
        """Encode an object that is current from now on."""
        encoded = to_json(obj)
        self._current[id(obj)] = obj, encoded
        return encoded

    def release(self, obj: Object) -> None:
        """The object is current no longer."""
        if (found := self._current.pop(id(obj), None)) is not None:
            self._note(found)

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
        self._recent[id(found[0])] = found
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
