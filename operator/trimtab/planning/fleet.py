"""The pools that all models share: which replicas want which pool, and how many nodes that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool, NodeShape
from trimtab.api.quantities import amount, counted, human_bytes
from trimtab.planning import packing, zoning
from trimtab.planning.packing import Amounts, Request
from trimtab.planning.zones import ZoneState, is_cooling


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
    used: Request = packing.NOTHING
    """What the pods on it reserve together."""
    zone: str | None = None
    requests: tuple[Request, ...] = ()
    """What each pod on it reserves."""

    @property
    def domain(self) -> str:
        """Its failure domain: a pool without zones is one."""
        return self.zone or self.pool

    def room(self, size: Amounts) -> dict[str, float]:
        """Return what is free on it, when a node has `size`."""
        used = {**self.used.amounts, "pods": float(len(self.used_by))}
        return {name: whole - used.get(name, 0.0) for name, whole in size.items()}


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """What is to be remembered of a pool between two looks."""

    surplus_since: float | None = None
    """Since when it has had a node too many, in seconds."""
    doomed: frozenset[str] = frozenset()
    """Nodes that were going away at the last look, and were ordered anew on top."""


@dataclass(frozen=True, slots=True)
class PoolOrder:
    """How many nodes a pool should have."""

    pool: str
    desired: int
    victims: tuple[str, ...]
    reason: str
    zones: tuple[str, ...] = ()
    """Where new nodes are to be, the best first; empty where the pool names no zones."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a pool has to hold: replicas that have a node of it, and replicas that wait for one."""

    placed: list[Request] = field(default_factory=list)
    waiting: list[Request] = field(default_factory=list)


def assign(
    demands: Iterable[Demand],
    pools: Sequence[CapacityPool],
    nodes: Sequence[Node],
    sizes: Mapping[str, Amounts] | None = None,
    short: Collection[str] = (),
) -> dict[str, Held]:
    """Return what each pool has to hold; `sizes` is what an empty node of each has for pods of ours, where known.

    Pools that are `short`, whose provider has no node for them now, come after all others.

    Replicas count where they run; the others go to the first pool, by weight and then price, that may still grow.
    Those on nodes that go away hold no room: their replacements are among the replicas already, on top of them.
    """
    by_name = {pool.name: pool for pool in pools}
    if sizes is None:
        sizes = {pool.name: size for pool in pools if (size := node_size(pool)) is not None}
    rooms = {
        name: [node.room(size) for node in nodes if node.pool == name and node.used_by and not node.doomed]
        for name, size in sizes.items()
    }
    ordered = sorted(pools, key=lambda pool: (pool.name in short, -pool.spec.weight, _price(pool), pool.name))
    held = {pool.name: Held() for pool in pools}
    there: dict[str, list[tuple[Node, int]]] = {}
    for node in sorted(nodes, key=lambda node: node.doomed):
        for workload, count in Counter(node.used_by).items():
            there.setdefault(workload, []).append((node, count))
    for demand in sorted(demands, key=lambda demand: demand.workload):
        missing = demand.replicas
        for node, count in there.get(demand.workload, ()):
            placed = min(missing, count)
            if node.pool in by_name and not node.doomed:
                held[node.pool].placed.extend([demand.request] * placed)
            if node.pool in by_name:
                missing -= placed
        fitting = [pool for pool in ordered if _fits(demand, pool)]
        open_to_it = list(fitting)
        for left in range(missing, 0, -1):
            # A pool that has no room for one more of them has none for the next either.
            while open_to_it and not _has_room(open_to_it[0], held, demand.request, sizes, rooms):
                del open_to_it[0]
            if not open_to_it:
                if fitting:
                    held[fitting[0].name].waiting.extend([demand.request] * left)
                break
            held[open_to_it[0].name].waiting.append(demand.request)
    return held


def order(
    pool: CapacityPool,
    size: Amounts,
    held: Held,
    nodes: Sequence[Node],
    memory: PoolMemory,
    *,
    ordered: int,
    hold_s: float,
    now: float,
    known: ZoneState | None = None,
    booting: Mapping[str, int] | None = None,
    retiring: Collection[str] = (),
) -> tuple[PoolOrder, PoolMemory]:
    """Decide how many nodes a pool should have, and where: more at once, fewer only after the surplus lasted.

    Nodes that go away do not count: the provider takes them by itself, and what replaces them is ordered now. Waiting
    replicas fill the room on nodes in use first. A node is only given back empty, so that scaling a pool never moves
    a replica. Nothing is ordered while every zone cools down: where capacity was just lost, there is none.

    Args:
        pool: The pool.
        size: What an empty node has for pods of ours.
        held: What the pool has to hold.
        nodes: Its nodes.
        memory: What the last look left.
        ordered: Nodes that the provider was asked for last.
        hold_s: How long a surplus must last, in seconds.
        now: The moment, in seconds.
        known: What is known of the zones; nothing where losses do not matter, as on demand.
        booting: Nodes by zone that are not there yet.
        retiring: Doomed nodes that nobody takes but we: they are given back as soon as they are empty.
    """
    known = known if known is not None else ZoneState()
    limits = pool.spec.limits
    staying_nodes = [node for node in nodes if not node.doomed]
    doomed = len(nodes) - len(staying_nodes)
    in_use = [node for node in staying_nodes if node.used_by]
    wanted = len(in_use) + packing.new_nodes(held.waiting, size, [node.room(size) for node in in_use])
    needed = min(limits.max_nodes, max(limits.min_nodes, wanted))
    empty = {node.name: node.domain for node in staying_nodes if not node.used_by}
    emptied = tuple(sorted(node.name for node in nodes if node.name in retiring and not node.used_by))
    going = frozenset(node.name for node in nodes if node.doomed and node.name not in emptied)
    # The order still counts those that went since: the provider would replace them a second time.
    gone = len(memory.doomed - {node.name for node in nodes})
    staying = max(0, ordered - doomed - gone)
    running = _by_domain(pool, staying_nodes, booting or {})
    if needed >= staying:
        targets = zoning.placed(needed, running, known, now)
        count = max(sum(targets.values()), min(needed, staying))
        replicas = counted(len(held.placed) + len(held.waiting), "replica needs", "replicas need")
        reason = f"{replicas} {counted(needed, 'node')}"
        if count < needed:
            reason += f"; {needed - count} wait: {_cooling(running, known, now)}"
        reason += _too_large(held.waiting, size)
        zones = zoning.growing(running, targets, known, now) if pool.spec.zones else ()
        reason += _elsewhere(pool, zones, count - staying, known, now)
        return PoolOrder(pool.name, count + len(going), emptied, reason, zones), PoolMemory(doomed=going)
    since = memory.surplus_since if memory.surplus_since is not None else now
    free = min(staying - needed, len(empty))
    if now - since < hold_s or free == 0:
        kept = f"{counted(staying, 'is', 'are')} kept until one has been empty for {hold_s:.0f} s"
        reason = f"{counted(needed, 'node')} would do; {kept}"
        return PoolOrder(pool.name, staying + len(going), emptied, reason), PoolMemory(since, going)
    victims = zoning.leaving(free, empty, running, known, now)
    reason = f"{', '.join(victims)} stood empty for {hold_s:.0f} s"
    return PoolOrder(pool.name, staying - free + len(going), (*emptied, *victims), reason), PoolMemory(doomed=going)


def node_size(
    pool: CapacityPool, overhead: Iterable[Request] = (), shape: NodeShape | None = None
) -> dict[str, float] | None:
    """Return what an empty node of a pool has for pods of ours; None where the pool does not say.

    `overhead` are the pods that every node runs besides, those of DaemonSets; `shape` is what its provider says.
    """
    shape = shape or pool.spec.provider.embedded
    if shape is None:
        return None
    devices = pool.spec.accelerator
    size = {"cpu": amount(shape.cpu), "memory": amount(shape.memory), "pods": float(shape.pods)}
    if devices is not None:
        size[devices.resource] = float(devices.per_node)
    return packing.without(size, overhead)


def _by_domain(pool: CapacityPool, nodes: Iterable[Node], booting: Mapping[str, int]) -> dict[str, int]:
    running = dict.fromkeys(pool.spec.zones or (pool.name,), 0)
    for node in nodes:
        running[node.domain] = running.get(node.domain, 0) + 1
    for zone, count in booting.items():
        name = zone or pool.name
        running[name] = running.get(name, 0) + count
    return running


def _elsewhere(pool: CapacityPool, zones: Sequence[str], more: int, known: ZoneState, now: float) -> str:
    """Return where new nodes go and why not elsewhere, in words; nothing where no zone is avoided."""
    avoided = [name for name in pool.spec.zones if is_cooling(known, name, now)]
    if more <= 0 or not avoided or not zones:
        return ""
    return f"; new ones in {', '.join(zones[:more])}, as {', '.join(avoided)} lost nodes and cools down"


def _cooling(running: Iterable[str], known: ZoneState, now: float) -> str:
    """Return until when there is nothing to order, in words."""
    soonest = min((known.zones[name].cooling_until for name in running if name in known.zones), default=now)
    return f"every zone lost nodes and cools down, the first for another {max(0.0, soonest - now):.0f} s"


def _too_large(requests: Sequence[Request], size: Mapping[str, float]) -> str:
    large = next((request for request in requests if not packing.fits(size, request)), None)
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


def _has_room(
    pool: CapacityPool,
    held: Mapping[str, Held],
    request: Request,
    sizes: Mapping[str, Amounts],
    rooms: Mapping[str, Sequence[Amounts]],
) -> bool:
    """Whether a pool takes one more replica within its most nodes; one of unknown size does."""
    size = sizes.get(pool.name)
    if size is None:
        return True
    used, most, waiting = rooms[pool.name], pool.spec.limits.max_nodes, held[pool.name].waiting
    # One node per replica is the most that it can take: only then does it have to be packed.
    return len(used) + len(waiting) < most or len(used) + packing.new_nodes([*waiting, request], size, used) <= most


def _price(pool: CapacityPool) -> float:
    return float(pool.spec.price.per_node_hour) if pool.spec.price else float("inf")
