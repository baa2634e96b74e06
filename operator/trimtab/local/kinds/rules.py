"""What a kind adds to the rules that hold for every object."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from trimtab.local.objects import Object
from trimtab.local.statuses import FieldError


class Neighbours(Protocol):
    """What the rules of a kind may look at beside the object itself."""

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        """Another object, or None."""

    def allocate_service_ip(self, wanted: str | None) -> str:
        """Reserve an address of the service range; `wanted` if it is free and given.

        Raises:
            ValueError: `wanted` is outside of the range or taken, or the range is exhausted.
        """


def _nothing(_obj: Object) -> None:
    return


def _nothing_to_admit(_obj: Object, _neighbours: Neighbours) -> None:
    return


def _nothing_to_keep(_new: Object, _old: Object) -> None:
    return


def _valid(_new: Object, _old: Object | None) -> list[FieldError]:
    return []


def _deletable(_obj: Object) -> None:
    return


def _deleted_plainly(obj: Object, gone: bool, _now: str) -> tuple[Object, bool]:
    return obj, gone


def no_status(obj: Object) -> None:
    """Most kinds: a creator cannot set the status."""
    obj["status"] = {}


@dataclass(frozen=True, slots=True)
class Rules:
    """Hooks of one kind; all of them change the object they are given in place.

    Attributes:
        default: fill in defaults; runs after every decoding.
        create: drop and set what a creator may not decide.
        admit: the same, where it depends on other objects.
        update: keep what an update of the main resource may not change.
        update_status: the same for the status subresource.
        validate: everything wrong with the new object; the old one is None for a creation.
        commit: reserve what a new object takes from others, once nothing can fail any more.
        may_delete: refuse a deletion by raising an ApiError.
        on_delete: adapt what deletion does: the object, whether it is gone with it, and the time.
        returns_deleted: whether deletion answers with the object instead of a Status.
        unconditional: whether an update may leave out the resourceVersion.
    """

    default: Callable[[Object], None] = _nothing
    create: Callable[[Object], None] = _nothing
    admit: Callable[[Object, Neighbours], None] = _nothing_to_admit
    update: Callable[[Object, Object], None] = _nothing_to_keep
    update_status: Callable[[Object, Object], None] = _nothing_to_keep
    validate: Callable[[Object, Object | None], list[FieldError]] = _valid
    commit: Callable[[Object, Neighbours], None] = _nothing_to_admit
    may_delete: Callable[[Object], None] = _deletable
    on_delete: Callable[[Object, bool, str], tuple[Object, bool]] = _deleted_plainly
    returns_deleted: bool = False
    unconditional: bool = True


NO_RULES = Rules()
RuleTable = Mapping[str, Rules]
