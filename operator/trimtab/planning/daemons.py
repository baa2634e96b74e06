"""Whether a DaemonSet has a pod on a node, by the node's labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.api.capacity import CapacityPool
from trimtab.api.names import CAPACITY_TYPE_LABEL, POOL_LABEL
from trimtab.planning.karpenter import CAPACITY_TYPE, NODE_POOL_LABEL

Labels = Mapping[str, str]


def sure_labels(pool: CapacityPool) -> dict[str, str]:
    """Return the labels that every node of a pool has, whoever makes it."""
    karpenter, named = pool.spec.provider.karpenter, pool.spec.provider.labels
    return {
        "kubernetes.io/os": "linux",  # what our images are for
        POOL_LABEL: pool.name,
        CAPACITY_TYPE_LABEL: pool.spec.capacity_type.label,
        **({NODE_POOL_LABEL: karpenter.node_pool, CAPACITY_TYPE: pool.spec.capacity_type.label} if karpenter else {}),
        **(named.match_labels if named else {}),
    }


def is_for(pod: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a DaemonSet with this pod's spec runs one on a node with these labels.

    As its controller decides: nodeSelector, and what nodeAffinity requires during scheduling. Terms are alternatives,
    the expressions of one hold together; one without any, or by the fields of a node, is for none of ours. Taints are
    not looked at: most daemons tolerate them, and room that is kept in vain does no harm.
    Source: Kubernetes' component-helpers, scheduling/corev1/nodeaffinity.
    """
    if any(labels.get(name) != value for name, value in (pod.get("nodeSelector") or {}).items()):
        return False
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_matches(term, labels) for term in required.get("nodeSelectorTerms") or ())


def _matches(term: Mapping[str, Any], labels: Labels) -> bool:
    expressions = term.get("matchExpressions") or ()
    return bool(expressions) and not term.get("matchFields") and all(_holds(each, labels) for each in expressions)


def _holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    name, values = expression["key"], list(expression.get("values") or ())
    has, value = name in labels, labels.get(name, "")
    match expression["operator"]:
        case "In":
            return has and value in values
        case "NotIn":
            return not has or value not in values
        case "Exists":
            return has
        case "DoesNotExist":
            return not has
        case "Gt" | "Lt" as operator if has and _is_whole(value) and len(values) == 1 and _is_whole(values[0]):
            return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
        case _:
            return False


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
