"""What Kopf's indices show although it is gone.

Kopf lists anew when the history of a watch was lost (410 Gone), and does not notice what went meanwhile: a deleted
model would be kept in mind until the operator starts anew, and a new one of its name would be mistaken for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar

from trimtab.effects.kinds import Kind
from trimtab.effects.kubernetes import Cluster

Object = dict[str, Any]
K = TypeVar("K")


class Living(Mapping[K, Collection[Object]], Generic[K]):
    """An index without the objects that are known to be gone."""

    def __init__(self, index: Mapping[K, Collection[Object]], gone: Collection[str]) -> None:
        """`gone` has uids; whoever made it goes on filling it."""
        self._index = index
        self._gone = gone

    def __getitem__(self, key: K) -> Collection[Object]:
        if not self._gone:
            return self._index[key]
        living = [item for item in self._index[key] if item["metadata"]["uid"] not in self._gone]
        if not living:
            raise KeyError(key)
        return living

    def __iter__(self) -> Iterator[K]:
        return (key for key in list(self._index) if not self._gone or key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Ghosts:
    """Finds them by asking what there is."""

    def __init__(self, indices: Mapping[Kind, Mapping[Any, Collection[Object]]]) -> None:
        """`indices` are Kopf's own, in which each object has its metadata."""
        self._indices = indices
        self.gone: set[str] = set()
        """uids, which never come again."""

    async def look(self, cluster: Cluster) -> list[Object]:
        """Note which objects are gone; return those of which nobody knew.

        Raises ApiError and ApiUnavailable.
        """
        found: list[Object] = []
        for kind, index in self._indices.items():
            # Only what was known before we asked: what was made meanwhile is in no answer yet.
            known = {item["metadata"]["uid"]: item for key in list(index) for item in index.get(key, ())}
            living = await cluster.uids(kind)
            found += [item for uid, item in known.items() if uid not in living and uid not in self.gone]
            self.gone |= known.keys() - living
            self.gone -= living
        return found
