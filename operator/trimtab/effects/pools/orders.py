"""How many nodes each pool of a cloud is to have, by the same decision as the embedded ones, and what to say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from trimtab.api import conditions as c
from trimtab.api.capacity import CapacityPool, NodeShape, Price
from trimtab.api.conditions import Condition, ConditionStatus, Reason
from trimtab.api.quantities import amount, counted
from trimtab.effects.capacityevents import CapacityEvents
from trimtab.effects.pools.clouds import Clouds
from trimtab.effects.pools.keeper import Keeper
from trimtab.effects.pools.nodes import Nodes, instance_of
from trimtab.effects.pools.queues import Queues
from trimtab.effects.world import World
from trimtab.planning import groups, zones
from trimtab.planning.fleet import Held, Node, PoolMemory, order
from trimtab.planning.groups import Trouble
from trimtab.planning.packing import Amounts
from trimtab.planning.zones import Quota, Shortage, ZoneState

log = structlog.get_logger(__name__)

# What a node of unknown size holds: one is ordered, and tells by being there.
_UNKNOWN = NodeShape(cpu=1_000_000, memory=2**60, pods=110)
_UNCERTAIN = {Reason.PROVIDER_THROTTLED, Reason.PROVIDER_UNREACHABLE}
_SHORT = {Reason.SHORTAGE, Reason.QUOTA_REACHED, Reason.LAUNCH_FAILED}


@dataclass(frozen=True, slots=True)
class Ordered:
    """How many nodes a pool is to have; `decision` says why where that is new."""

    desired: int
    decision: str | None = None


class Orders:
    """Orders nodes of clouds."""

    def __init__(
        self,
        world: World,
        nodes: Nodes,
        clouds: Clouds,
        queues: Queues,
        events: CapacityEvents,
        market: MutableMapping[str, Price],
        hold_s: float,
    ) -> None:
        """`market` is told each pool's price, `hold_s` is how long a node must be empty before it is given back."""
        self._market = market
        self._world = world
        self._nodes = nodes
        self._clouds = clouds
        self._queues = queues
        self._events = events
        self._hold_s = hold_s
        self._memory: dict[str, float | None] = {}
        """Since when a pool has had a node too many, in seconds."""
        self._limits: dict[str, Trouble | None] = {}
        self._ordered: dict[str, int] = {}

    async def look(self, pools: Sequence[CapacityPool], now: datetime) -> list[Shortage | Quota]:
        """Begin a look at all pools: keep them, label their nodes, note what their groups tell; return what is new."""
        self._clouds.sync(pools)
        self._queues.sync(pools)
        self._memory = {name: kept for name, kept in self._memory.items() if self._clouds.keeper(name) is not None}
        for name in [name for name in self._market if self._clouds.keeper(name) is None]:
            del self._market[name]
        members, heard = {}, []
        for pool in pools:
            keeper = self._clouds.keeper(pool.name)
            if keeper is None:
                continue
            group = keeper.report.group
            if group is not None and group.price is not None:
                self._market[pool.name] = group.price
            else:
                self._market.pop(pool.name, None)
            members[pool.name] = {instance.id for instance in group.instances} if group is not None else set()
            keeper.joined = frozenset(self._ready_instances())
            for event in keeper.report.news.events:
                if self._events.note(event, now.timestamp()):
                    heard.append(event)
                    log.info("capacity.event_noted", kind=type(event).__name__, id=event.id)
        await self._nodes.label(pools, members)
        return heard

    def shape(self, pool: CapacityPool) -> NodeShape | None:
        """Return what a node of a cloud's pool offers: the least of its nodes, else what its types do."""
        keeper = self._clouds.keeper(pool.name)
        if keeper is None or not keeper.resizable:
            return None
        seen = [found for node in self._nodes.of_pool(pool.name) if (found := _allocatable(node)) is not None]
        if seen:
            return NodeShape(
                cpu=f"{int(1000 * min(cpu for cpu, _, _ in seen))}m",
                memory=int(min(memory for _, memory, _ in seen)),
                pods=max(1, min(1000, int(min(pods for _, _, pods in seen)))),
            )
        group = keeper.report.group
        return group.shape if group is not None and group.shape is not None else _UNKNOWN

    def given_back(self) -> frozenset[str]:
        """Return the nodes that go because they are not needed: no loss."""
        return self._nodes.closed()

    def short(self) -> frozenset[str]:
        """Return the pools that give no node now: others come before them."""
        return frozenset(
            name
            for name in self._world.pools
            if (keeper := self._clouds.keeper(name)) is not None
            and keeper.report.news.trouble is not None
            and keeper.report.news.trouble.reason in _SHORT
        )

    async def order(
        self, pool: CapacityPool, held: Held, own: Sequence[Node], size: Amounts, known: ZoneState, now: datetime
    ) -> Ordered | None:
        """Order a pool's nodes; return how many, None for a pool whose nodes nobody makes or that was not seen yet."""
        keeper = self._clouds.keeper(pool.name)
        group = keeper.report.group if keeper is not None else None
        if keeper is None or group is None:
            return None
        if not keeper.resizable or group.objections:
            return Ordered(group.desired)
        at = now.timestamp()
        instances = {node.name: self._instance(node.name) for node in own}
        present = {instance.id: instance for instance in group.instances}
        counted = [node for node in own if instances[node.name] in present]
        # The group's size falls in the same call that takes a node down, so nothing has to be remembered of it.
        since = self._memory.get(pool.name)
        booting = Counter(entry.zone for entry in group.instances if entry.id not in set(instances.values()))
        made, after = order(
            pool,
            size,
            held,
            counted,
            PoolMemory(since),
            ordered=group.desired,
            hold_s=self._hold_s,
            now=at,
            known=known,
            booting=booting,
        )
        # Who is to go is closed first and goes at a later look: until then the surplus lasts.
        self._memory[pool.name] = since if made.victims else after.surplus_since
        left = await self._emptied(pool, own, counted, made.victims)
        doomed = [node for node in counted if node.doomed]
        leaving = sum(1 for node in doomed if node.name in left)
        size_wanted, self._limits[pool.name] = groups.bounded(
            made.desired - leaving, len(doomed), pool.spec.limits, group
        )
        if zones.is_over_quota(self._events.known, pool.name, at):
            size_wanted = min(size_wanted, max(len(group.instances), group.min_size))
        keeper.order(size_wanted, [instances[name] for name in left])
        # Until the group has that size, each look finds the same difference.
        is_new = size_wanted not in {group.desired, self._ordered.get(pool.name)}
        self._ordered[pool.name] = size_wanted
        return Ordered(size_wanted, f"{group.desired} -> {size_wanted} nodes: {made.reason}" if is_new else None)

    async def _emptied(
        self, pool: CapacityPool, own: Sequence[Node], counted: Sequence[Node], victims: Sequence[str]
    ) -> list[str]:
        """Return the nodes that may be taken down now: closed to new pods, and nobody's pod is on them any more.

        Nodes of the pool that its group no longer counts stay closed until they are gone.
        """
        unused = {node.name for node in counted if node.doomed and not node.used_by}
        gone = {node.name for node in own} - {node.name for node in counted}
        closed = await self._nodes.keep_surplus(pool.name, {*victims, *unused, *gone})
        return [name for name in sorted(closed - gone) if await self._nodes.is_idle(name)]

    def conditions(self, pool: CapacityPool, nodes: int, generation: int, now: datetime) -> tuple[Condition, ...]:
        """Return what to say of a pool."""

        def condition(kind: str, status: ConditionStatus, reason: str, message: str) -> Condition:
            return Condition(kind, status, reason, message, generation, now)

        keeper, unheard = self._clouds.keeper(pool.name), self._queues.problem(pool)
        if unheard is not None:
            ready = condition(c.READY, "False", unheard.reason, unheard.message)
        elif keeper is not None:
            ready = condition(c.READY, *_readiness(keeper, nodes))
        else:
            ready = condition(c.READY, "True", Reason.CAPACITY_MET, counted(nodes, "node"))
        if keeper is None:
            return (ready,)
        trouble = keeper.report.news.trouble or self._limits.get(pool.name)
        met = (
            condition(c.CAPACITY_MET, "False", trouble.reason, trouble.message)
            if trouble is not None
            else condition(c.CAPACITY_MET, "True", Reason.CAPACITY_MET, "every node that was ordered is there or boots")
        )
        return ready, met

    def _instance(self, name: str) -> str:
        node = self._world.node(name)
        return instance_of(node) if node is not None else ""

    def _ready_instances(self) -> list[str]:
        return [instance_of(node) for node in self._nodes.ready()]


def _readiness(keeper: Keeper, nodes: int) -> tuple[ConditionStatus, str, str]:
    problem, group = keeper.report.problem, keeper.report.group
    if problem is not None:
        return "Unknown" if problem.reason in _UNCERTAIN else "False", problem.reason, problem.message
    if group is None:
        return "Unknown", Reason.PROGRESSING, "the provider has not been asked yet"
    if group.objections:
        return "False", Reason.GROUP_UNFIT, "; ".join(group.objections)
    return "True", Reason.CAPACITY_MET, counted(nodes, "node")


def _allocatable(node: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Return CPUs, bytes and pods that a node has room for; None before its kubelet told all of them."""
    found = node["status"].get("allocatable") or {}
    if not {"cpu", "memory", "pods"} <= found.keys():
        return None
    return amount(found["cpu"]), amount(found["memory"]), amount(found["pods"])
