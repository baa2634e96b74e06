"""From replicas that wait to machines at a cloud and back, with a real keeper and moto's group."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.api.capacity import CapacityPool, Price
from trimtab.effects.capacityevents import CapacityEvents
from trimtab.effects.pools.aws import Aws
from trimtab.effects.pools.clouds import Clouds
from trimtab.effects.pools.nodes import Nodes
from trimtab.effects.pools.orders import Orders
from trimtab.effects.pools.queues import Queues
from trimtab.planning.fleet import Held, Node, node_size
from trimtab.planning.groups import Failure
from trimtab.planning.packing import Request
from trimtab.planning.zones import Shortage, ZoneState

from .conftest import REGION, client, scaling_group
from .conftest import Nodes as FakeNodes

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REPLICA = Request(0.9, 2**30)  # two on a node of an m5.large


def pool(name: str = "spot", **more: Any) -> CapacityPool:
    spec = {"capacityType": "Spot", "provider": {"autoScalingGroup": {"name": "spot", "region": REGION}}, **more}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "CapacityPool", "metadata": {"name": name}, "spec": spec}
    return CapacityPool.model_validate(body)


class Desk:
    """Orders of one pool, and a wait for what its keeper does."""

    def __init__(self, aws: Aws, cluster: FakeNodes) -> None:
        self.changed = asyncio.Event()
        self.events = CapacityEvents()
        self.market: dict[str, Price] = {}
        self.told: list[str] = []
        self.heard: list[Any] = []
        self.cluster = cluster
        world, nodes = cluster.world(pools={"spot": [{}]}), Nodes(cluster.world(), cluster)  # type: ignore[arg-type]
        self.clouds = Clouds(cluster, aws, NOW.timestamp, self.changed.set)  # type: ignore[arg-type]
        queues = Queues(aws, handle=None)  # type: ignore[arg-type]
        self.orders = Orders(world, nodes, self.clouds, queues, self.events, self.market, hold_s=30)
        self.pool = pool()

    async def look(self, held: Held, own: list[Node], after_s: float = 0.0) -> int | None:
        now = NOW + timedelta(seconds=after_s)
        self.heard += await self.orders.look([self.pool], now)
        size = node_size(self.pool, (), self.orders.shape(self.pool)) or {}
        ordered = await self.orders.order(self.pool, held, own, size, ZoneState(), now)
        if ordered is not None and ordered.decision is not None:
            self.told.append(ordered.decision)
        return ordered.desired if ordered is not None else None

    async def until(self, desired: int) -> set[str]:
        """Wait until the keeper has a group of this size; return its machines."""
        async with asyncio.timeout(60):
            while (group := self.group()) is None or group.desired != desired:
                self.changed.clear()
                await self.changed.wait()
        return {entry.id for entry in group.instances}

    def group(self) -> Any:
        keeper = self.clouds.keeper("spot")
        return keeper.report.group if keeper is not None else None

    def says(self) -> dict[str, tuple[str, str]]:
        return {c.type: (c.status, c.reason) for c in self.orders.conditions(self.pool, 0, 1, NOW)}


@pytest.fixture
async def desk(endpoint: str, aws: Aws, cluster: FakeNodes) -> AsyncIterator[Desk]:
    scaling_group(endpoint, "spot", desired=0)
    made = Desk(aws, cluster)
    yield made
    await made.clouds.close()


def node(name: str, *used: str, doomed: bool = False) -> Node:
    return Node(name, "spot", doomed, used, Request(0.9 * len(used), 2**30 * len(used)))


async def test_machines_come_for_replicas_and_go_empty_by_name(endpoint: str, desk: Desk) -> None:
    """Packed by what the type offers; labelled when they join; the empty one closed first, then taken down."""
    assert await desk.look(Held(), []) is None
    assert desk.says() == {"Ready": ("Unknown", "Progressing"), "CapacityMet": ("True", "CapacityMet")}
    await desk.until(0)
    assert await desk.look(Held(waiting=[REPLICA] * 3), []) == 2
    await desk.until(2)
    machines = [
        entry["InstanceId"]
        for entry in client("autoscaling", endpoint).describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"]
    ]
    keeper = desk.clouds.keeper("spot")
    assert keeper is not None
    keeper.report = replace(keeper.report, group=await keeper._provider.look())
    for name, machine in zip("ab", machines, strict=True):
        desk.cluster.add(name, machine)
    held, own = Held(placed=[REPLICA] * 2), [node("a", "m", "m"), node("b")]
    assert await desk.look(held, own) == 2  # a surplus must last
    assert desk.cluster.nodes["b"]["metadata"]["labels"] == {
        "trimtab.dev/pool": "spot",
        "trimtab.dev/capacity-type": "spot",
    }
    assert desk.market == {"spot": Price(per_node_hour="0.000010")}
    await desk.look(held, own, after_s=31)
    assert list(desk.cluster.taints("b")) == ["trimtab.dev/surplus"]
    assert desk.cluster.taints("a") == {}
    desk.cluster.pods = [{"metadata": {}, "spec": {"nodeName": "b"}}]  # of somebody else, and in between
    await desk.look(held, own, after_s=62)
    assert desk.group().desired == 2
    desk.cluster.pods = []
    for after_s in (93, 124):
        await desk.look(held, own, after_s)
    assert await desk.until(1) == {machines[0]}
    assert desk.told == ["0 -> 2 nodes: 3 replicas need 2 nodes", "2 -> 1 nodes: b stood empty for 30 s"]


async def test_a_shortage_is_an_event_a_condition_and_a_reason_to_look_elsewhere(desk: Desk) -> None:
    """For spot; the planner hears of it once."""
    await desk.look(Held(), [])
    await desk.until(0)
    keeper = desk.clouds.keeper("spot")
    assert keeper is not None
    failure = Failure("f", "InsufficientInstanceCapacity - no Spot capacity", NOW.timestamp())
    provider_look = keeper._provider.look

    async def short() -> Any:
        return replace(await provider_look(), desired=2, failures=(failure,))

    keeper._provider.look = short  # type: ignore[method-assign]
    desk.changed.clear()
    keeper.order(2, ())
    await asyncio.wait_for(desk.changed.wait(), 60)
    for _ in range(2):
        await desk.look(Held(waiting=[REPLICA] * 3), [])
    assert [event.id for event in desk.events.recent(NOW.timestamp())] == ["spot f"]
    assert desk.heard == [Shortage("spot f", ("spot",), "spot")]
    assert desk.orders.short() == {"spot"}
    assert desk.says() == {"Ready": ("True", "CapacityMet"), "CapacityMet": ("False", "Shortage")}
