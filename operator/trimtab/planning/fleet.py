"""The pools that all models share: which replicas want which pool, and how many nodes that makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool, Embedded, PoolAccelerator
from trimtab.api.quantities import amount, human_bytes


@dataclass(frozen=True, slots=True)
class Request:
    """What one pod reserves."""

    cpu: float
    memory: float
    """Bytes."""
    devices: Mapping[str, float] = field(default_factory=dict)
    """Accelerators by resource name."""

    @property
    def amounts(self) -> dict[str, float]:
        """All of it, and its place among the node's pods, by resource name."""
        return {"cpu": self.cpu, "memory": self.memory, "pods": 1.0, **self.devices}


@dataclass(frozen=True, slots=True)
class Demand:
    """Replicas of one Deployment."""

    workload: str
    capacity_type: CapacityType
    replicas: int
    request: Request
    pools: frozenset[str]
    """Pools that it may use; empty for all."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a pool."""

    name: str
    pool: str
    doomed: bool
    used_by: tuple[str, ...]
    """Workloads of the pods on it, once per pod; those that leave count as `""`."""
    used: Request = Request(0.0, 0.0)
    """What the pods on it reserve together."""
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """Since when a pool has had a node too many (Unix seconds), or None."""

    surplus_since: float | None = None


@dataclass(frozen=True, slots=True)
class PoolOrder:
    """How many nodes a pool should have."""

    pool: str
    desired: int
    victims: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a pool has to hold: replicas that have a node of it, and replicas that wait for one."""

    placed: list[Request] = field(default_factory=list)
    waiting: list[Request] = field(default_factory=list)


def assign(demands: Iterable[Demand], pools: Sequence[CapacityPool], nodes: Sequence[Node]) -> dict[str, Held]:
    """Return what each pool has to hold.

    Replicas count where they run; the others go to the first pool, by weight and then price, that may still grow.
    Those on nodes that go away hold no room: their replacements are among the replicas already, on top of them.
    """
    by_name = {pool.name: pool for pool in pools}
    ordered = sorted(pools, key=lambda pool: (-pool.spec.weight, _price(pool), pool.name))
    held = {pool.name: Held() for pool in pools}
    for demand in sorted(demands, key=lambda demand: demand.workload):
        missing = demand.replicas
        for node in sorted(nodes, key=lambda node: node.doomed):
            placed = min(missing, node.used_by.count(demand.workload))
            if node.pool in by_name and not node.doomed:
                held[node.pool].placed.extend([demand.request] * placed)
            if node.pool in by_name:
                missing -= placed
        fitting = [pool for pool in ordered if _fits(demand, pool)]
        for _ in range(missing):
            if (pool := _first_with_room(fitting, held, demand.request)) is not None:
                held[pool.name].waiting.append(demand.request)
    return held


def order(
    pool: CapacityPool,
    shape: Embedded,
    held: Held,
    nodes: Sequence[Node],
    memory: PoolMemory,
    *,
    ordered: int,
    hold_s: float,
    now: float,
) -> tuple[PoolOrder, PoolMemory]:
    """Decide how many nodes a pool should have: more at once, fewer only after the surplus lasted.

    Nodes that go away do not count: the provider takes them by itself, and what replaces them is ordered now. Waiting
    replicas fill the room on nodes in use first. A node is only given back empty, so that scaling a pool never moves
    a replica.
    """
    limits = pool.spec.limits
    doomed = sum(1 for node in nodes if node.doomed)
    in_use = [node for node in nodes if not node.doomed and node.used_by]
    devices = pool.spec.accelerator
    wanted = len(in_use) + new_nodes(held.waiting, shape, in_use, devices)
    needed = min(limits.max_nodes, max(limits.min_nodes, wanted))
    empty = tuple(sorted(node.name for node in nodes if not node.doomed and not node.used_by))
    staying = max(0, ordered - doomed)
    if needed >= staying:
        reason = f"{len(held.placed) + len(held.waiting)} replicas need {needed} nodes"
        reason += _too_large(held.waiting, _size(shape, devices))
        return PoolOrder(pool.name, needed + doomed, (), reason), PoolMemory()
    since = memory.surplus_since if memory.surplus_since is not None else now
    free = min(staying - needed, len(empty))
    if now - since < hold_s or free == 0:
        reason = f"{needed} nodes would do; {staying} are kept until one has been empty for {hold_s:.0f} s"
        return PoolOrder(pool.name, staying + doomed, (), reason), PoolMemory(since)
    victims = empty[:free]
    reason = f"{', '.join(victims)} stood empty for {hold_s:.0f} s"
    return PoolOrder(pool.name, staying - free + doomed, victims, reason), PoolMemory()


def new_nodes(
    requests: Sequence[Request],
    shape: Embedded,
    in_use: Sequence[Node] = (),
    devices: PoolAccelerator | None = None,
) -> int:
    """Return the nodes to add that hold the requests, first-fit by decreasing size; room of `in_use` goes first.

    A pod that is too large for any node adds none.
    """
    size = _size(shape, devices)
    rooms = []
    for node in sorted(in_use, key=lambda node: node.name):
        used = {**node.used.amounts, "pods": float(len(node.used_by))}
        rooms.append({name: whole - used.get(name, 0.0) for name, whole in size.items()})
    for request in sorted(requests, key=lambda r: (sum(r.devices.values()), r.cpu, r.memory), reverse=True):
        if not _has_room(size, request):
            continue
        room = next((room for room in rooms if _has_room(room, request)), None)
        if room is None:
            rooms.append(room := dict(size))
        for name, taken in request.amounts.items():
            room[name] -= taken
    return len(rooms) - len(in_use)


def _size(shape: Embedded, devices: PoolAccelerator | None) -> dict[str, float]:
    """Return what a node has, by resource name."""
    size = {"cpu": amount(shape.cpu), "memory": amount(shape.memory), "pods": float(shape.pods)}
    return size if devices is None else {**size, devices.resource: float(devices.per_node)}


def _has_room(room: Mapping[str, float], request: Request) -> bool:
    # Thousandths of a CPU add up inexactly as floats; a millionth of one is no CPU.
    return all(room.get(name, -1.0) + 1e-6 >= taken for name, taken in request.amounts.items())


def _too_large(requests: Sequence[Request], size: Mapping[str, float]) -> str:
    large = next((request for request in requests if not _has_room(size, request)), None)
    if large is None:
        return ""
    asked = "".join(f", {count:g} {name}" for name, count in large.devices.items())
    has = "".join(f", {size.get(name, 0):g} {name}" for name in large.devices)
    return (
        f"; a replica asks for {large.cpu:g} CPU and {human_bytes(large.memory)}{asked}, a node has {size['cpu']:g} "
        f"and {human_bytes(size['memory'])}{has}: lower spec.serving.resources or offer larger nodes"
    )


def _fits(demand: Demand, pool: CapacityPool) -> bool:
    named = pool.name in demand.pools
    if pool.spec.capacity_type is not demand.capacity_type or (demand.pools and not named):
        return False
    devices = pool.spec.accelerator
    offered = {devices.resource: devices.per_node} if devices is not None else {}
    if demand.request.devices:
        return all(offered.get(name, 0) >= count for name, count in demand.request.devices.items())
    return devices is None or named


def _first_with_room(pools: Sequence[CapacityPool], held: Mapping[str, Held], request: Request) -> CapacityPool | None:
    for pool in pools:
        shape = pool.spec.provider.embedded
        together = [*held[pool.name].placed, *held[pool.name].waiting, request]
        if shape is None or new_nodes(together, shape, devices=pool.spec.accelerator) <= pool.spec.limits.max_nodes:
            return pool
    return pools[0] if pools else None


def _price(pool: CapacityPool) -> float:
    return float(pool.spec.price.per_node_hour) if pool.spec.price else float("inf")
