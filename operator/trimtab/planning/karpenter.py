"""Karpenter: what its NodePool and NodeClaims say about a pool whose nodes it makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import moment
from trimtab.api.quantities import amount
from trimtab.planning.groups import Failure, FailureKind, Group, Instance

NODE_POOL_LABEL = "karpenter.sh/nodepool"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
ZONE = "topology.kubernetes.io/zone"
# Of a NodeClaim's conditions, those that stand between it and a node of use.
_STEPS = ("Launched", "Registered", "Initialized")


def group_of(pool: CapacityPool, node_pool: Mapping[str, Any], claims: Iterable[Mapping[str, Any]]) -> Group:
    """Return a pool of Karpenter as a group: each NodeClaim of its capacity type is a node that is ordered."""
    own = [claim for claim in claims if _is_of(claim, pool) and not claim["metadata"].get("deletionTimestamp")]
    failures = [failure for claim in own if (failure := _failure(claim)) is not None]
    launched = [claim for claim in own if _condition(claim, "Launched") == "True"]
    return Group(
        desired=len(own),
        max_size=pool.spec.limits.max_nodes,
        instances=tuple(
            Instance(
                str((claim.get("status") or {}).get("providerID", "")).rpartition("/")[2] or claim["metadata"]["name"],
                claim["metadata"].get("labels", {}).get(ZONE, ""),
            )
            for claim in launched
        ),
        failures=(*failures, *_limits(node_pool), *_unready(node_pool)),
    )


def _is_of(claim: Mapping[str, Any], pool: CapacityPool) -> bool:
    """Whether a claim is of the pool's capacity type; before it is launched it may not say which it gets."""
    label = pool.spec.capacity_type.label
    return bool(claim["metadata"].get("labels", {}).get(CAPACITY_TYPE, label) == label)


def _failure(claim: Mapping[str, Any]) -> Failure | None:
    """Return why a claim comes no further; what is merely on its way has no failure."""
    for entry in (claim.get("status") or {}).get("conditions") or ():
        if entry["type"] in _STEPS and entry["status"] != "True" and "Fail" in f"{entry.get('reason')}":
            return _failed(claim, entry)
        if entry["type"] == "Launched" and entry["status"] != "True" and "Insufficient" in f"{entry.get('reason')}":
            return _failed(claim, entry)
    return None


def _failed(claim: Mapping[str, Any], entry: Mapping[str, Any]) -> Failure:
    at = moment(entry["lastTransitionTime"]).timestamp()
    zone = claim["metadata"].get("labels", {}).get(ZONE, "")
    return Failure(f"{claim['metadata']['name']} {at:.0f}", f"{entry['reason']}: {entry.get('message', '')}", at, zone)


def _limits(node_pool: Mapping[str, Any]) -> Iterable[Failure]:
    """Yield the NodePool's limits that are reached: no pod gets a node of it before they are raised."""
    used = (node_pool.get("status") or {}).get("resources") or {}
    for name, most in ((node_pool.get("spec") or {}).get("limits") or {}).items():
        if name in used and amount(used[name]) >= amount(most):
            message = f"the NodePool's spec.limits allow {name} {most}, and {used[name]} is in use"
            yield Failure(f"limit {name}", message, kind=FailureKind.QUOTA, remedy="raise them")


def _unready(node_pool: Mapping[str, Any]) -> Iterable[Failure]:
    for entry in (node_pool.get("status") or {}).get("conditions") or ():
        if entry["type"] == "Ready" and entry["status"] == "False":
            yield Failure("not ready", f"the NodePool is not Ready: {entry.get('message', '')}", remedy="repair it")


def _condition(body: Mapping[str, Any], kind: str) -> str:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((str(entry["status"]) for entry in conditions if entry["type"] == kind), "Unknown")
