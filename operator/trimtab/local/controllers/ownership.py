"""The graph of who owns whom, and what deletion does along it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from trimtab.local.objects import Object

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Ref(NamedTuple):
    """An object anywhere in the cluster; the namespace is empty for cluster-scoped ones."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with one object.

    Attributes:
        delete: how to delete it (Background, Foreground or Orphan), None to leave it.
        lose: uids of owner references to take off, as those owners are gone.
    """

    delete: str | None = None
    lose: frozenset[str] = frozenset()


def verdict(
    obj: Object, present: Mapping[str, Object], known_kinds: frozenset[tuple[str, str]], *, owns: bool = False
) -> Verdict:
    """What becomes of an object in view of its owners.

    It stays while one of them is there and not waiting for its dependents to go; an owner of a kind
    that is not served cannot be judged, so the object stays as well. `present` is every object by uid,
    `known_kinds` the pairs of API group and kind that are served; `owns` says whether it has dependents
    itself, which a waiting owner waits for too.
    """
    references: Sequence[Object] = obj["metadata"].get("ownerReferences") or ()
    if not references or "deletionTimestamp" in obj["metadata"]:
        return Verdict()
    solid, waiting, absent = 0, 0, set()
    for reference in references:
        group = reference["apiVersion"].rpartition("/")[0]
        owner = present.get(reference["uid"])
        if (group, reference["kind"]) not in known_kinds or _cannot_own(owner, obj):
            solid += 1
        elif owner is None or not _same_scope(owner, obj):
            absent.add(reference["uid"])
        elif is_waiting(owner):
            waiting += 1
        else:
            solid += 1
    if solid:
        return Verdict(lose=frozenset(absent))
    if waiting and owns:
        return Verdict(delete="Foreground")
    return Verdict(delete=_own_policy(obj))


def _cannot_own(owner: Object | None, dependent: Object) -> bool:
    """An owner in a namespace of something in none: it cannot be looked for, so nothing follows from it."""
    return owner is not None and "namespace" in owner["metadata"] and "namespace" not in dependent["metadata"]


def _same_scope(owner: Object, dependent: Object) -> bool:
    namespace = owner["metadata"].get("namespace")
    return namespace is None or namespace == dependent["metadata"].get("namespace")


def _own_policy(obj: Object) -> str:
    finalizers = obj["metadata"].get("finalizers") or ()
    return "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"


def is_waiting(owner: Object) -> bool:
    """Whether an owner is being deleted and waits for its dependents to go first."""
    metadata = owner["metadata"]
    return "deletionTimestamp" in metadata and FOREGROUND in (metadata.get("finalizers") or ())


def is_orphaning(owner: Object) -> bool:
    """Whether an owner is being deleted and its dependents are to be set free."""
    metadata = owner["metadata"]
    return "deletionTimestamp" in metadata and ORPHAN in (metadata.get("finalizers") or ())


def blocks(dependent: Object, owner_uid: str) -> bool:
    """Whether the dependent keeps a waiting owner from going."""
    references: Sequence[Object] = dependent["metadata"].get("ownerReferences") or ()
    return any(r["uid"] == owner_uid and r.get("blockOwnerDeletion") for r in references)


@dataclass(slots=True)
class Graph:
    """Every object by uid, and who refers to whom."""

    objects: dict[str, Object] = field(default_factory=dict)
    refs: dict[str, Ref] = field(default_factory=dict)
    dependents: dict[str, set[str]] = field(default_factory=dict)

    def put(self, ref: Ref, obj: Object, old: Object | None) -> None:
        """Take note of an object's present state."""
        uid = obj["metadata"]["uid"]
        self._unlink(uid, old)
        self.objects[uid] = obj
        self.refs[uid] = ref
        for reference in obj["metadata"].get("ownerReferences") or ():
            self.dependents.setdefault(reference["uid"], set()).add(uid)

    def remove(self, obj: Object, old: Object | None) -> None:
        """Forget an object; what refers to it stays noted."""
        uid = obj["metadata"]["uid"]
        self._unlink(uid, old or obj)
        self.objects.pop(uid, None)
        self.refs.pop(uid, None)

    def _unlink(self, uid: str, old: Object | None) -> None:
        for reference in (old or {"metadata": {}})["metadata"].get("ownerReferences") or ():
            owned = self.dependents.get(reference["uid"])
            if owned is not None:
                owned.discard(uid)
                if not owned:
                    del self.dependents[reference["uid"]]

    def dependents_of(self, uid: str) -> list[str]:
        """Uids of the objects that name this one as an owner."""
        return sorted(self.dependents.get(uid, ()))
