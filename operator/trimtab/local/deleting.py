"""What a deletion means: gone at once, or marked and waiting for finalizers, a grace period or dependents."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.local import statuses
from trimtab.local.kinds.served import Served
from trimtab.local.objects import Object
from trimtab.local.resources import Resource
from trimtab.local.times import parse_stamp, stamp

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
    uid, version = wanted.get("uid"), wanted.get("resourceVersion")
    if uid is not None and uid != metadata["uid"]:
        raise statuses.conflict(
            resource,
            name,
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated",
            kind,
        )
    if version is not None and version != metadata["resourceVersion"]:
        raise statuses.conflict(
            resource,
            name,
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified",
            kind,
        )


def marked(served: Served, obj: Object, options: DeleteOptions, now: datetime) -> tuple[Object, bool]:
    """The object as its deletion leaves it, and whether it is gone with that.

    A bound pod waits for its node; what has finalizers waits for their owners. Marking counts as a change
    of generation, as a controller has to act on it.
    """
    graceful = served.resource.key == "pods"
    metadata = dict(obj["metadata"])
    grace = _grace(obj, options) if graceful else 0
    left = metadata.get("deletionGracePeriodSeconds") or 0
    if metadata.get("deletionTimestamp") and left and (options.grace_seconds is None or grace >= left):
        return obj, False  # it goes already, and only a shorter time would change that
    finalizers = _finalizers(served, metadata, options.propagation)
    if not (graceful or finalizers):
        return obj, True
    _mark(metadata, grace, left, now)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    return {**obj, "metadata": metadata}, not (finalizers or grace)


def _mark(metadata: Object, grace: int, left: int, now: datetime) -> None:
    """Note when the object will be gone, at the latest."""
    already = metadata.get("deletionTimestamp")
    if not already and metadata.get("generation"):
        metadata["generation"] += 1
    began = parse_stamp(already) - timedelta(seconds=left) if already else now
    metadata["deletionTimestamp"] = stamp(began + timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace


def _finalizers(served: Served, metadata: Object, propagation: str | None) -> list[str]:
    current = list(metadata.get("finalizers") or [])
    if served.rules.keeps_dependents:
        return current
    kept = [f for f in current if f not in (FOREGROUND, ORPHAN)]
    if propagation is None:
        if len(kept) != len(current):
            return current
        propagation = "Orphan" if served.rules.orphans_by_default else "Background"
    wanted = _PROPAGATION.get(propagation)
    if wanted in current and len(kept) + 1 == len(current):
        return current
    return [*kept, wanted] if wanted else kept


def _grace(pod: Object, options: DeleteOptions) -> int:
    """Seconds that a pod gets; nothing else has a grace period."""
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    grace: int | None = options.grace_seconds
    if grace is None:
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
    return 1 if grace < 0 else grace


def finished(obj: Object) -> bool:
    """Whether nothing holds a marked object any more; a namespace has finalizers of its own in its spec."""
    metadata = obj["metadata"]
    waiting = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    if obj["kind"] == "Namespace":
        waiting = waiting or (obj.get("spec") or {}).get("finalizers")
    return bool(metadata.get("deletionTimestamp")) and not waiting
