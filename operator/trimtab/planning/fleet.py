"""The pools that all models share: which replicas want which pool, and how many nodes that makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool, Embedded
from trimtab.api.quantities import amount


@dataclass(frozen=True, slots=True)
class Request:
    """What one pod reserves."""

    cpu: float
    memory: float
    """Bytes."""


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
    """Workloads of the pods on it that stay, once per pod; pods of others count as `""`."""
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


def assign(demands: Iterable[Demand], pools: Sequence[CapacityPool], nodes: Sequence[Node]) -> dict[str, list[Request]]:
    """Return the requests that each pool has to hold.

    Replicas count where they run; the others go to the first pool, by weight and then price, that may still grow.
    """
    by_name = {pool.name: pool for pool in pools}
    ordered = sorted(pools, key=lambda pool: (-pool.spec.weight, _price(pool), pool.name))
    held: dict[str, list[Request]] = {pool.name: [] for pool in pools}
    for demand in sorted(demands, key=lambda demand: demand.workload):
        missing = demand.replicas
        for node in nodes:
            placed = 0 if node.doomed else min(missing, node.used_by.count(demand.workload))
            if node.pool in by_name and placed:
                held[node.pool] += [demand.request] * placed
                missing -= placed
        fitting = [pool for pool in ordered if _fits(demand, pool)]
        for _ in range(missing):
            if (pool := _first_with_room(fitting, held, demand.request)) is not None:
                held[pool.name].append(demand.request)
    return held


def order(
    pool: CapacityPool,
    shape: Embedded,
    requests: Sequence[Request],
    nodes: Sequence[Node],
    memory: PoolMemory,
    *,
    ordered: int,
    hold_s: float,
    now: float,
) -> tuple[PoolOrder, PoolMemory]:
    """Decide how many nodes a pool should have: more at once, fewer only after the surplus lasted.

    Nodes that go away do not count: the provider takes them by itself, and what replaces them is ordered now. A node
    is only given back empty, so that scaling a pool never moves a replica.
    """
    limits = pool.spec.limits
    doomed = sum(1 for node in nodes if node.doomed)
    needed = min(limits.max_nodes, max(limits.min_nodes, nodes_for(requests, shape)))
    empty = tuple(sorted(node.name for node in nodes if not node.doomed and not node.used_by))
    staying = max(0, ordered - doomed)
    if needed >= staying:
        reason = f"{len(requests)} replicas need {needed} nodes"
        return PoolOrder(pool.name, needed + doomed, (), reason), PoolMemory()
    since = memory.surplus_since if memory.surplus_since is not None else now
    free = min(staying - needed, len(empty))
    if now - since < hold_s or free == 0:
        reason = f"{needed} nodes would do; {staying} are kept until one has been empty for {hold_s:.0f} s"
        return PoolOrder(pool.name, staying + doomed, (), reason), PoolMemory(since)
    victims = empty[:free]
    reason = f"{', '.join(victims)} stood empty for {hold_s:.0f} s"
    return PoolOrder(pool.name, staying - free + doomed, victims, reason), PoolMemory()


def nodes_for(requests: Sequence[Request], shape: Embedded) -> int:
    """Return the nodes that hold the requests, first-fit by decreasing size; a pod too big for any counts none."""
    cpu, memory, pods = amount(shape.cpu), amount(shape.memory), shape.pods
    bins: list[list[float]] = []
    for request in sorted(requests, key=lambda r: (r.cpu, r.memory), reverse=True):
        if request.cpu > cpu or request.memory > memory:
            continue
        for free in bins:
            if free[0] >= request.cpu and free[1] >= request.memory and free[2] >= 1:
                break
        else:
            free = [cpu, memory, float(pods)]
            bins.append(free)
        free[0] -= request.cpu
        free[1] -= request.memory
        free[2] -= 1
    return len(bins)


def _fits(demand: Demand, pool: CapacityPool) -> bool:
    allowed = not demand.pools or pool.name in demand.pools
    return allowed and pool.spec.capacity_type is demand.capacity_type


def _first_with_room(
    pools: Sequence[CapacityPool], held: Mapping[str, list[Request]], request: Request
) -> CapacityPool | None:
    for pool in pools:
        shape = pool.spec.provider.embedded
        if shape is None or nodes_for([*held[pool.name], request], shape) <= pool.spec.limits.max_nodes:
            return pool
    return pools[0] if pools else None


def _price(pool: CapacityPool) -> float:
    return float(pool.spec.price.per_node_hour) if pool.spec.price else float("inf")
