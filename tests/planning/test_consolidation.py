"""A node is emptied only when nothing is short and its replicas have room elsewhere; one at a time."""

from typing import Any

import pytest

from trimtab.api.capacity import CapacityPool
from trimtab.planning.consolidation import PATIENCE_S, Roomy, candidate, is_over, settled
from trimtab.planning.fleet import Held, Node, PoolMemory, order
from trimtab.planning.packing import Request

SIZE = {"cpu": 1.0, "memory": 4.0 * 2**30, "pods": 16.0}


def pool(least: int = 0) -> CapacityPool:
    spec = {"capacityType": "Spot", "provider": {"embedded": {}}, "limits": {"minNodes": least}}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": "spot"}, "spec": spec}
    return CapacityPool.model_validate(body)


def node(name: str, *cpus: float, doomed: bool = False, workload: str = "default/m") -> Node:
    requests = tuple(Request(cpu, 2**28) for cpu in cpus)
    together = Request(sum(cpus), len(cpus) * 2.0**28)
    return Node(name, "spot", doomed, (workload,) * len(cpus), together, requests=requests)


def chosen(*nodes: Node, waiting: int = 0, least: int = 0) -> str | None:
    held = {"spot": Held([], [Request(0.1, 1)] * waiting)}
    found = candidate([pool(least)], nodes, held, {"spot": SIZE})
    return found[0].name if found is not None else None


@pytest.mark.parametrize(
    ("nodes", "more", "expected"),
    [
        pytest.param([node("a", 0.5), node("b", 0.5)], {}, "a", id="two halves are one"),
        pytest.param([node("a", 0.5), node("b", 0.3)], {}, "b", id="the one that is used least"),
        pytest.param([node("a", 0.6), node("b", 0.6)], {}, None, id="no room"),
        pytest.param([node("a", 0.3, 0.3), node("b", 0.7), node("c", 0.7)], {}, "a", id="its replicas part"),
        pytest.param([node("a", 0.5), node("b", 0.5)], {"waiting": 1}, None, id="somebody waits for room"),
        pytest.param([node("a", 0.5), node("b", 0.5), node("c", 0.9, doomed=True)], {}, None, id="a node goes away"),
        pytest.param([node("a", 0.5), node("b", 0.5)], {"least": 2}, None, id="the pool's least"),
        pytest.param([node("a", 0.5), node("b", 0.5), node("c")], {}, None, id="an empty node goes first"),
        pytest.param([node("a", 0.5, workload=""), node("b", 0.5)], {}, None, id="a pod is on its way out"),
        pytest.param([node("a", 0.2, workload="default/trimtab-gateway"), node("b", 0.5)], {}, "b", id="gateways stay"),
        pytest.param([node("a", 0.5)], {}, None, id="the last one"),
    ],
)
def test_candidates(nodes: list[Node], more: dict[str, Any], expected: str | None) -> None:
    """Who may be emptied."""
    assert chosen(*nodes, **more) == expected


def test_the_reason_has_the_numbers() -> None:
    """Replicas, and nodes that have room for them."""
    found = candidate([pool()], [node("a", 0.3, 0.3), node("b", 0.7), node("c", 0.7)], {}, {"spot": SIZE})
    assert found is not None
    assert found[1] == "2 other nodes have room for its 2 replicas"


def test_room_must_last() -> None:
    """Ten times as long as an empty node is kept; another node begins anew."""
    due, roomy = settled(node("a", 0.5), None, 30.0, 100.0)
    assert (due, roomy) == (False, Roomy("a", 100.0))
    assert settled(node("a", 0.5), roomy, 30.0, 399.0)[0] is False
    assert settled(node("a", 0.5), roomy, 30.0, 400.0)[0] is True
    assert settled(node("b", 0.5), roomy, 30.0, 400.0) == (False, Roomy("b", 400.0))
    assert settled(None, roomy, 30.0, 400.0) == (False, None)


def test_a_move_that_goes_wrong_is_given_up() -> None:
    """Replicas that would need a new node, or no end in sight."""
    waits, fine = {"spot": Held([], [Request(0.5, 1)])}, {"spot": Held()}
    assert not is_over([node("a", 0.5)], waits, 0.0, 10.0)
    assert is_over([node("a", 0.5)], waits, 0.0, PATIENCE_S / 10 + 1)
    assert not is_over([node("a", 0.5)], fine, 0.0, PATIENCE_S)
    assert is_over([node("a", 0.5)], fine, 0.0, PATIENCE_S + 1)
    assert not is_over([node("a")], waits, 0.0, PATIENCE_S + 1)


def test_an_emptied_node_goes_at_once() -> None:
    """It is named to the provider, and counts no more; while replicas are on it, it stays."""
    busy = [node("a", 0.5, doomed=True), node("b", 0.5)]
    found, memory = order(
        pool(), SIZE, Held(), busy, PoolMemory(), ordered=2, hold_s=30, now=0, retiring=frozenset({"a"})
    )
    assert (found.desired, found.victims) == (2, ())
    empty = [node("a", doomed=True), node("b", 0.5, 0.5)]
    found, memory = order(pool(), SIZE, Held(), empty, memory, ordered=2, hold_s=30, now=2, retiring=frozenset({"a"}))
    assert (found.desired, found.victims) == (1, ("a",))
    found, _ = order(pool(), SIZE, Held(), empty[1:], memory, ordered=1, hold_s=30, now=4)
    assert (found.desired, found.victims) == (1, ())
