"""Node objects: the simulated machines of the embedded cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from trimtab.local.objects import Object
from trimtab.local.times import stamp
from trimtab.version import __version__

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


def node_object(
    name: str,
    capacity: Mapping[str, str],
    *,
    host_address: str,
    now: datetime,
    zone: str | None = None,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Object] = (),
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """A node that is ready from the start, as its machine is this one."""
    since = stamp(now)
    own = {
        HOSTNAME: name,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        **({ZONE: zone} if zone else {}),
    }
    amounts = {"pods": "110", **capacity}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**(labels or {}), **own},
            **({"annotations": dict(annotations)} if annotations else {}),
        },
        "spec": {
            "providerID": f"local://{zone + '/' if zone else ''}{name}",
            **({"taints": [dict(t) for t in taints]} if taints else {}),
        },
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [
                {"type": "InternalIP", "address": host_address},
                {"type": "Hostname", "address": name},
            ],
            "conditions": posted_conditions(since),
            "nodeInfo": {
                "kubeletVersion": "v1.36.0",
                "kubeProxyVersion": "",
                "containerRuntimeVersion": f"process://{__version__}",
                "osImage": "embedded cluster",
                "operatingSystem": "linux",
                "architecture": "amd64",
                "kernelVersion": "",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        },
    }


def posted_conditions(now: str) -> list[Object]:
    """What the agent of a healthy node posts about it, all since `now`."""
    words = (
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    )
    return [
        {
            "type": kind,
            "status": status,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        for kind, status, reason, message in words
    ]
