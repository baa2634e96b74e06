"""Raw objects → what the planning of pools looks at: replicas, nodes, and what each pod reserves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from trimtab.api import conditions as c
from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.names import CAPACITY_TYPE_LABEL, GATEWAY, POOL_LABEL, WORKLOAD_LABEL, ZONE_LABEL, Key
from trimtab.effects.reserving import reserved, together
from trimtab.effects.tables import Unpacked
from trimtab.effects.world import World
from trimtab.planning.daemons import is_for, sure_labels
from trimtab.planning.fleet import Demand, Node
from trimtab.planning.packing import Request

Object = dict[str, Any]
_BY_LABEL = {kind.label: kind for kind in CapacityType}
# maxReplicas and maxSurge end at 1,000 each; a Deployment with more is none of ours.
_MOST_REPLICAS = 4000


class Wish(NamedTuple):
    """What the pools have to know of a model."""

    pools: frozenset[str]
    """Where its replicas may be; empty for anywhere."""
    settled: bool
    """Whether it has what it wants and rolls nothing out."""


def wish_of(body: Object) -> Wish:
    """Return a model's wish."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    held = {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
    settled = held.get(c.CAPACITY_MET) != "False" and held.get(c.RECONCILING) != "True"
    return _wish(frozenset((spec.get("capacity") or {}).get("pools") or ()), settled=settled)


@lru_cache(maxsize=1024)
def _wish(pools: frozenset[str], *, settled: bool) -> Wish:
    """Return the same object for the same wish: thousands of models share a few."""
    return Wish(pools, settled)


def wishes(world: World) -> dict[Key, Wish]:
    """Return the models' wishes."""
    if isinstance(world.models, Unpacked):
        return dict(world.models.notes())
    return {key: wish_of(body) for key in world.models for body in world.models.get(key, ())}


def demands(world: World, wanted: Mapping[Key, Wish]) -> list[Demand]:
    """Return every serving Deployment's replicas, and the gateways' pods that wait for room, with what they reserve."""
    found = []
    for key, wish in wanted.items():
        for body in world.deployments.get(key, ()):
            meta, spec = body["metadata"], body["spec"]
            kind = _BY_LABEL.get(meta["labels"].get(CAPACITY_TYPE_LABEL, ""))
            if kind is None:
                continue
            found.append(
                Demand(
                    workload=f"{key.namespace}/{meta['labels'][WORKLOAD_LABEL]}",
                    capacity_type=kind,
                    replicas=min(int(spec.get("replicas", 1)), _MOST_REPLICAS),
                    request=reserved(spec["template"]["spec"]),
                    pools=wish.pools,
                )
            )
    return [*found, *_gateway_demands(world)]


def _gateway_demands(world: World) -> Iterator[Demand]:
    """Yield the gateways' pods that no node of the cluster has room for, on demand: every request goes through them."""
    for namespace in world.gateways:
        waiting = [pod for pod in world.gateways.get(namespace, ()) if _is_unschedulable(pod)]
        if waiting:
            workload = f"{namespace}/{GATEWAY} without a node"
            yield Demand(workload, CapacityType.ON_DEMAND, len(waiting), reserved(waiting[0]["spec"]), frozenset())


def _is_unschedulable(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    refused = any(c["type"] == "PodScheduled" and c["status"] == "False" for c in conditions)
    return refused and not pod["spec"].get("nodeName") and not pod["metadata"].get("deletionTimestamp")


def nodes(world: World, doomed: Collection[str]) -> list[Node]:
    """Return the nodes of all pools, with what pods of ours take of them; `doomed` are those that go away."""
    used: dict[str, list[tuple[str, Request]]] = {}
    for pod in _pods(world):
        name = pod["spec"].get("nodeName")
        if name and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
            meta = pod["metadata"]
            leaving = meta.get("deletionTimestamp") or WORKLOAD_LABEL not in meta["labels"]
            workload = "" if leaving else f"{meta['namespace']}/{meta['labels'][WORKLOAD_LABEL]}"
            used.setdefault(name, []).append((workload, reserved(pod["spec"])))
    found = []
    for name in world.nodes:
        node = world.node(name)
        pool = ((node or {}).get("metadata", {}).get("labels") or {}).get(POOL_LABEL)
        if node is not None and pool:
            own = used.get(name, [])
            workloads = tuple(workload for workload, _ in own)
            requests = [request for _, request in own]
            zone = node["metadata"]["labels"].get(ZONE_LABEL)
            found.append(Node(name, pool, name in doomed, workloads, together(requests), zone, tuple(requests)))
    return found


def _pods(world: World) -> Iterator[Object]:
    """Yield the pods of all models and gateways: each takes room on its node."""
    for index in (world.pods, world.gateways):
        for key in index:
            yield from index.get(key, ())


def booting(group: Object | None) -> dict[str, int]:
    """Return the nodes of an embedded group that are ordered and not there yet, by zone; `""` is no zone."""
    machines = ((group or {}).get("status") or {}).get("nodes") or ()
    return dict(Counter(str(machine.get("zone") or "") for machine in machines if machine["phase"] == "Booting"))


def overhead(world: World, pool: CapacityPool) -> list[Request]:
    """Return what the pods of DaemonSets take from a node of a pool: of those that run on any node that it has.

    Before there is a node, its labels are those that every node of the pool gets.
    """
    found = [world.node(name) for name in world.nodes]
    known = [node["metadata"].get("labels") or {} for node in found if node is not None]
    labels = [each for each in known if each.get(POOL_LABEL) == pool.name] or [sure_labels(pool)]
    sets = (body for name in world.daemon_sets for body in world.daemon_sets.get(name, ()))
    pods = [body["spec"]["template"]["spec"] for body in sets]
    return [reserved(pod) for pod in pods if any(is_for(pod, each) for each in labels)]
