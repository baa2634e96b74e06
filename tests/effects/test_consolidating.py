"""A node is marked when others have room for its replicas, and unmarked when that does not work out."""

from typing import Any

from trimtab.api.capacity import CapacityPool
from trimtab.effects.consolidating import Consolidating
from trimtab.effects.world import World
from trimtab.planning.fleet import Held, Node
from trimtab.planning.packing import Request

SIZES = {"spot": {"cpu": 1.0, "memory": 4.0 * 2**30, "pods": 16.0}}
HELD = {"spot": Held()}
TAINT = {"key": "trimtab.dev/consolidation", "effect": "NoSchedule"}
SPOT = CapacityPool.model_validate(
    {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "CapacityPool",
        "metadata": {"name": "spot"},
        "spec": {"capacityType": "Spot", "provider": {"embedded": {}}},
    }
)


class Cluster:
    """The nodes of a world, and their taints."""

    def __init__(self, bodies: dict[str, Any]) -> None:
        self.bodies = bodies

    async def merge(self, _: Any, name: str, __: Any, patch: Any) -> None:
        self.bodies[name][0]["spec"] |= patch["spec"]


def node(name: str, *, doomed: bool = False) -> Node:
    request = Request(0.4, 2**28)
    return Node(name, "spot", doomed, ("default/m",), request, requests=(request,))


async def test_a_node_is_emptied_after_a_while_or_not_at_all() -> None:
    """Not while a model lacks something; after ten holds; given up when replicas find no place; then counted anew."""
    bodies: dict[str, Any] = {name: [{"metadata": {"labels": {}}, "spec": {"taints": []}}] for name in ("a", "b")}
    fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
    cluster: Any = Cluster(bodies)
    consolidating = Consolidating(World(**{**fields, "nodes": bodies}), cluster, 3.0)

    async def look(now: float, *nodes: Node, held: Any = HELD, quiet: bool = True) -> Any:
        return await consolidating.look([SPOT], nodes or (node("a"), node("b")), held, SIZES, now, quiet=quiet)

    assert await look(0.0, quiet=False) is None
    assert await look(100.0, quiet=False) is None, "one model lacks something"
    assert await look(101.0) is None
    assert await look(130.0) is None
    assert await look(131.0) == ("spot", "a is emptied: 1 other node has room for its 1 replica")
    assert bodies["a"][0]["spec"]["taints"] == [TAINT]
    leaving = (node("a", doomed=True), node("b"))
    waiting = {"spot": Held([], [Request(0.4, 1.0)])}
    assert await look(132.0, *leaving, held=waiting) is None
    found = await look(163.0, *leaving, held=waiting)
    assert found == ("spot", "a is used again: its replicas found no other place")
    assert bodies["a"][0]["spec"]["taints"] == []
    assert await look(164.0) is None
