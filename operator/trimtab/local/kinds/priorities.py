"""Priorities: the classes that every cluster has, and what a class means for a pod."""

from collections.abc import Mapping
from typing import Any

from trimtab.local.kinds.rules import Neighbours
from trimtab.local.objects import Object
from trimtab.local.statuses import ApiError

RESOURCE = "priorityclasses.scheduling.k8s.io"
_PREEMPTS = "PreemptLowerPriority"

SYSTEM_CLASSES: Mapping[str, Object] = {
    "system-cluster-critical": {
        "value": 2_000_000_000,
        "description": (
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."
        ),
    },
    "system-node-critical": {
        "value": 2_000_001_000,
        "description": "Used for system critical pods that must not be moved from their current node.",
    },
}


def system_class(name: str) -> Object:
    """One of the classes that every cluster has."""
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    return {**kind, "metadata": {"name": name}, **SYSTEM_CLASSES[name], "preemptionPolicy": _PREEMPTS}


def admit_priority(pod: Object, neighbours: Neighbours) -> None:
    """Write the number behind the pod's class; without one, that of the default class, if there is one.

    Raises:
        ApiError: 403 for a class that is not there, and for numbers given by hand that differ.
    """
    spec = pod["spec"]
    name = spec.get("priorityClassName")
    found = neighbours.find(RESOURCE, "", name) if name else _default_class(neighbours)
    if name and found is None:
        raise _forbidden(pod, f"no PriorityClass with name {name} was found")
    if found is not None:
        spec["priorityClassName"] = found["metadata"]["name"]
    priority = found["value"] if found is not None else 0
    policy = (found or {}).get("preemptionPolicy", _PREEMPTS)
    _refuse_other(pod, "priority", "integer value of priority", priority)
    _refuse_other(pod, "preemptionPolicy", "string value of PreemptionPolicy", policy)
    spec["priority"], spec["preemptionPolicy"] = priority, policy


def _default_class(neighbours: Neighbours) -> Object | None:
    """Of several, which older states may hold, the least important."""
    found = [c for c in neighbours.every(RESOURCE) if c.get("globalDefault")]
    return min(found, key=lambda c: int(c["value"]), default=None)


def _refuse_other(pod: Object, field: str, words: str, computed: Any) -> None:
    given = pod["spec"].get(field)
    if given is not None and given != computed:
        text = (
            f"the {words} ({given}) must not be provided in pod spec; "
            f"priority admission controller computed {computed} from the given PriorityClass name"
        )
        raise _forbidden(pod, text)


def _forbidden(pod: Object, text: str) -> ApiError:
    # A generated name is made after admission, so that messages show its beginning.
    name = pod["metadata"].get("generateName") or pod["metadata"].get("name", "")
    return ApiError(403, "Forbidden", f'pods "{name}" is forbidden: {text}', {"name": name, "kind": "pods"})


def admit_class(priority: Object, neighbours: Neighbours) -> None:
    """There is one default class at most. Raises ApiError 403."""
    if not priority.get("globalDefault"):
        return
    name = priority["metadata"].get("name", "")
    other = _default_class(neighbours)
    if other is not None and other["metadata"]["name"] != name:
        text = f"PriorityClass {other['metadata']['name']} is already marked as default. Only one default can exist"
        message = f'priorityclasses.scheduling.k8s.io "{name}" is forbidden: {text}'
        details = {"name": name, "group": "scheduling.k8s.io", "kind": "priorityclasses"}
        raise ApiError(403, "Forbidden", message, details)
