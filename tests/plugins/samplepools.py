"""Pools of small nodes on the embedded cluster."""

from __future__ import annotations

from typing import Any

NOTICE = {"key": "local.trimtab.dev/interruption", "effect": "NoSchedule"}
"""The taint of a node that is taken back; 9 s later it is gone."""


def pool(name: str, kind: str) -> dict[str, Any]:
    """Return a pool; `kind` is its capacity type."""
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "CapacityPool",
        "metadata": {"name": name},
        "spec": {
            "capacityType": kind,
            "provider": {"embedded": {"cpu": "1", "memory": "4Gi", "pods": 16, "bootDelay": "1s"}},
            "zones": ["zone-a", "zone-b", "zone-c"],
            "limits": {"maxNodes": 8},
            "startup": {"expected": "5s"},
            **({"interruption": {"notice": "9s", "taints": [NOTICE["key"]]}} if kind == "Spot" else {}),
        },
    }
