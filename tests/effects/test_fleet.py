"""What pods reserve, as the pools count it."""

from typing import Any

from trimtab.api.capacity import CapacityPool
from trimtab.effects.fleetview import demands, nodes, overhead
from trimtab.effects.reserving import reserved, share
from trimtab.effects.world import World
from trimtab.planning.packing import Request


def test_a_pod_reserves_its_containers_together() -> None:
    """Requests before limits; extended resources have a domain in their names."""
    first = {"requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
    second = {"limits": {"cpu": "1", "nvidia.com/gpu": "2", "ephemeral-storage": "1Gi"}}
    pod = {"containers": [{"resources": first}, {"resources": second}, {}]}
    assert reserved(pod) == Request(1.5, 2**30, {"nvidia.com/gpu": 3.0})


def test_the_share_of_a_node_is_its_scarcest_resource() -> None:
    """Half of its CPUs, all of its devices: the whole node; a node that says nothing has no share."""
    allocatable = {"cpu": "2", "memory": "8Gi", "pods": "110"}
    assert share(Request(1.0, 2**30), {"status": {"allocatable": allocatable}}) == 0.5
    gpus = {"status": {"allocatable": {**allocatable, "nvidia.com/gpu": "1"}}}
    assert share(Request(1.0, 2**30, {"nvidia.com/gpu": 1.0}), gpus) == 1.0
    assert share(Request(1.0, 2**30), None) is None


def daemon(**pod: Any) -> dict[str, Any]:
    containers = [{"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}}]
    return {"spec": {"template": {"spec": {"containers": containers, **pod}}}}


def test_every_node_runs_the_daemons() -> None:
    """Those for chosen nodes, too, where a node of the pool is one; before there is any, its sure labels tell."""
    fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
    devices, linux = {"gpu": "yes"}, {"kubernetes.io/os": "linux"}
    sets = {"a": [daemon()], "b": [daemon(nodeSelector=devices)], "c": [daemon(nodeSelector=linux)]}
    nodes: dict[str, Any] = {}
    world = World(**{**fields, "daemon_sets": sets, "nodes": nodes})
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "spot"}}
    pool = CapacityPool.model_validate({**body, "spec": {"capacityType": "Spot", "provider": {"embedded": {}}}})
    assert overhead(world, pool) == [Request(0.1, 2.0**30)] * 2
    nodes["n"] = [{"metadata": {"labels": {"trimtab.dev/pool": "spot", **devices, **linux}}}]
    nodes["m"] = [{"metadata": {"labels": {"trimtab.dev/pool": "other"}}}]
    assert overhead(world, pool) == [Request(0.1, 2.0**30)] * 3


def gateway(name: str, node: str | None) -> dict[str, Any]:
    refused = {"type": "PodScheduled", "status": "True" if node else "False"}
    meta = {"name": name, "namespace": "default", "labels": {"trimtab.dev/workload": "trimtab-gateway"}}
    spec = {"containers": [{"resources": {"requests": {"cpu": "350m"}}}], **({"nodeName": node} if node else {})}
    return {"metadata": meta, "spec": spec, "status": {"phase": "Pending", "conditions": [refused]}}


def test_gateways_take_room_and_ask_for_it() -> None:
    """One on a node makes it smaller, and keeps it; one that fits nowhere is a reason for an on-demand node."""
    fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
    body = {"metadata": {"labels": {"trimtab.dev/pool": "od"}}, "spec": {"taints": []}}
    pods = [gateway("g1", "n"), gateway("g2", None)]
    world = World(**{**fields, "nodes": {"n": [body]}, "gateways": {"default": pods}})
    (found,) = nodes(world, ())
    assert (found.used_by, found.used.cpu) == (("default/trimtab-gateway",), 0.35)
    (asked,) = demands(world, {})
    assert (asked.replicas, asked.capacity_type, asked.request.cpu) == (1, "OnDemand", 0.35)
