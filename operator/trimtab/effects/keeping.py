"""What is kept of each kind: the fields that views and plans read, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trimtab.api.names import (
    CAPACITY_TYPE_LABEL,
    COMPLETION_INDEX_LABEL,
    COMPONENT_LABEL,
    LEAVES_AT_ANNOTATION,
    MODEL_LABEL,
    REVISION_LABEL,
    RUN_LABEL,
    WORKLOAD_LABEL,
)
from trimtab.planning.placement import DELETION_COST

Object = dict[str, Any]
Keep = Callable[[Object], Object]

_LABELS = (
    CAPACITY_TYPE_LABEL,
    COMPLETION_INDEX_LABEL,
    COMPONENT_LABEL,
    MODEL_LABEL,
    REVISION_LABEL,
    RUN_LABEL,
    WORKLOAD_LABEL,
)
# A change of any other field of the spec changes it.
_META = ("name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp")


def _some(item: Object | None, names: Iterable[str]) -> Object:
    return {name: item[name] for name in names if item and item.get(name) is not None}


def _metadata(item: Object) -> Object:
    return {**_some(item["metadata"], _META), "labels": _some(item["metadata"].get("labels"), _LABELS)}


def _containers(pod: Object) -> list[Object]:
    """Return what the containers reserve."""
    return [_some(container, ("resources",)) for container in pod.get("containers") or ()]


def whole(item: Object) -> Object:
    """Keep everything but managedFields, which are most of an object's size and nothing to us."""
    return {**item, "metadata": {name: value for name, value in item["metadata"].items() if name != "managedFields"}}


def deployment(item: Object) -> Object:
    spec = item["spec"]
    return {
        "metadata": _metadata(item),
        "spec": {
            **_some(spec, ("replicas",)),
            "template": {"spec": {"containers": _containers(spec["template"]["spec"])}},
        },
        "status": _some(item.get("status"), ("readyReplicas",)),
    }


def job(item: Object) -> Object:
    return {
        "metadata": _metadata(item),
        "status": _some(item.get("status"), ("startTime", "completionTime", "conditions")),
    }


def pod(item: Object) -> Object:
    status, annotations = item.get("status") or {}, item["metadata"].get("annotations")
    conditions = [
        _some(entry, ("type", "status") if entry["status"] == "True" else ("type", "status", "message"))
        for entry in status.get("conditions") or ()
        if entry["type"] in ("Ready", "PodScheduled")
    ]
    containers = [_some(entry, ("state", "lastState")) for entry in status.get("containerStatuses") or ()]
    return {
        "metadata": {**_metadata(item), "annotations": _some(annotations, (DELETION_COST,))},
        "spec": {**_some(item["spec"], ("nodeName",)), "containers": _containers(item["spec"])},
        "status": {**_some(status, ("phase", "podIP")), "conditions": conditions, "containerStatuses": containers},
    }


def node(item: Object) -> Object:
    """Keep what says where a node is, what it takes, and whether it goes; not when its kubelet last told."""
    meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
    return {
        "metadata": {
            **_some(meta, ("name", "creationTimestamp")),
            "labels": dict(meta.get("labels") or {}),
            "annotations": _some(meta.get("annotations"), (LEAVES_AT_ANNOTATION,)),
        },
        "spec": {
            "providerID": str(spec.get("providerID") or ""),
            "taints": list(spec.get("taints") or ()),
            "unschedulable": bool(spec.get("unschedulable")),
        },
        "status": {
            "allocatable": dict(status.get("allocatable") or {}),
            "conditions": [_some(entry, ("type", "status")) for entry in status.get("conditions") or ()],
        },
    }


def daemon_set(item: Object) -> Object:
    """Keep what every node runs besides our pods; only the pods' spec counts."""
    meta, pods = item["metadata"], item["spec"]["template"]["spec"]
    kept = {**_some(pods, ("nodeSelector", "affinity")), "containers": _containers(pods)}
    return {"metadata": _some(meta, ("name", "namespace")), "spec": {"template": {"spec": kept}}}
