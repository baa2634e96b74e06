"""Which nodes a replica may be on: those of its pools, known by the labels that their providers give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.names import CAPACITY_TYPE_LABEL, POOL_LABEL, ZONE_LABEL
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.serving import Accelerator
from trimtab.planning import accelerators
from trimtab.planning.karpenter import CAPACITY_TYPE, NODE_POOL_LABEL

Manifest = dict[str, Any]
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"


def placement(
    spec: OptimizedModelSpec,
    capacity_type: CapacityType,
    pools: Sequence[CapacityPool],
    accelerator: Accelerator | None,
) -> Manifest:
    """Return what ties a pod to the pools of its capacity type, and to the nodes that its accelerator is chosen by.

    While only other types have pools it stays where its own were, and goes nowhere else: the floor is not for spot.
    """
    own = [pool for pool in pools if pool.spec.capacity_type is capacity_type]
    made = _to_pools(spec, own)
    if pools and not own:
        made["nodeSelector"] = {CAPACITY_TYPE_LABEL: capacity_type.label}
    if accelerator is not None and accelerator.node_selector:
        made["nodeSelector"] = {**made.get("nodeSelector", {}), **accelerator.node_selector}
    return made


def _to_pools(spec: OptimizedModelSpec, pools: Sequence[CapacityPool]) -> Manifest:
    """Return what ties a pod to any of the pools; nothing where there are none.

    Pools whose nodes we label ourselves have one label in common. Those of Karpenter and of labels are each known by
    something else, and Karpenter makes nodes only for pods that ask for labels that it will give them.
    """
    if not pools:
        return {}
    foreign = [pool for pool in pools if pool.spec.provider.karpenter or pool.spec.provider.labels]
    ours = [pool for pool in pools if pool not in foreign]
    named = [pool.name for pool in ours] if spec.capacity.pools else []
    made: Manifest = {}
    if not foreign:
        made["nodeSelector"] = {CAPACITY_TYPE_LABEL: pools[0].spec.capacity_type.label}
        if named:
            made["affinity"] = _affinity([{POOL_LABEL: named}])
    elif len(pools) == 1 and (only := _labels_only(pools[0])) is not None:
        made["nodeSelector"] = dict(only)
    else:
        terms = [_term(pool) for pool in foreign]
        if ours:
            label = {CAPACITY_TYPE_LABEL: [ours[0].spec.capacity_type.label]}
            terms.append({**label, POOL_LABEL: named} if named else label)
        made["affinity"] = _affinity(terms)
    if tolerations := accelerators.tolerations(pools):
        made["tolerations"] = tolerations
    return made


def _labels_only(pool: CapacityPool) -> Mapping[str, str] | None:
    """Return the labels of a pool that says nothing else of its nodes."""
    labels = pool.spec.provider.labels
    return labels.match_labels if labels is not None and not pool.spec.instance_types else None


def _term(pool: CapacityPool) -> dict[str, list[str]]:
    provider = pool.spec.provider
    term: dict[str, list[str]] = {}
    if provider.karpenter is not None:
        term = {
            NODE_POOL_LABEL: [provider.karpenter.node_pool],
            CAPACITY_TYPE: [pool.spec.capacity_type.label],
        }
        if pool.spec.zones:
            term[ZONE_LABEL] = list(pool.spec.zones)
    if provider.labels is not None:
        term = {label: [value] for label, value in provider.labels.match_labels.items()}
    if pool.spec.instance_types:
        term[_INSTANCE_TYPE] = list(pool.spec.instance_types)
    return term


def _affinity(terms: Sequence[Mapping[str, Sequence[str]]]) -> Manifest:
    """Return what requires a node to carry all labels of any of the terms, each with one of its values."""
    made = [
        {
            "matchExpressions": [
                {"key": label, "operator": "In", "values": sorted(values)} for label, values in term.items()
            ]
        }
        for term in terms
    ]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": made}}}
