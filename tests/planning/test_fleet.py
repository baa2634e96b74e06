"""Pools: neither a node too many nor too few, and nobody loses a replica to scaling."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool, Embedded
from trimtab.planning import packing
from trimtab.planning.fleet import Demand, Held, Node, PoolMemory, assign, node_size, order
from trimtab.planning.packing import Request, new_nodes
from trimtab.planning.zones import Loss, Notice, ZoneState, with_event

SMALL = Request(cpu=0.5, memory=2**28)
SHAPE = Embedded(cpu="1", memory="4Gi", pods=16)
SIZE = {"cpu": 1.0, "memory": 4.0 * 2**30, "pods": 16.0}


def pool(name: str = "spot", kind: str = "Spot", weight: int = 0, **more: Any) -> CapacityPool:
    spec = {"capacityType": kind, "provider": {"embedded": SHAPE.wire()}, "weight": weight, **more}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


def node(name: str, *workloads: str, doomed: bool = False, of: str = "spot") -> Node:
    return Node(name, of, doomed, workloads, Request(0.5 * len(workloads), 2**28 * len(workloads)))


def decide(requests: int, nodes: list[Node], ordered: int, now: float = 0.0, memory: PoolMemory | None = None) -> Any:
    placed = min(requests, sum(len(entry.used_by) for entry in nodes if not entry.doomed))
    return order(
        pool(limits={"maxNodes": 5}),
        SIZE,
        Held([SMALL] * placed, [SMALL] * (requests - placed)),
        nodes,
        memory or PoolMemory(),
        ordered=ordered,
        hold_s=30,
        now=now,
    )


def test_growing_is_immediate() -> None:
    """More replicas, more nodes, at once and within the limit."""
    assert decide(3, [], 0)[0].desired == 2
    assert decide(40, [], 0)[0].desired == 5


def test_a_doomed_node_is_replaced_now() -> None:
    """It still counts for the provider until it is gone, so one more is asked for."""
    nodes = [node("a", "m", "m", doomed=True), node("b", "m", "m")]
    assert decide(4, nodes, 2)[0].desired == 3


def test_fragmented_room_is_no_room() -> None:
    """Two half-used nodes hold no replica that needs a whole one."""
    nodes = [node("a", "m"), node("b", "m")]
    held = Held([SMALL, SMALL], [Request(1.0, 1)])
    found, _ = order(pool(), SIZE, held, nodes, PoolMemory(), ordered=2, hold_s=30, now=0)
    assert found.desired == 3


def test_accelerators_are_packed_like_cpus() -> None:
    """Two of three devices each: a node's third stays free, and room in use counts."""
    gpus = pool(accelerator={"resource": "nvidia.com/gpu", "perNode": 3}, limits={"maxNodes": 9})
    two, one = (Request(0.1, 1, {"nvidia.com/gpu": count}) for count in (2, 1))
    size = node_size(gpus)
    assert size is not None
    used = Node("a", "spot", False, ("m",), two)
    found, _ = order(gpus, size, Held([two], [one, two]), [used], PoolMemory(), ordered=1, hold_s=30, now=0)
    assert found.desired == 2


def test_too_many_accelerators_are_said() -> None:
    """Devices asked for, devices there."""
    gpus = pool(accelerator={"resource": "nvidia.com/gpu", "perNode": 1})
    held = Held([], [Request(0.5, 2**30, {"nvidia.com/gpu": 2})])
    size = node_size(gpus)
    assert size is not None
    found, _ = order(gpus, size, held, [], PoolMemory(), ordered=0, hold_s=30, now=0)
    assert "asks for 0.5 CPU and 1.0 GiB, 2 nvidia.com/gpu, a node has 1 and 4.0 GiB, 1 nvidia.com/gpu" in found.reason


def test_what_fits_nowhere_is_said() -> None:
    """Size asked for, size offered, what to do."""
    held = Held([], [Request(2.0, 2**30)])
    found, _ = order(pool(), SIZE, held, [], PoolMemory(), ordered=0, hold_s=30, now=0)
    assert found.desired == 0
    assert "asks for 2 CPU and 1.0 GiB, a node has 1 and 4.0 GiB: lower spec.serving.resources" in found.reason


def test_shrinking_waits_and_takes_empty_nodes() -> None:
    """A surplus must last; then only nodes without replicas go."""
    nodes = [node("a", "m"), node("b"), node("c")]
    first, memory = decide(1, nodes, 3, now=100)
    assert (first.desired, first.victims) == (3, ())
    later, memory = decide(1, nodes, 3, now=131, memory=memory)
    assert (later.desired, later.victims) == (1, ("b", "c"))


def test_a_node_in_use_is_never_taken() -> None:
    """Fewer nodes would do, but each still holds a replica."""
    nodes = [node("a", "m"), node("b", "m")]
    _, memory = decide(2, nodes, 2, now=0)
    found, _ = decide(2, nodes, 2, now=1000, memory=memory)
    assert found.desired == 2


def test_a_short_surplus_is_forgotten() -> None:
    """A burst within the hold starts it anew."""
    nodes = [node("a", "m"), node("b")]
    _, memory = decide(1, nodes, 2, now=0)
    _, memory = decide(4, nodes, 2, now=20, memory=memory)
    found, _ = decide(1, nodes, 2, now=40, memory=memory)
    assert found.desired == 2


@given(
    requests=st.integers(0, 30),
    used=st.lists(st.integers(0, 2), max_size=5),
    doomed=st.integers(0, 5),
    ordered=st.integers(0, 5),
)
def test_limits_always_hold(requests: int, used: list[int], doomed: int, ordered: int) -> None:
    """Nodes that stay are within the limits, and victims are empty."""
    nodes = [node(f"n{i}", *["m"] * count, doomed=i < doomed) for i, count in enumerate(used)]
    going = sum(1 for entry in nodes if entry.doomed)
    found, _ = decide(requests, nodes, ordered, now=1000, memory=PoolMemory(0.0))
    assert 0 <= found.desired - going <= max(5, ordered)
    assert set(found.victims) <= {entry.name for entry in nodes if not entry.used_by and not entry.doomed}


def demand(replicas: int, kind: CapacityType = CapacityType.SPOT, pools: frozenset[str] = frozenset()) -> Demand:
    return Demand("m", kind, replicas, SMALL, pools)


def sizes(held: dict[str, Held]) -> dict[str, int]:
    return {name: len(entry.placed) + len(entry.waiting) for name, entry in held.items()}


def test_replicas_count_where_they_run() -> None:
    """What is placed stays; only the rest is assigned."""
    pools = [pool("a", weight=1), pool("b")]
    held = assign([demand(3)], pools, [node("n", "m", "m", of="b")])
    assert sizes(held) == {"a": 1, "b": 2}


def test_a_doomed_node_holds_nobody() -> None:
    """Its replicas take no room, and are not ordered again: what replaces them is ordered on top."""
    nodes = [node("n", "m", "m", of="a", doomed=True), node("o", "m", of="a")]
    held = assign([demand(5)], [pool("a")], nodes)["a"]
    assert (len(held.placed), len(held.waiting)) == (1, 2)


def test_the_cheapest_of_equal_weight_comes_first() -> None:
    """Weight before price, and the next pool when one is full."""
    dear = pool("dear", price={"perNodeHour": "1"})
    cheap = pool("cheap", price={"perNodeHour": "0.1"}, limits={"maxNodes": 1})
    held = assign([demand(5)], [dear, cheap], [])
    assert sizes(held) == {"dear": 3, "cheap": 2}


def test_capacity_types_and_names_are_kept_apart() -> None:
    """A pool that a model may not use gets none of it."""
    pools = [pool("spot"), pool("other"), pool("od", kind="OnDemand")]
    held = assign([demand(2, pools=frozenset({"other"})), demand(1, CapacityType.ON_DEMAND)], pools, [])
    assert sizes(held) == {"spot": 0, "other": 2, "od": 1}


@pytest.mark.parametrize(
    ("devices", "named", "found"),
    [
        pytest.param({"nvidia.com/gpu": 2}, (), "gpus", id="enough of them"),
        pytest.param({}, (), "cpus", id="dear nodes are left alone"),
        pytest.param({}, ("gpus",), "gpus", id="unless they are named"),
        pytest.param({"google.com/tpu": 1}, (), None, id="nobody has it"),
    ],
)
def test_accelerators_choose_the_pool(devices: dict[str, float], named: tuple[str, ...], found: str | None) -> None:
    """Weight decides only between pools that fit."""
    pools = [
        pool("single", weight=3, accelerator={"resource": "nvidia.com/gpu", "perNode": 1}),
        pool("gpus", weight=2, accelerator={"resource": "nvidia.com/gpu", "perNode": 4}),
        pool("cpus", weight=1),
    ]
    asked = Demand("m", CapacityType.SPOT, 1, Request(0.1, 1, devices), frozenset(named))
    assert [name for name, count in sizes(assign([asked], pools, [])).items() if count] == ([found] if found else [])


def test_a_node_that_went_is_not_ordered_again() -> None:
    """The order that counted a doomed node falls as soon as it is gone, and not after a hold."""
    nodes = [node("a", "m", "m", doomed=True), node("b", "m", "m"), node("c", "m", "m")]
    first, memory = decide(4, nodes, 2)
    assert first.desired == 3
    after, _ = decide(4, nodes[1:], 3, memory=memory)
    assert (after.desired, after.victims) == (2, ())


ZONES = ["a", "b", "c"]


def spread(
    needed: int, running: dict[str, int], known: ZoneState | None = None, now: float = 10.0, booting: Any = None
) -> Any:
    """Return what a pool of three zones orders for replicas of a node each, with so many nodes in use per zone."""
    nodes = [
        Node(f"{zone}{i}", "spot", False, ("m",), Request(0.9, 1), zone)
        for zone, n in running.items()
        for i in range(n)
    ]
    held = Held([], [Request(0.9, 1)] * (needed - len(nodes)))
    of = pool(zones=ZONES, limits={"maxNodes": 20})
    ordered = len(nodes) + sum((booting or {}).values())
    found, _ = order(
        of, SIZE, held, nodes, PoolMemory(), ordered=ordered, hold_s=30, now=now, known=known, booting=booting
    )
    return found


def test_new_nodes_go_where_fewest_are() -> None:
    """The emptiest zones grow; a zone that just lost a node gets none."""
    assert spread(4, {"a": 2, "b": 1, "c": 0}).zones == ("c",)
    assert spread(6, {"a": 2, "b": 1, "c": 1}).zones == ("b", "c")
    lost = with_event(ZoneState(), Notice("1", "c"), 5.0)
    found = spread(5, {"a": 1, "b": 1, "c": 0}, lost)
    assert (found.desired, found.zones) == (5, ("a", "b"))


def test_nodes_that_boot_count_in_their_zone() -> None:
    """An order on its way is not placed again, nor into the same zone."""
    assert spread(3, {"a": 1}, booting={"b": 1}).zones == ("c",)


def test_nothing_is_ordered_where_every_zone_cools_down() -> None:
    """The order waits, and says until when."""
    known = ZoneState()
    for number, zone in enumerate(ZONES):
        known = with_event(known, Loss(str(number), zone), 5.0 + number)
    found = spread(3, {"a": 1, "b": 0, "c": 0}, known)
    assert found.desired == 1
    assert found.reason == (
        "2 replicas need 3 nodes; 2 wait: every zone lost nodes and cools down, the first for another 175 s"
    )
    assert spread(3, {"a": 1, "b": 0, "c": 0}, known, now=186.0).desired == 3


def test_the_fullest_zone_gives_nodes_back_first() -> None:
    """Of the empty nodes, whatever they are called."""
    zones = ["a", "b", "b", "b", "c"]
    nodes = [Node(f"n{i}", "spot", False, (), zone=zone) for i, zone in enumerate(zones)]
    of = pool(zones=ZONES, limits={"maxNodes": 20, "minNodes": 3})
    found, _ = order(of, SIZE, Held(), nodes, PoolMemory(0.0), ordered=5, hold_s=30, now=100)
    assert (found.desired, found.victims) == (3, ("n1", "n2"))


def test_room_is_what_daemons_leave() -> None:
    """A pod on every node makes nodes smaller."""
    size = node_size(pool(), [Request(0.3, 2**30)])
    assert size == {"cpu": 0.7, "memory": 3.0 * 2**30, "pods": 15.0}
    held = Held([], [SMALL, SMALL])
    found, _ = order(pool(), size, held, [], PoolMemory(), ordered=0, hold_s=30, now=0)
    assert found.desired == 2


def test_a_full_pool_counts_the_nodes_that_there_are() -> None:
    """Half-used nodes hold no large replica, so the next pool gets it."""
    first, second = pool("first", weight=1, limits={"maxNodes": 2}), pool("second")
    nodes = [node("a", "n", of="first"), node("b", "n", of="first")]
    asked = Demand("m", CapacityType.SPOT, 1, Request(0.9, 1), frozenset())
    assert sizes(assign([asked], [first, second], nodes)) == {"first": 0, "second": 1}


def test_what_no_pool_has_room_for_is_not_packed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand replicas and ten nodes: the loop that everybody shares must not stand still for seconds."""
    packed: list[int] = []

    def counting(requests: Any, size: Any, rooms: Any = ()) -> int:
        packed.append(len(requests))
        return new_nodes(requests, size, rooms)

    monkeypatch.setattr(packing, "new_nodes", counting)
    first, second = pool(name="a", weight=1), pool(name="b")
    held = assign([demand(1000)], [first, second], [])
    assert len(held["a"].waiting) + len(held["b"].waiting) == 1000
    assert len(held["a"].waiting) > len(held["b"].waiting) > 0, "those that fit nowhere wait for the first"
    assert max(packed) < 200
