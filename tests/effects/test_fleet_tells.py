"""What the pools' statuses and events say, and what a new operator reads there."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quietclouds import QuietClouds

from trimtab.api.base import CapacityType
from trimtab.effects.fleet import Fleet
from trimtab.effects.gather import Gatherer
from trimtab.effects.kubernetes import ApiError
from trimtab.effects.pools.orders import Ordered
from trimtab.effects.world import World
from trimtab.planning.plan import Announce
from trimtab.planning.settings import Settings
from trimtab.planning.zones import Quota, Shortage

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings("a", "b", "c")


class Cluster(QuietClouds):
    """Pools of one cluster and the embedded cloud's nodes; counts what is written."""

    def __init__(self, *pools: dict[str, Any]) -> None:
        fields: dict[str, Any] = {name: {} for name in World.__dataclass_fields__}
        self.pools = {pool["metadata"]["name"]: [pool] for pool in pools}
        self.nodes: dict[str, list[Any]] = {}
        self.deployments: dict[Any, list[Any]] = {}
        self.world = World(**{**fields, "pools": self.pools, "nodes": self.nodes})
        self.groups: dict[str, Any] = {}
        self.now = START
        self.writes: list[dict[str, Any]] = []
        self.told: list[tuple[str, Announce]] = []
        self.heard: list[Any] = []
        self.ordered: Callable[[str], Ordered | None] = lambda _: None

    def add(self, name: str, pool: str, zone: str) -> None:
        labels = {"trimtab.dev/pool": pool, "topology.kubernetes.io/zone": zone}
        spec = {"taints": [], "unschedulable": False}
        self.nodes[name] = [{"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {}}]

    def status(self, pool: str) -> dict[str, Any]:
        found: dict[str, Any] = self.pools[pool][0].get("status") or {}
        return found

    async def get(self, _: Any, name: str) -> Any:
        return self.groups.get(name)

    async def apply(self, manifest: dict[str, Any], subresource: str) -> dict[str, Any]:
        assert subresource == "status"
        self.writes.append(manifest)
        name = manifest["metadata"]["name"]
        self.pools[name] = [{**self.pools[name][0], "status": manifest["status"]}]
        return manifest

    async def execute(self, about: dict[str, Any], actions: list[Any]) -> list[str]:
        for action in actions:
            if isinstance(action, Announce):
                self.told.append((about["metadata"]["name"], action))
            else:
                self.groups[action.manifest["metadata"]["name"]] = action.manifest
        return []

    async def look(self, *_: Any) -> list[Any]:
        heard, self.heard = self.heard, []
        return heard

    async def order(self, pool: Any, *_: Any) -> Ordered | None:
        return self.ordered(pool.name)

    async def list(self, *_: Any, **__: Any) -> Any:
        return []

    def operator(self) -> Fleet:
        """Return a new one, which knows nothing but what is written."""
        that: Any = self
        gatherer = Gatherer(self.world, that, that, SETTINGS, lambda: self.now)
        return Fleet(self.world, gatherer, that, that, SETTINGS, lambda: self.now, that)


def pool(name: str, kind: str, provider: dict[str, Any], **more: Any) -> dict[str, Any]:
    meta = {"name": name, "uid": f"uid-{name}", "generation": 1}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": meta}
    return {**body, "spec": {"capacityType": kind, "provider": provider, **more}}


def cloudy(name: str, kind: CapacityType) -> dict[str, Any]:
    return pool(name, kind.value, {"autoScalingGroup": {"name": name, "region": "eu-west-1"}})


async def test_a_restart_forgets_no_lost_zone() -> None:
    """A node goes without a word; another operator still orders elsewhere, and has nothing to write."""
    spot = pool("spot", "Spot", {"embedded": {}}, zones=["a", "b"], limits={"minNodes": 2})
    cluster = Cluster(spot, pool("od", "OnDemand", {"embedded": {}}))
    for name, zone in (("n1", "a"), ("n2", "b")):
        cluster.add(name, "spot", zone)
    first = cluster.operator()
    await first.reconcile()
    assert "zones" not in cluster.status("spot")
    del cluster.nodes["n1"]
    cluster.now += timedelta(seconds=2)
    await first.reconcile()
    (zone,) = cluster.status("spot")["zones"]
    assert (zone["zone"], zone["coolingUntil"]) == ("a", "2026-03-01T12:03:02Z")
    assert cluster.groups["spot"]["spec"]["zones"] == ["b"]

    cluster.now += timedelta(seconds=2)
    await first.reconcile()
    cluster.groups["spot"]["spec"]["zones"] = ["a", "b"]
    written = len(cluster.writes)
    second = cluster.operator()
    for _ in range(3):
        cluster.now += timedelta(seconds=2)
        await second.reconcile()
    assert cluster.groups["spot"]["spec"]["zones"] == ["b"]
    assert len(cluster.writes) == written
    cluster.now += timedelta(seconds=180)
    await second.reconcile()
    assert cluster.groups["spot"]["spec"]["zones"] == ["a"]


async def test_what_a_cloud_has_not_is_an_event_and_a_decision() -> None:
    """On demand as for spot, beside what was ordered; once, with the newest first."""
    cluster = Cluster(cloudy("od", CapacityType.ON_DEMAND), cloudy("spot", CapacityType.SPOT))
    operator = cluster.operator()
    await operator.reconcile()
    cluster.heard = [Shortage("1", ("x",), "od", spot=False), Quota("2", "spot")]
    told = itertools.chain(["0 -> 2 nodes: 3 replicas need 2 nodes"], itertools.repeat(None))
    cluster.ordered = lambda name: Ordered(2, next(told)) if name == "od" else None
    for _ in range(3):
        cluster.now += timedelta(seconds=2)
        await operator.reconcile()
    assert [(name, event.reason, event.type) for name, event in cluster.told] == [
        ("od", "Shortage", "Warning"),
        ("spot", "QuotaReached", "Warning"),
        ("od", "NodesOrdered", "Normal"),
    ]
    assert [entry["message"] for entry in cluster.status("od")["decisions"]] == [
        "0 -> 2 nodes: 3 replicas need 2 nodes",
        "the provider has no on-demand node in x; replicas that need one wait for it",
    ]
    assert [entry["message"] for entry in cluster.status("spot")["decisions"]] == [
        "pool spot is at the account's quota: nothing more is ordered there for 30 min"
    ]
    assert cluster.status("od")["desired"] == 2
    assert len(cluster.writes) == 4, "two pools, at first and when there was something to say"


def taint(cluster: Cluster, node: str, *keys: str) -> None:
    body = cluster.nodes[node][0]
    cluster.nodes[node] = [{**body, "spec": {**body["spec"], "taints": [{"key": key} for key in keys]}}]


async def test_a_machine_that_is_given_back_is_no_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cloud announces its end as it does any other's; no zone cools down for it. One that stays does count."""
    monkeypatch.setattr(QuietClouds, "given_back", lambda self: frozenset(self.closed))
    cluster: Any = Cluster(cloudy("spot", CapacityType.SPOT), cloudy("od", CapacityType.ON_DEMAND))
    cluster.closed = {"n1"}
    for name in ("n1", "n2"):
        cluster.add(name, "spot", "a")
    operator = cluster.operator()
    await operator.reconcile()
    taint(cluster, "n1", "trimtab.dev/surplus", "trimtab.dev/interrupted")
    cluster.now += timedelta(seconds=2)
    await operator.reconcile()
    cluster.closed = set()
    del cluster.nodes["n1"]
    cluster.now += timedelta(seconds=2)
    await operator.reconcile()
    assert cluster.status("spot")["interruptions"] == 0
    assert "zones" not in cluster.status("spot")
    taint(cluster, "n2", "trimtab.dev/interrupted")
    cluster.now += timedelta(seconds=2)
    await operator.reconcile()
    assert cluster.status("spot")["interruptions"] == 1
    assert [zone["zone"] for zone in cluster.status("spot")["zones"]] == ["a"]


async def test_a_restart_counts_no_notice_twice() -> None:
    """What a new operator finds doomed was counted by the last one; another node's notice is one more."""
    cluster = Cluster(cloudy("spot", CapacityType.SPOT), cloudy("od", CapacityType.ON_DEMAND))
    for name in ("n1", "n2"):
        cluster.add(name, "spot", "a")
    first = cluster.operator()
    await first.reconcile()
    taint(cluster, "n1", "trimtab.dev/interrupted")
    await first.reconcile()
    assert cluster.status("spot")["interruptions"] == 1
    cluster.now += timedelta(seconds=30)
    second = cluster.operator()
    await second.reconcile()
    assert cluster.status("spot")["interruptions"] == 1
    taint(cluster, "n2", "trimtab.dev/interrupted")
    cluster.now += timedelta(seconds=2)
    await second.reconcile()
    assert cluster.status("spot")["interruptions"] == 2


async def test_a_pool_that_cannot_be_read_says_so_of_its_generation() -> None:
    """Whoever waits for this generation must not be told of generation 0."""
    cluster = Cluster(pool("spot", "Spot", {"embedded": {}}, instanceTypes=["m7i.large"]))
    await cluster.operator().reconcile()
    assert {c["observedGeneration"] for c in cluster.status("spot")["conditions"]} == {1}


async def test_one_pools_trouble_holds_up_no_other() -> None:
    """What the API server refuses for one is tried again; the others are looked at meanwhile."""
    cluster = Cluster(cloudy("a", CapacityType.SPOT), cloudy("b", CapacityType.SPOT))
    cluster.add("n", "b", "z")
    operator = cluster.operator()
    await operator.reconcile()
    taint(cluster, "n", "trimtab.dev/interrupted")

    def refuse(name: str) -> None:
        if name == "a":
            raise ApiError(403, "nodes is forbidden")

    cluster.ordered = refuse
    for _ in range(2):
        cluster.now += timedelta(seconds=2)
        with pytest.raises(ApiError, match="nodes is forbidden"):
            await operator.reconcile()
    assert (cluster.status("b")["doomed"], cluster.status("b")["interruptions"]) == (1, 1)


async def test_a_node_whose_kubelet_is_silent_is_not_ready() -> None:
    """It has the pool's label all the same."""
    cluster = Cluster(cloudy("spot", CapacityType.SPOT))
    for name, ready in (("n1", "True"), ("n2", "Unknown"), ("n3", "False")):
        cluster.add(name, "spot", "a")
        cluster.nodes[name][0]["status"] = {"conditions": [{"type": "Ready", "status": ready}]}
    await cluster.operator().reconcile()
    assert cluster.status("spot")["ready"] == 1
