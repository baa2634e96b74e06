"""Spreading: topologySpreadConstraints, and keeping replicas of one owner apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trimtab.local import pods
from trimtab.local.controllers.owners import controller_of
from trimtab.local.objects import Object
from trimtab.local.scheduler.fitting import NodeView, Refusal, tainted, unselected
from trimtab.local.selectors import matches_label_selector


def _matching(pod: Object, constraint: Object, view: NodeView) -> int:
    namespace = pod["metadata"]["namespace"]
    return sum(
        p["metadata"]["namespace"] == namespace and not pods.is_terminating(p) and _means(pod, constraint, p)
        for p in view.pods
    )


def _means(pod: Object, constraint: Object, other: Object) -> bool:
    """Whether a constraint of one pod is about another: by its selector, and as alike in matchLabelKeys."""
    own, labels = pod["metadata"].get("labels") or {}, other["metadata"].get("labels") or {}
    alike = all(labels.get(key) == own[key] for key in constraint.get("matchLabelKeys") or () if key in own)
    return alike and matches_label_selector(constraint.get("labelSelector"), labels)


def domain_counts(pod: Object, constraint: Object, views: Sequence[NodeView]) -> dict[str, int]:
    """How many matching pods each domain has; only nodes that the constraint's policies admit count."""
    counts: dict[str, int] = {}
    for view in views:
        domain = view.labels.get(constraint["topologyKey"])
        if domain is not None and _counts(pod, constraint, view):
            counts[domain] = counts.get(domain, 0) + _matching(pod, constraint, view)
    return counts


def _counts(pod: Object, constraint: Object, view: NodeView) -> bool:
    """Whether a node takes part, by the constraint's policies for affinity (honoured) and taints (ignored)."""
    if constraint.get("nodeAffinityPolicy") != "Ignore" and unselected(pod, view):
        return False
    return constraint.get("nodeTaintsPolicy") != "Honor" or not tainted(pod, view)


def skewed(pod: Object, view: NodeView, views: Sequence[NodeView]) -> list[Refusal]:
    """Refuses a node where a DoNotSchedule constraint would be broken."""
    for constraint in pod["spec"].get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        domain = view.labels.get(constraint["topologyKey"])
        if domain is None:
            return [Refusal("node(s) didn't match pod topology spread constraints (missing required label)")]
        counts = domain_counts(pod, constraint, views)
        own = _means(pod, constraint, pod)
        lowest = min(counts.values(), default=0)
        if len(counts) < int(constraint.get("minDomains") or 1):
            lowest = 0
        if counts.get(domain, 0) + own - lowest > int(constraint["maxSkew"]):
            return [Refusal("node(s) didn't match pod topology spread constraints", resolvable=True)]
    return []


def crowding(pod: Object, view: NodeView, views: Sequence[NodeView]) -> float:
    """How crowded the node's domains are with pods like this one: 0 for none, larger is worse."""
    constraints: list[Object] = [
        c for c in pod["spec"].get("topologySpreadConstraints") or () if c.get("whenUnsatisfiable") == "ScheduleAnyway"
    ]
    crowd = 0.0
    for constraint in constraints:
        domain = view.labels.get(constraint["topologyKey"])
        counts = domain_counts(pod, constraint, views)
        crowd += counts.get(domain, 0) if domain is not None else max(counts.values(), default=0) + 1
    return crowd + _siblings(pod, view, views)


def _siblings(pod: Object, view: NodeView, views: Sequence[NodeView]) -> float:
    """Pods of the same owner on the node and, weighing more, in its zone: Kubernetes' default spreading."""
    owner = controller_of(pod)
    if owner is None:
        return 0.0
    zone = view.labels.get("topology.kubernetes.io/zone")
    here = _owned(view, owner)
    around = sum(_owned(v, owner) for v in views if zone is not None and _zone(v.labels) == zone)
    return here + around * 0.6


def _owned(view: NodeView, owner: Mapping[str, str]) -> int:
    return sum((o := controller_of(p)) is not None and o["uid"] == owner["uid"] for p in view.pods)


def _zone(labels: Mapping[str, str]) -> str | None:
    return labels.get("topology.kubernetes.io/zone")
