"""What a kind adds to the rules that hold for every object."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trimtab.local.objects import Object
from trimtab.local.statuses import FieldError


class Neighbours(Protocol):
    """What the rules of a kind may look at beside the object itself."""

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        """Another object, or None."""

    def every(self, resource: str) -> Sequence[Object]:
        """All objects of a resource."""

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


def _status_valid(_new: Object, _old: Object) -> list[FieldError]:
    return []


@dataclass(frozen=True, slots=True)
class MetadataChecks:
    """How often a kind has its metadata checked, on top of what is checked for every object.

    A real server lists what it finds as often as it looks.

    Attributes:
        on_create: whether the kind checks the metadata of a new object itself.
        whole_on_update: how often it checks all of the metadata of an update.
        changes_on_update: how often it checks what an update changes of it.
        legacy_finalizers: whether finalizers need a domain.
    """

    on_create: bool = True
    whole_on_update: int = 1
    changes_on_update: int = 1
    legacy_finalizers: bool = True


CHANGES_ONLY = MetadataChecks(whole_on_update=0)
UNCHECKED = MetadataChecks(on_create=False, whole_on_update=0, changes_on_update=0, legacy_finalizers=False)


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
        validate_status: everything wrong with an update of the status subresource.
        metadata: how the kind checks metadata.
        commit: reserve what a new object takes from others, once nothing can fail any more.
        may_delete: refuse a deletion by raising an ApiError.
        on_delete: adapt what deletion does: the object, whether it is gone with it, and the time.
        returns_deleted: whether deletion answers with the object instead of a Status.
        unconditional: whether an update may leave out the resourceVersion.
        counts_annotations: whether a change of annotations counts as a new generation.
        counts_labels: whether a change of labels does.
        creates_on_update: whether a PUT of an object that is not there creates it.
        orphans_by_default: whether a deletion that says nothing about dependents leaves them.
        keeps_dependents: whether the kind has no dependents to collect, so that no finalizer waits for them.
    """

    default: Callable[[Object], None] = _nothing
    create: Callable[[Object], None] = _nothing
    admit: Callable[[Object, Neighbours], None] = _nothing_to_admit
    update: Callable[[Object, Object], None] = _nothing_to_keep
    update_status: Callable[[Object, Object], None] = _nothing_to_keep
    validate: Callable[[Object, Object | None], list[FieldError]] = _valid
    validate_status: Callable[[Object, Object], list[FieldError]] = _status_valid
    metadata: MetadataChecks = field(default_factory=MetadataChecks)
    commit: Callable[[Object, Neighbours], None] = _nothing_to_admit
    may_delete: Callable[[Object], None] = _deletable
    on_delete: Callable[[Object, bool, str], tuple[Object, bool]] = _deleted_plainly
    returns_deleted: bool = False
    unconditional: bool = True
    counts_annotations: bool = False
    counts_labels: bool = False
    creates_on_update: bool = False
    orphans_by_default: bool = False
    keeps_dependents: bool = False


NO_RULES = Rules()
RuleTable = Mapping[str, Rules]
