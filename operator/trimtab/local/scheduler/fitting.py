"""Whether a pod may run on a node, and why not, in Kubernetes' words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trimtab.local import pods
from trimtab.local.objects import Object
from trimtab.local.quantities import quantity

_SCHEDULING_EFFECTS = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node cannot take a pod; `resolvable` if it could once other pods are gone."""

    reason: str
    resolvable: bool = False


@dataclass(slots=True)
class NodeView:
    """A node with what runs on it."""

    node: Object
    pods: list[Object] = field(default_factory=list)
    used: dict[str, Decimal] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.node["metadata"]["name"])

    @property
    def labels(self) -> Mapping[str, str]:
        """The node's labels."""
        found: Mapping[str, str] = self.node["metadata"].get("labels") or {}
        return found

    def allocatable(self, resource: str) -> Decimal:
        """How much of a resource pods may ask for."""
        amounts = self.node.get("status", {}).get("allocatable") or {}
        return quantity(str(amounts.get(resource, "0")))

    def add(self, pod: Object) -> None:
        """Count a pod in."""
        self.pods.append(pod)
        for resource, amount in requests_of(pod).items():
            self.used[resource] = self.used.get(resource, Decimal(0)) + amount

    def drop(self, pod: Object) -> None:
        """Count a pod out again."""
        self.pods.remove(pod)
        for resource, amount in requests_of(pod).items():
            self.used[resource] -= amount


def node_views(nodes: Iterable[Object], everything: Iterable[Object]) -> list[NodeView]:
    """The nodes with their unfinished pods, by name."""
    views = {n["metadata"]["name"]: NodeView(n) for n in nodes}
    for pod in everything:
        name = pods.node_name(pod)
        if name in views and not pods.is_finished(pod):
            views[name].add(pod)
    return [views[name] for name in sorted(views)]


def requests_of(pod: Object) -> dict[str, Decimal]:
    """What a pod asks of its node: the sum of its containers, or the largest init container."""
    total: dict[str, Decimal] = {}
    largest: dict[str, Decimal] = {}
    for container in pods.init_containers(pod):
        amounts = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(total, amounts)
        else:
            together = dict(total)
            _add(together, amounts)
            for resource, amount in together.items():
                largest[resource] = max(largest.get(resource, Decimal(0)), amount)
    for container in pods.containers(pod):
        _add(total, _requests(container))
    _add(total, {k: quantity(str(v)) for k, v in (pod["spec"].get("overhead") or {}).items()})
    result = {k: max(total.get(k, Decimal(0)), largest.get(k, Decimal(0))) for k in {*total, *largest}}
    return {**result, "pods": Decimal(1)}


def _requests(container: Object) -> dict[str, Decimal]:
    resources = container.get("resources") or {}
    amounts = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {k: quantity(str(v)) for k, v in amounts.items()}


def _add(total: dict[str, Decimal], amounts: Mapping[str, Decimal]) -> None:
    for resource, amount in amounts.items():
        total[resource] = total.get(resource, Decimal(0)) + amount


def tolerates(tolerations: Iterable[Object], taint: Object) -> bool:
    """Whether any of the tolerations covers the taint."""
    return any(_covers(toleration, taint) for toleration in tolerations)


def _covers(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def unschedulable(pod: Object, view: NodeView) -> list[Refusal]:
    """Refuses a cordoned node."""
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if view.node["spec"].get("unschedulable") and not tolerates(_tolerations(pod), taint):
        return [Refusal("node(s) were unschedulable")]
    return []


def tainted(pod: Object, view: NodeView) -> list[Refusal]:
    """Refuses a node with a taint that the pod does not tolerate."""
    for taint in view.node["spec"].get("taints") or ():
        if taint["effect"] in _SCHEDULING_EFFECTS and not tolerates(_tolerations(pod), taint):
            return [Refusal("node(s) had untolerated taint(s)")]
    return []


def _tolerations(pod: Object) -> Sequence[Object]:
    found: Sequence[Object] = pod["spec"].get("tolerations") or ()
    return found


def unselected(pod: Object, view: NodeView) -> list[Refusal]:
    """Refuses a node that nodeSelector or the required node affinity does not choose."""
    selector: Mapping[str, str] = pod["spec"].get("nodeSelector") or {}
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    chosen = selector.items() <= view.labels.items()
    if affinity is not None:
        chosen = chosen and any(term_matches(t, view) for t in affinity.get("nodeSelectorTerms") or ())
    return [] if chosen else [Refusal("node(s) didn't match Pod's node affinity/selector")]


def term_matches(term: Object, view: NodeView) -> bool:
    """Whether a node selector term chooses the node; an empty term chooses none."""
    expressions = term.get("matchExpressions") or []
    fields = term.get("matchFields") or []
    if not expressions and not fields:
        return False
    by_field = {"metadata.name": view.name}
    return all(_holds(e, view.labels) for e in expressions) and all(_holds(e, by_field) for e in fields)


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    value = labels.get(key)
    checks: dict[str, Callable[[], bool]] = {
        "In": lambda: value in values,
        "NotIn": lambda: value not in values,
        "Exists": lambda: value is not None,
        "DoesNotExist": lambda: value is None,
        "Gt": lambda: _number(value) is not None and int(value or 0) > int(values[0]),
        "Lt": lambda: _number(value) is not None and int(value or 0) < int(values[0]),
    }
    return checks[expression["operator"]]()


def _number(text: Any) -> int | None:
    try:
        return int(text)
    except (TypeError, ValueError):
        return None


def overfull(pod: Object, view: NodeView) -> list[Refusal]:
    """Refuses a node with too little left; what never fits is not resolvable."""
    refusals = []
    for resource, wanted in sorted(requests_of(pod).items()):
        if wanted == 0:
            continue
        if wanted > view.allocatable(resource) - view.used.get(resource, Decimal(0)):
            reason = "Too many pods" if resource == "pods" else f"Insufficient {resource}"
            refusals.append(Refusal(reason, resolvable=wanted <= view.allocatable(resource)))
    return refusals


def ports_taken(pod: Object, view: NodeView) -> list[Refusal]:
    """Refuses a node where a host port that the pod asks for is in use."""
    wanted = _host_ports(pod)
    if not wanted:
        return []
    for present in view.pods:
        if any(_clash(one, other) for one in wanted for other in _host_ports(present)):
            return [Refusal("node(s) didn't have free ports for the requested pod ports", resolvable=True)]
    return []


def _host_ports(pod: Object) -> set[tuple[str, str, int]]:
    return {
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(port["hostPort"]))
        for container in pods.containers(pod)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    }


def _clash(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    everywhere = "0.0.0.0"
    return one[1:] == other[1:] and (one[0] == other[0] or everywhere in (one[0], other[0]))


# In the order of Kubernetes' plugins: the first one that refuses a node gives the reason.
FILTERS: tuple[Callable[[Object, NodeView], list[Refusal]], ...] = (
    unschedulable,
    tainted,
    unselected,
    ports_taken,
    overfull,
)


def refusals(pod: Object, view: NodeView) -> list[Refusal]:
    """Why the node cannot take the pod; empty when it can."""
    return next((found for fits in FILTERS if (found := fits(pod, view))), [])


def unschedulable_message(refused: Sequence[Sequence[Refusal]], preemption: str | None) -> str:
    """What the PodScheduled condition says when no node fits.

    `refused` has one entry of refusals per node; `preemption` says why no pod gives way, None when some do.
    """
    total = len(refused)
    if total == 0:
        return "no nodes available to schedule pods"
    reasons = counted(r.reason for node in refused for r in node)
    more = "" if preemption is None else f" no new claims to deallocate, preemption: {preemption}"
    return f"0/{total} nodes are available: {reasons}.{more}"


def counted(reasons: Iterable[str]) -> str:
    """Reasons with how often they were given, sorted as text."""
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
