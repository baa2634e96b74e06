"""Pod affinity and anti-affinity: which pods must, must not, or should be close by."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.local.objects import Object
from trimtab.local.scheduler.fitting import NodeView, Refusal
from trimtab.local.selectors import matches_label_selector

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def _terms(pod: Object, kind: str) -> Sequence[Object]:
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    found: Sequence[Object] = affinity.get(_REQUIRED) or ()
    return found


def _selects(term: Object, owner: Object, candidate: Object) -> bool:
    """Whether a term of `owner` means the candidate; without namespaces it means its own."""
    namespaces = term.get("namespaces") or [owner["metadata"]["namespace"]]
    labels = candidate["metadata"].get("labels") or {}
    in_reach = candidate["metadata"]["namespace"] in namespaces or term.get("namespaceSelector") == {}
    return in_reach and matches_label_selector(term.get("labelSelector"), labels)


def _in_domain(term: Object, view: NodeView, views: Sequence[NodeView]) -> list[Object]:
    """The pods that share the node's domain of the term's topology key."""
    domain = view.labels.get(term["topologyKey"])
    if domain is None:
        return []
    near = (v for v in views if v.labels.get(term["topologyKey"]) == domain)
    return [p for v in near for p in v.pods]


def unsuitable_company(pod: Object, view: NodeView, views: Sequence[NodeView]) -> list[Refusal]:
    """Refuses a node for the pods around it, by the pod's own terms and by theirs."""
    for term in _terms(pod, "podAffinity"):
        if any(_selects(term, pod, p) for p in _in_domain(term, view, views)):
            continue
        # The first of a group that wants to be together has nobody to be with.
        first = _selects(term, pod, pod) and not any(_selects(term, pod, p) for v in views for p in v.pods)
        if not (first and term["topologyKey"] in view.labels):
            return [Refusal("node(s) didn't match pod affinity rules")]
    for term in _terms(pod, "podAntiAffinity"):
        if any(_selects(term, pod, p) for p in _in_domain(term, view, views)):
            return [Refusal("node(s) didn't match pod anti-affinity rules", resolvable=True)]
    for other in views:
        for present in other.pods:
            for term in _terms(present, "podAntiAffinity"):
                domain = other.labels.get(term["topologyKey"])
                same = domain is not None and view.labels.get(term["topologyKey"]) == domain
                if same and _selects(term, present, pod):
                    return [Refusal("node(s) didn't satisfy existing pods anti-affinity rules", resolvable=True)]
    return []


def preferred_company(pod: Object, view: NodeView, views: Sequence[NodeView]) -> int:
    """How much the pod likes the pods around a node, and they it: the sum of the weights of preferred terms.

    A pod that must be near this one likes it with a weight of 1.
    """
    total = 0
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for weighted in _weighted(pod, kind):
            term = weighted["podAffinityTerm"]
            matching = sum(_selects(term, pod, p) for p in _in_domain(term, view, views))
            total += sign * int(weighted["weight"]) * matching
    for other in views:
        for present in other.pods:
            if present["spec"].get("affinity"):
                total += _liking(present, other, pod, view)
    return total


def _weighted(pod: Object, kind: str) -> Sequence[Object]:
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    found: Sequence[Object] = affinity.get(_PREFERRED) or ()
    return found


def _liking(present: Object, where: NodeView, pod: Object, view: NodeView) -> int:
    """What a pod that runs somewhere thinks of another one on a node."""
    terms = [(1, term) for term in _terms(present, "podAffinity")]
    terms += [(int(w["weight"]), w["podAffinityTerm"]) for w in _weighted(present, "podAffinity")]
    terms += [(-int(w["weight"]), w["podAffinityTerm"]) for w in _weighted(present, "podAntiAffinity")]
    return sum(
        weight
        for weight, term in terms
        if (domain := where.labels.get(term["topologyKey"])) is not None
        and view.labels.get(term["topologyKey"]) == domain
        and _selects(term, present, pod)
    )
