"""Models as the API server answered our writes: a watch may show them later than the next look."""

from __future__ import annotations

from typing import Any, NamedTuple

from trimtab.api.names import Key
from trimtab.effects.keeping import whole
from trimtab.effects.tables import pack, unpack

Object = dict[str, Any]


class _Answer(NamedTuple):
    """What came back from one write."""

    version: int
    uid: str
    body: bytes
    """Packed: thousands of models may be written before any is looked at again."""


class Written:
    """The last answer for each model that no watch has shown yet."""

    def __init__(self) -> None:
        self._answers: dict[Key, _Answer] = {}

    def note(self, key: Key, body: Object) -> None:
        """Remember what the API server answered to a write."""
        meta = body["metadata"]
        self._answers[key] = _Answer(int(meta["resourceVersion"]), meta["uid"], pack(whole(body)))

    def __contains__(self, key: Key) -> bool:
        return key in self._answers

    def forget(self, key: Key) -> None:
        """Drop what is known of a model that is gone."""
        self._answers.pop(key, None)

    def newest(self, key: Key, seen: Object | None) -> Object | None:
        """Return the model as the watch shows it, `seen`, or as it was written where that is newer."""
        ours = self._answers.get(key)
        if seen is None or ours is None:
            return seen
        # Since Kubernetes 1.35 resource versions may be compared as numbers (KEP-5504).
        if ours.version > int(seen["metadata"]["resourceVersion"]) and ours.uid == seen["metadata"]["uid"]:
            return unpack(ours.body)
        del self._answers[key]
        return seen
