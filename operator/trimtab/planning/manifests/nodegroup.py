"""What the embedded cluster is asked for: a group of simulated nodes, as a cloud's scaling group would be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimtab.api.capacity import CapacityPool, Embedded
from trimtab.api.names import CAPACITY_TYPE_LABEL, MANAGED_BY, MANAGED_BY_LABEL, POOL_LABEL


def node_group(
    pool: CapacityPool, shape: Embedded, desired: int, victims: Sequence[str], zones: Sequence[str]
) -> dict[str, Any]:
    """Return the NodeGroup of a pool: `victims` are the nodes to lose first, `zones` where new ones may be."""
    spec = pool.spec
    devices = {spec.accelerator.resource: str(spec.accelerator.per_node)} if spec.accelerator else {}
    return {
        "apiVersion": "local.trimtab.dev/v1",
        "kind": "NodeGroup",
        "metadata": {"name": pool.name, "labels": {MANAGED_BY_LABEL: MANAGED_BY}},
        "spec": {
            "desired": desired,
            **({"zones": list(zones)} if zones else {}),
            "template": {
                "labels": {POOL_LABEL: pool.name, CAPACITY_TYPE_LABEL: spec.capacity_type.label},
                "capacity": {
                    "cpu": str(shape.cpu),
                    "memory": str(shape.memory),
                    "pods": str(shape.pods),
                    **devices,
                },
            },
            "bootDelay": shape.boot_delay,
            "notice": spec.interruption.notice,
            "victims": list(victims),
        },
    }
