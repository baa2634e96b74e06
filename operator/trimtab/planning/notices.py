"""Which nodes go away, as nodes themselves show it: by taints and conditions that providers' agents put there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import moment
from trimtab.api.names import INTERRUPTED_TAINT, LEAVES_AT_ANNOTATION, POOL_LABEL
from trimtab.api.quantities import seconds

TAINTS = frozenset(
    {
        INTERRUPTED_TAINT,
        "aws-node-termination-handler/asg-lifecycle-termination",
        "aws-node-termination-handler/rebalance-recommendation",
        "aws-node-termination-handler/scheduled-maintenance",
        "aws-node-termination-handler/spot-itn",
        "cloud.google.com/impending-node-termination",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",  # before its version 1
        "node.cloudprovider.kubernetes.io/shutdown",
        "ToBeDeletedByClusterAutoscaler",
    }
)
"""Taints that mean a notice wherever they are found; pools may name more."""
CONDITIONS = frozenset({"PreemptScheduled", "RedeployScheduled", "TerminateScheduled"})
"""Conditions that mean one while True: those of AKS's node problem detector."""
UNREACHABLE = "node.kubernetes.io/unreachable"
_USUAL = timedelta(minutes=2)


def leaves_at(node: Mapping[str, Any], pools: Sequence[CapacityPool], now: datetime) -> datetime | None:
    """Return when a node goes away, None when it stays.

    Counted from `now`, unless an annotation of ours tells: whoever looks again keeps what was said first.
    """
    taints = {taint["key"] for taint in node["spec"].get("taints") or ()}
    named = {taint: pool for pool in pools for taint in pool.spec.interruption.taints}
    said = announced(node)
    if said is not None and INTERRUPTED_TAINT in taints:
        return said
    if found := sorted(taints & named.keys()):
        return now + _notice(named[found[0]])
    if taints & TAINTS or _has(CONDITIONS, (node.get("status") or {}).get("conditions") or ()):
        own = (node["metadata"].get("labels") or {}).get(POOL_LABEL)
        pool = next((pool for pool in pools if pool.name == own), None)
        return now + (_notice(pool) if pool is not None else _USUAL)
    return now if UNREACHABLE in taints else None


def announced(node: Mapping[str, Any]) -> datetime | None:
    """Return when a node goes, as its annotation says; None where that is no time: kubelets may write anything."""
    try:
        at = moment((node["metadata"].get("annotations") or {}).get(LEAVES_AT_ANNOTATION, ""))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _has(kinds: Collection[str], conditions: Iterable[Mapping[str, Any]]) -> bool:
    return any(entry["type"] in kinds and entry["status"] == "True" for entry in conditions)


def _notice(pool: CapacityPool) -> timedelta:
    return timedelta(seconds=seconds(pool.spec.interruption.notice))
