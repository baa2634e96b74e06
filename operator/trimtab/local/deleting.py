"""What a deletion means: gone at once, or marked and waiting for finalizers, a grace period or dependents."""

from dataclasses import dataclass
from typing import Any

from trimtab.local import statuses
from trimtab.local.objects import Object
from trimtab.local.resources import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_PROPAGATION = {"Foreground": FOREGROUND, "Orphan": ORPHAN}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """`propagation` is Background, Foreground or Orphan; `grace_seconds` matters to pods only."""

    propagation: str | None = None
    grace_seconds: int | None = None
    preconditions: Object | None = None


def check_preconditions(resource: Resource, obj: Object, wanted: Object | None) -> None:
    """Refuse to delete another object than the one that was meant. Raises ApiError 409."""
    metadata, name = obj["metadata"], obj["metadata"]["name"]
    kind = resource.kind
    wanted = wanted or {}
    if (uid := wanted.get("uid")) and uid != metadata["uid"]:
        raise statuses.conflict(
            resource,
            name,
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated",
            kind,
        )
    if (version := wanted.get("resourceVersion")) and version != metadata["resourceVersion"]:
        raise statuses.conflict(
            resource,
            name,
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified",
            kind,
        )


def marked(resource: Resource, obj: Object, options: DeleteOptions, now: str) -> tuple[Object, bool]:
    """The object as its deletion leaves it, and whether it is gone with that.

    A bound pod waits for its node; what has finalizers waits for their owners. Marking counts as a change
    of generation, as a controller has to act on it.
    """
    metadata = dict(obj["metadata"])
    finalizers = _finalizers(metadata, options.propagation)
    grace = _grace(resource, obj, options)
    already = metadata.get("deletionTimestamp")
    waits = bool(finalizers) or grace > 0
    if already and grace >= metadata.get("deletionGracePeriodSeconds", 0) and waits:
        grace = metadata.get("deletionGracePeriodSeconds", 0)
    elif waits or resource.key == "pods":
        metadata["deletionTimestamp"] = already or now
        metadata["deletionGracePeriodSeconds"] = grace
        if not already and metadata.get("generation"):
            metadata["generation"] += 1
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    return {**obj, "metadata": metadata}, not waits


def _finalizers(metadata: dict[str, Any], propagation: str | None) -> list[str]:
    current = list(metadata.get("finalizers") or [])
    if propagation is None:
        return current
    kept = [f for f in current if f not in (FOREGROUND, ORPHAN)]
    wanted = _PROPAGATION.get(propagation)
    return [*kept, wanted] if wanted else kept


def _grace(resource: Resource, obj: Object, options: DeleteOptions) -> int:
    """Seconds that a pod gets; nothing else has a grace period."""
    if resource.key != "pods":
        return 0
    if not obj["spec"].get("nodeName") or obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace_seconds is not None:
        return max(options.grace_seconds, 0)
    grace: int = obj["spec"].get("terminationGracePeriodSeconds", 30)
    return grace


def finished(obj: Object) -> bool:
    """Whether nothing holds a marked object any more."""
    metadata = obj["metadata"]
    waiting = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return bool(metadata.get("deletionTimestamp")) and not waiting
