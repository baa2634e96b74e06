"""Nodes are emptied before they go: gateways under notice, replicas of a pool that was deleted."""

from typing import Any

from trimtab.effects.kubernetes import ApiError
from trimtab.effects.leaving import Leaving
from trimtab.effects.world import World


class Cluster:
    """Node groups, and what was asked of them."""

    def __init__(self, *groups: str) -> None:
        self.groups = {name: {"metadata": {"name": name}, "spec": {"desired": 2}} for name in groups}
        self.asked: list[Any] = []
        self.listed = 0
        self.refuses = False

    async def list(self, *_: Any, **__: Any) -> list[Any]:
        self.listed += 1
        if self.refuses:
            raise ApiError(404, "no such kind")
        return list(self.groups.values())

    async def merge(self, kind: Any, name: str, _: Any, patch: Any) -> None:
        self.asked.append((kind.kind, name, patch["spec"]))
        if name in self.groups:
            self.groups[name]["spec"] |= patch["spec"]

    async def delete(self, kind: Any, name: str, *_: Any) -> None:
        self.asked.append((kind.kind, name, "deleted"))
        self.groups.pop(name, None)


def node(pool: str, *, cordoned: bool = False, name: str = "n") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"trimtab.dev/pool": pool}}, "spec": {"unschedulable": cordoned}}


def pod(node_name: str, **meta: Any) -> dict[str, Any]:
    meta = {"name": "p", "namespace": "default", **meta}
    return {"metadata": meta, "spec": {"nodeName": node_name}, "status": {"phase": "Running"}}


def world(**known: Any) -> World:
    fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
    return World(**{**fields, **known})


async def test_a_deleted_pools_nodes_go_when_they_are_empty() -> None:
    """Cordoned at once, kept at what is used, never ordered again; gone with the last pod on them."""
    cluster: Any = Cluster("spot", "gone")
    nodes = {"a": [node("gone", name="a")], "b": [node("gone", name="b")], "c": [node("spot", name="c")]}
    known = {"pools": {"spot": [{}]}, "nodes": nodes}
    leaving = Leaving(world(**known, pods={"k": [pod("a")]}), cluster)
    assert await leaving.release(orders=True)
    assert cluster.asked == [
        ("Node", "a", {"unschedulable": True}),
        ("Node", "b", {"unschedulable": True}),
        ("NodeGroup", "gone", {"desired": 1, "victims": ["b"]}),
    ]
    cluster.asked.clear()
    nodes |= {name: [node("gone", cordoned=True, name=name)] for name in "ab"}
    assert await leaving.release(orders=True)
    assert cluster.asked == [], "nothing changed, nothing is written"
    leaving = Leaving(world(**known, gateways={"default": [pod("a", deletionTimestamp="now")]}), cluster)
    assert await leaving.release(orders=True), "a gateway that drains is somebody too"
    leaving = Leaving(world(**known), cluster)
    assert not await leaving.release(orders=True)
    assert cluster.asked == [("NodeGroup", "gone", "deleted")]
    assert list(cluster.groups) == ["spot"]


async def test_nobody_asks_for_groups_that_cannot_be() -> None:
    """On a cluster without them one look is enough; where pools order nodes, every look counts, the next one too."""
    cluster: Any = Cluster()
    cluster.refuses = True
    leaving = Leaving(world(), cluster)
    for _ in range(3):
        assert not await leaving.release(orders=False)
    assert cluster.listed == 1
    cluster.refuses = False
    await leaving.release(orders=True)
    await leaving.release(orders=False)
    await leaving.release(orders=False)
    assert cluster.listed == 3


async def test_a_gateway_leaves_a_doomed_node_once() -> None:
    """It drains while the next one starts elsewhere; others stay where they are."""
    cluster: Any = Cluster()
    gateways = [pod("doomed", name="g1"), pod("fine", name="g2"), pod("doomed", name="g3", deletionTimestamp="now")]
    await Leaving(world(gateways={"default": gateways}), cluster).move_gateways({"doomed"})
    assert cluster.asked == [("Pod", "g1", "deleted")]
