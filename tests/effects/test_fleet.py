"""What a pod reserves, as the pools count it."""

from trimtab.effects.fleetview import reserved
from trimtab.planning.packing import Request


def test_a_pod_reserves_its_containers_together() -> None:
    """Requests before limits; extended resources have a domain in their names."""
    first = {"requests": {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
    second = {"limits": {"cpu": "1", "nvidia.com/gpu": "2", "ephemeral-storage": "1Gi"}}
    pod = {"containers": [{"resources": first}, {"resources": second}, {}]}
    assert reserved(pod) == Request(1.5, 2**30, {"nvidia.com/gpu": 3.0})
