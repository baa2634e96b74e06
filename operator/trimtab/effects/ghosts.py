"""What Kopf's indices show although it is gone.

Kopf lists anew when the history of a watch was lost (410 Gone), and does not notice what went meanwhile: a deleted
model or pool would be kept in mind until the operator starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar

from trimtab.effects.kinds import Kind
from trimtab.effects.kubernetes import Cluster

Object = dict[str, Any]
K = TypeVar("K")
V = TypeVar("V")


class Living(Mapping[K, Collection[V]], Generic[K, V]):
    """An index without the objects that are known to be gone."""

    def __init__(self, index: Mapping[K, Collection[V]], gone: Collection[str], uid_of: Callable[[V], str]) -> None:
        """`gone` has uids; whoever made it goes on filling it."""
        self._index = index
        self._gone = gone
        self._uid_of = uid_of

    def _living(self, key: K) -> Collection[V]:
        return [item for item in self._index[key] if self._uid_of(item) not in self._gone]

    def __getitem__(self, key: K) -> Collection[V]:
        if not self._gone:
            return self._index[key]
        if living := self._living(key):
            return living
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return key in self._index and (not self._gone or bool(self._living(key)))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[K]:
        return (key for key in list(self._index) if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Ghosts:
    """Finds them by asking what there is."""

    def __init__(self, indices: Mapping[Kind, Mapping[Any, Collection[Object]]]) -> None:
        """`indices` are Kopf's own, by the kind of their objects, which have their metadata at least."""
        self._indices = indices
        self.gone: set[str] = set()
        """uids, which never come again."""

    async def look(self, cluster: Cluster) -> list[tuple[Kind, Object]]:
        """Note which objects are gone; return those of which nobody knew.

        Raises:
            NotYet: The API server does not answer.
        """
        found: list[tuple[Kind, Object]] = []
        for kind, index in self._indices.items():
            # Only what was known before we asked: what was made meanwhile is in no answer yet.
            known = {item["metadata"]["uid"]: item for key in list(index) for item in index.get(key, ())}
            living = await cluster.uids(kind)
            found += [(kind, item) for uid, item in known.items() if uid not in living and uid not in self.gone]
            self.gone |= known.keys() - living
        return found
