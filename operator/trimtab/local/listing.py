"""A piece of a list: the objects that are asked for, up to a limit, and where the rest begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trimtab.local.objects import Object


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a list.

    Attributes:
        items: the objects, in order.
        next_key: where the rest begins; empty when nothing is left.
        left: how many objects are left, selected or not.
    """

    items: list[Object]
    next_key: str = ""
    left: int = 0


def piece_of(
    objects: Sequence[Object], admits: Callable[[Object], bool], limit: int, start: str, *, within: bool
) -> Piece:
    """The first `limit` (0: all) of the ordered `objects` that are admitted, from the key `start` on.

    `within` says that all objects are of one namespace: keys are then names, else NAMESPACE/NAME. As on a real
    server a list with selectors may say that something is left when none of it would be selected.
    """
    items: list[Object] = []
    for index, obj in enumerate(objects):
        if start and _key(obj, within) < start:
            continue
        if limit and len(items) == limit:
            return Piece(items, _key(items[-1], within) + "\0", len(objects) - index)
        if admits(obj):
            items.append(obj)
    return Piece(items)


def _key(obj: Object, within: bool) -> str:
    metadata = obj["metadata"]
    name: str = metadata["name"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{name}" if namespace and not within else name
