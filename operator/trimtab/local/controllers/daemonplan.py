"""What a DaemonSet does next: one pod on every node that it may run on."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trimtab.local import pods
from trimtab.local.controllers.setrevisions import HASH
from trimtab.local.controllers.templates import pod_from_template
from trimtab.local.objects import Object
from trimtab.local.scheduler.fitting import NodeView, tolerates, unselected

GENERATION = "pod-template-generation"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class DaemonPlan:
    """Nodes that get a pod, pods that go, and what the status says before that."""

    create: tuple[str, ...]
    delete: tuple[Object, ...]
    status: Object
    requeue_after: float | None


def daemon_pod(owner: Object, node: str, revision: str) -> Object:
    """The pod for a node: bound to it by affinity, so that the scheduler has the last word."""
    pod = pod_from_template(owner, owner["spec"]["template"], f"{owner['metadata']['name']}-")
    generation = (owner["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation", "1")
    pod["metadata"]["labels"] |= {HASH: revision, GENERATION: generation}
    spec = pod["spec"]
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = copy.deepcopy(spec.get("affinity") or {})
    required = affinity.setdefault("nodeAffinity", {}).setdefault(_REQUIRED, {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [{**old, **term} for old in terms]
    spec["affinity"] = affinity
    present = list(spec.get("tolerations") or ())
    for key, effect in _TOLERATED:
        toleration = {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
        if toleration not in present:
            present.append(toleration)
    spec["tolerations"] = present
    return pod


def may_run(owner: Object, node: Object, *, stay: bool = False) -> bool:
    """Whether a node is meant; a pod that runs there already may `stay` despite a NoSchedule taint."""
    pod = daemon_pod(owner, node["metadata"]["name"], "")
    if unselected(pod, NodeView(node)):
        return False
    effects = ("NoExecute",) if stay else ("NoExecute", "NoSchedule")
    taints = node["spec"].get("taints") or ()
    return all(tolerates(pod["spec"]["tolerations"], t) for t in taints if t["effect"] in effects)


def plan_daemons(
    owner: Object, nodes: Sequence[Object], mine: Sequence[Object], revision: str, now: datetime
) -> DaemonPlan:
    """One pod per node, replaced where the template changed, as many at a time as may be unavailable."""
    by_node: dict[str, list[Object]] = {}
    for pod in mine:
        by_node.setdefault(target_of(pod), []).append(pod)
    create: list[str] = []
    delete: list[Object] = []
    meant: dict[str, list[Object]] = {}
    misplaced = 0
    for node in nodes:
        name = node["metadata"]["name"]
        here = by_node.get(name, [])
        if may_run(owner, node):
            meant[name] = here
        elif here and not may_run(owner, node, stay=True):
            delete += [p for p in here if not pods.is_terminating(p)]
        misplaced += bool(here) and not may_run(owner, node)
    for name, here in meant.items():
        failed = [p for p in here if pods.is_finished(p) and not pods.is_terminating(p)]
        delete += failed
        alive = [p for p in here if not pods.is_finished(p)]
        if not alive and not failed:
            create.append(name)
        delete += sorted((p for p in alive if not pods.is_terminating(p)), key=_age)[1:]
    min_ready = int(owner["spec"].get("minReadySeconds") or 0)
    waits = [w for p in mine if (w := pods.available_in(p, min_ready, now))]
    if not create and not delete:
        delete = _outdated(owner, meant, revision, min_ready, now)
    status = _status(owner, meant, misplaced, revision, min_ready, now)
    return DaemonPlan(tuple(create), tuple(delete), status, min(waits, default=None))


def _age(pod: Object) -> tuple[bool, str]:
    return pods.node_name(pod) is None, str(pod["metadata"]["creationTimestamp"])


def target_of(pod: Object) -> str:
    """The node that a daemon pod is for, bound or not."""
    if name := pods.node_name(pod):
        return name
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for expression in term.get("matchFields") or ():
            if expression.get("key") == "metadata.name" and expression.get("values"):
                return str(expression["values"][0])
    return ""


def _outdated(
    owner: Object, meant: Mapping[str, Sequence[Object]], revision: str, min_ready: int, now: datetime
) -> list[Object]:
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    most = _amount((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), len(meant)) or 1
    down = sum(not any(_is_available(p, min_ready, now) for p in here) for here in meant.values())
    old = [p for here in meant.values() for p in here if not _is_current(p, revision) and not pods.is_terminating(p)]
    broken = [p for p in old if not _is_available(p, min_ready, now)]
    working = [p for p in old if _is_available(p, min_ready, now)]
    return [*broken, *working[: max(0, most - down)]]


def _is_available(pod: Object, min_ready: int, now: datetime) -> bool:
    return not pods.is_terminating(pod) and pods.available_in(pod, min_ready, now) == 0


def _is_current(pod: Object, revision: str) -> bool:
    return (pod["metadata"].get("labels") or {}).get(HASH) == revision


def _amount(value: int | str, of: int) -> int:
    return value if isinstance(value, int) else math.ceil(int(value.rstrip("%")) * of / 100)


def _status(
    owner: Object, meant: Mapping[str, Sequence[Object]], misplaced: int, revision: str, min_ready: int, now: datetime
) -> Object:
    first = [min(here, key=_age) for here in meant.values() if here]
    available = sum(_is_available(p, min_ready, now) for p in first)
    counts = {
        "updatedNumberScheduled": sum(_is_current(p, revision) for p in first),
        "numberAvailable": available,
        "numberUnavailable": len(meant) - available,
    }
    return {
        **{k: v for k, v in (owner.get("status") or {}).items() if k in ("collisionCount", "conditions")},
        "currentNumberScheduled": len(first),
        "numberMisscheduled": misplaced,
        "desiredNumberScheduled": len(meant),
        "numberReady": sum(pods.is_ready(p) for p in first),
        "observedGeneration": owner["metadata"]["generation"],
        **{name: count for name, count in counts.items() if count},
    }
