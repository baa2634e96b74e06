"""What a pod's object says about the pod."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp, seconds_until

if TYPE_CHECKING:
    from collections.abc import Sequence

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


def condition(obj: Object, kind: str) -> Object | None:
    """The condition of that type, if the object has it."""
    found: Object | None = next((c for c in obj.get("status", {}).get("conditions") or () if c["type"] == kind), None)
    return found


def condition_is_true(obj: Object, kind: str) -> bool:
    """Whether the object has that condition and it holds."""
    found = condition(obj, kind)
    return found is not None and found["status"] == "True"


def phase(pod: Object) -> str:
    """A pod that says nothing yet is Pending."""
    return str(pod.get("status", {}).get("phase") or "Pending")


def is_finished(pod: Object) -> bool:
    """Whether the pod will never run again."""
    return phase(pod) in FINISHED_PHASES


def is_terminating(pod: Object) -> bool:
    """Whether the pod was told to go."""
    return "deletionTimestamp" in pod["metadata"]


def is_active(pod: Object) -> bool:
    """Whether the pod counts as a replica: neither finished nor told to go."""
    return not is_finished(pod) and not is_terminating(pod)


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition holds."""
    return condition_is_true(pod, "Ready")


def ready_since(pod: Object) -> datetime | None:
    """Since when the pod has been ready, where it is and says so."""
    found = condition(pod, "Ready")
    if found is None or found["status"] != "True" or not found.get("lastTransitionTime"):
        return None
    return parse_stamp(found["lastTransitionTime"])


def available_in(pod: Object, min_ready_seconds: int, now: datetime) -> float | None:
    """Seconds until the pod counts as available: 0 when it does, None while it is not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    if min_ready_seconds == 0 or since is None:
        return 0.0
    return seconds_until(since + timedelta(seconds=min_ready_seconds), now)


def node_name(pod: Object) -> str | None:
    """The node the pod is bound to."""
    name = pod["spec"].get("nodeName")
    return str(name) if name else None


def containers(pod: Object) -> Sequence[Object]:
    """The pod's main containers."""
    found: Sequence[Object] = pod["spec"].get("containers") or ()
    return found


def init_containers(pod: Object) -> Sequence[Object]:
    """The pod's init containers, in their order."""
    found: Sequence[Object] = pod["spec"].get("initContainers") or ()
    return found


def container_statuses(pod: Object) -> Sequence[Object]:
    """What the node agent reported of the main containers."""
    found: Sequence[Object] = pod.get("status", {}).get("containerStatuses") or ()
    return found


def restarts(pod: Object) -> int:
    """Restarts of the main containers together."""
    return sum(int(s.get("restartCount", 0)) for s in container_statuses(pod))


def with_condition(conditions: Sequence[Object], new: Object, now: str) -> list[Object]:
    """The conditions with `new` in place of its type; the transition time moves only with the status."""
    old = next((c for c in conditions if c["type"] == new["type"]), None)
    moved = old is None or old["status"] != new["status"]
    since = now if moved or old is None else old.get("lastTransitionTime") or now
    changed = {**new, "lastTransitionTime": since}
    if old is None:
        return [*conditions, changed]
    return [changed if c is old else c for c in conditions]
