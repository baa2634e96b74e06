"""What a node's conditions mean for it: when silence makes them unknown, and which taints they call for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.local import pods
from trimtab.local.objects import Object
from trimtab.local.times import parse_stamp, stamp

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_POSTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")  # what a node agent posts
_NO_SCHEDULE = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
_OURS = {*_NO_SCHEDULE.values(), UNSCHEDULABLE}
_CACHED_S = "node.alpha.kubernetes.io/ttl"
_EXCLUDED = "node.kubernetes.io/exclude-disruption"


@dataclass(frozen=True, slots=True)
class NodeTiming:
    """How long things take, in seconds; as kube-controller-manager by default.

    Attributes:
        grace_s: how long a node that was heard of may stay silent.
        startup_s: the same for one that has never said whether it is ready.
        monitor_s: how often nodes are looked at.
        quarantine_s: how long pods of a vanished node are left alone.
    """

    grace_s: float = 50.0
    startup_s: float = 60.0
    monitor_s: float = 5.0
    quarantine_s: float = 40.0


@dataclass(frozen=True, slots=True)
class Heard:
    """The last signs of life of a node, and when they were noticed."""

    heartbeat: str | None
    renewal: str | None
    at: datetime


def heard_of(node: Object, lease: Object | None, before: Heard | None, now: datetime) -> Heard:
    """What is known of the node now: a new heartbeat or a renewed lease counts from when it is noticed."""
    ready = pods.condition(node, "Ready")
    heartbeat = (ready.get("lastHeartbeatTime") or "") if ready else None
    renewal = ((lease or {}).get("spec") or {}).get("renewTime")
    if before is None:
        at = now if ready or renewal else parse_stamp(node["metadata"]["creationTimestamp"])
    elif heartbeat != before.heartbeat or (renewal and renewal != before.renewal):
        at = now
    else:
        at = before.at
    return Heard(heartbeat, renewal or (before.renewal if before else None), at)


def is_silent(node: Object, heard: Heard, timing: NodeTiming, now: datetime) -> bool:
    """Whether the node has said nothing for too long."""
    grace = timing.grace_s if pods.condition(node, "Ready") else timing.startup_s
    return now > heard.at + timedelta(seconds=grace)


def silent_status(node: Object, now: datetime) -> Object:
    """The status of a node that stopped posting it: nothing is known any more."""
    conditions: list[Object] = list(node["status"].get("conditions") or ())
    for kind in _POSTED:
        old = pods.condition(node, kind)
        if old is None:
            never = {
                "type": kind,
                "status": "Unknown",
                "lastHeartbeatTime": node["metadata"]["creationTimestamp"],
                "lastTransitionTime": stamp(now),
                "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
            }
            conditions.append(never)
        elif old["status"] != "Unknown":
            changed = {
                **old,
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": stamp(now),
            }
            conditions[conditions.index(old)] = changed
    return {**node["status"], "conditions": conditions}


def nobody_is_ready(nodes: Iterable[Object]) -> bool:
    """Whether the trouble is more likely here than there: then nothing is evicted."""
    counted = [n for n in nodes if _EXCLUDED not in (n["metadata"].get("labels") or {})]
    return not any(pods.condition_is_true(n, "Ready") for n in counted)


def wanted_taints(node: Object, now: datetime, *, evict: bool = True) -> list[Object]:
    """The node's taints with those that its conditions call for; other taints stay as they are.

    Without `evict` nothing is driven away from a node that is not ready.
    """
    present: Sequence[Object] = node["spec"].get("taints") or ()
    conditions = node.get("status", {}).get("conditions") or ()
    calls = [
        (_NO_SCHEDULE[kind], "NoSchedule") for c in conditions if (kind := (c["type"], c["status"])) in _NO_SCHEDULE
    ]
    if node["spec"].get("unschedulable"):
        calls.append((UNSCHEDULABLE, "NoSchedule"))
    ready = pods.condition(node, "Ready")
    if ready is not None and ready["status"] != "True" and evict:
        calls.append((NOT_READY if ready["status"] == "False" else UNREACHABLE, "NoExecute"))
    kept = [t for t in present if not _is_judged(t, ready) or (t["key"], t["effect"]) in calls]
    have = {(t["key"], t["effect"]) for t in kept}
    added = [
        {"key": key, "effect": effect, "timeAdded": stamp(now)} for key, effect in calls if (key, effect) not in have
    ]
    return [*kept, *added]


def _is_judged(taint: Object, ready: Object | None) -> bool:
    """Whether the conditions decide about a taint; without Ready nothing is known of NoExecute ones."""
    if taint["effect"] == "NoExecute":
        return ready is not None and taint["key"] in (NOT_READY, UNREACHABLE)
    return taint["effect"] == "NoSchedule" and taint["key"] in _OURS


def wanted_metadata(node: Object) -> Object:
    """The node's metadata with what Kubernetes adds: old names of two labels, and how long kubelets may cache."""
    metadata: Object = node["metadata"]
    labels = dict(metadata.get("labels") or {})
    for name in ("os", "arch"):
        if value := labels.get(f"kubernetes.io/{name}"):
            labels[f"beta.kubernetes.io/{name}"] = value
    annotations = {_CACHED_S: "0", **(metadata.get("annotations") or {})}
    return {**metadata, **({"labels": labels} if labels else {}), "annotations": annotations}
