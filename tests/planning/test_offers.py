"""What pools offer is looked up once, and anew when the pools or what a model asks of them are others."""

from typing import Any

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.planning import offers

from .conftest import spec_of


def pool(name: str, **more: Any) -> CapacityPool:
    spec = {"capacityType": "Spot", "provider": {"embedded": {}}, "startup": {"expected": "45s"}, **more}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


PLAIN, DEVICES = pool("a", zones=["x", "y"]), pool("b", accelerator={"resource": "nvidia.com/gpu", "perNode": 1})


def test_models_that_ask_alike_share_what_was_found() -> None:
    """The very same views; a model that names a pool gets others."""
    pools = (PLAIN, DEVICES)
    found = offers.views(pools, spec_of())
    assert offers.views(pools, spec_of(serving={"maxReplicas": 9})) is found
    assert [(view.name, view.capacity_type, view.domains, view.startup_s) for view in found] == [
        ("a", CapacityType.SPOT, ("x", "y"), 45.0)
    ]
    assert offers.usable(pools, spec_of(capacity={"pools": ["b"]})) == (DEVICES,)
    assert offers.usable(pools, spec_of()) == (PLAIN,)


def test_a_model_for_a_device_gets_what_has_it() -> None:
    """With the same list of pools, and so many of the device as it asks for."""
    wanted = {"preset": "Fast", "output": {"uri": "file:///artifacts"}, "target": {"device": "GPU"}}
    pools = (PLAIN, DEVICES)
    for count, found in ((1, (DEVICES,)), (2, ())):
        serving = {"accelerator": {"resource": "nvidia.com/gpu", "count": count}}
        assert offers.usable(pools, spec_of(compression=wanted, serving=serving)) == found
    assert offers.usable(pools, spec_of(compression=wanted)) == (DEVICES,)
    assert offers.usable(pools, spec_of()) == (PLAIN,)


def test_other_pools_are_looked_up_anew() -> None:
    """Also where they come back."""
    for pools in ((PLAIN,), (pool("a", zones=["z"]),), (PLAIN,)):
        (found,) = offers.views(pools, spec_of())
        assert found.zones == tuple(pools[0].spec.zones)
