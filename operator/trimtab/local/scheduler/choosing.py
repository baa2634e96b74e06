"""Which node a pod goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trimtab.local.objects import Object
from trimtab.local.scheduler.affinity import preferred_company, unsuitable_company
from trimtab.local.scheduler.fitting import (
    NodeView,
    Refusal,
    refusals,
    requests_of,
    term_matches,
    tolerates,
)
from trimtab.local.scheduler.spreading import crowding, skewed

# What a container without requests counts as when nodes are compared, as in Kubernetes.
_NOMINAL = {"cpu": Decimal("0.1"), "memory": Decimal(200 * 2**20)}


@dataclass(frozen=True, slots=True)
class Choice:
    """The node for a pod, or per node why it is not the one."""

    node: str | None
    refused: tuple[tuple[NodeView, list[Refusal]], ...] = ()


def unfit(pod: Object, view: NodeView, views: Sequence[NodeView]) -> list[Refusal]:
    """Why the node cannot take the pod: what the first of the filters says; empty when it can."""
    return refusals(pod, view) or skewed(pod, view, views) or unsuitable_company(pod, view, views)


def choose_node(pod: Object, views: Sequence[NodeView]) -> Choice:
    """The best node that fits; equal ones by name, so that the same world gives the same choice."""
    judged = [(view, unfit(pod, view, views)) for view in views]
    fitting = [view for view, why_not in judged if not why_not]
    if not fitting:
        return Choice(None, tuple(judged))
    best = min(fitting, key=lambda v: (*_rank(pod, v, views), v.name))
    return Choice(best.name)


def _rank(pod: Object, view: NodeView, views: Sequence[NodeView]) -> tuple[float, ...]:
    """Smaller is better: avoided taints, then preferred labels and company, spreading, and the emptier node."""
    return (
        _avoided_taints(pod, view),
        -_preference(pod, view) - preferred_company(pod, view, views),
        crowding(pod, view, views),
        -_free_share(pod, view),
    )


def _avoided_taints(pod: Object, view: NodeView) -> int:
    tolerations = pod["spec"].get("tolerations") or ()
    return sum(
        t["effect"] == "PreferNoSchedule" and not tolerates(tolerations, t)
        for t in view.node["spec"].get("taints") or ()
    )


def _preference(pod: Object, view: NodeView) -> int:
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(int(t["weight"]) for t in terms if term_matches(t["preference"], view))


def _free_share(pod: Object, view: NodeView) -> float:
    """The mean share of cpu and memory that stays free with the pod on the node (least allocated)."""
    wanted = requests_of(pod)
    shares = []
    for resource, nominal in _NOMINAL.items():
        offered = view.allocatable(resource)
        if offered > 0:
            used = view.used.get(resource, Decimal(0)) + (wanted.get(resource) or nominal)
            nominal_pods = sum(not requests_of(p).get(resource) for p in view.pods)
            shares.append(float(1 - (used + nominal * nominal_pods) / offered))
    return sum(shares) / len(shares) if shares else 0.0
