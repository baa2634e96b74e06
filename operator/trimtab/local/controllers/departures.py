"""Pods that leave a node without having asked for it: what their status says, and who is meant."""

from __future__ import annotations

from datetime import datetime

from trimtab.local import pods
from trimtab.local.controllers.feed import Change
from trimtab.local.objects import Object
from trimtab.local.times import stamp


def disrupted(status: Object, reason: str, message: str, now: datetime, **more: object) -> Object:
    """A pod's status with the condition that says who ends it from outside."""
    condition = {
        "type": "DisruptionTarget",
        **more,
        "status": "True",
        "lastProbeTime": None,
        "reason": reason,
        "message": message,
    }
    conditions = pods.with_condition(status.get("conditions") or [], condition, stamp(now))
    return {**status, "conditions": conditions}


def orphaned(pod: Object, now: datetime) -> Object:
    """The last status of a pod whose node is gone."""
    return disrupted(
        {**pod.get("status", {}), "phase": "Failed"},
        "DeletionByPodGC",
        "PodGC: node no longer exists",
        now,
        observedGeneration=pod["metadata"].get("generation", 1),
    )


def was_bound(change: Change) -> bool:
    """Whether a pod's change is its being bound to a node, or the first that is heard of a bound one."""
    if change.type == "DELETED" or pods.node_name(change.object) is None:
        return False
    return change.old is None or pods.node_name(change.old) is None
