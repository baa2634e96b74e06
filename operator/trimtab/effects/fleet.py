"""The pools: one look at all models' replicas together, orders to whoever makes the nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from trimtab.api import conditions as c
from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import Condition, ConditionStatus, Reason, timestamp
from trimtab.api.names import Key
from trimtab.api.status import CostStatus, DecisionStatus
from trimtab.effects import fleetview
from trimtab.effects.consolidating import Consolidating
from trimtab.effects.execute import Executor
from trimtab.effects.gather import Gatherer
from trimtab.effects.kinds import NODE_GROUPS
from trimtab.effects.kubernetes import ApiError, Cluster
from trimtab.effects.leaving import Leaving
from trimtab.effects.pools.orders import Orders
from trimtab.effects.remembering import Remembered, stamp
from trimtab.effects.world import World
from trimtab.planning import costing, decisions, zonememory
from trimtab.planning.fleet import Demand, Held, Node, PoolMemory, assign, node_size, order
from trimtab.planning.losses import lost_nodes
from trimtab.planning.manifests.nodegroup import node_group
from trimtab.planning.packing import Amounts, Request
from trimtab.planning.plan import Announce, Apply
from trimtab.planning.settings import Settings
from trimtab.planning.zones import CapacityEvent, Loss, Notice, Quota, Shortage, ZoneState

log = structlog.get_logger(__name__)

Object = dict[str, Any]

_LOOK_SECONDS = 2.0
_KEPT = ("desired", "ready", "doomed", "interruptions", "cost", *zonememory.FIELDS)


class Fleet:
    """Keeps every pool at the size that the models' replicas need."""

    def __init__(
        self,
        world: World,
        gatherer: Gatherer,
        cluster: Cluster,
        executor: Executor,
        settings: Settings,
        clock: Callable[[], datetime],
        orders: Orders,
    ) -> None:
        """`orders` serve the pools whose nodes a cloud makes."""
        self._world = world
        self._gatherer = gatherer
        self._cluster = cluster
        self._executor = executor
        self._settings = settings
        self._clock = clock
        self._memory: dict[str, PoolMemory] = {}
        self._events = gatherer.events
        self._noticed: dict[str, set[str]] = {}
        self._before: dict[str, Node] = {}
        self._given_back: set[str] = set()
        self._closed: frozenset[str] = frozenset()
        self._decided: dict[str, list[DecisionStatus]] = {}
        self._said: dict[str, Object] = {}
        self._leaving = Leaving(world, cluster)
        self._consolidating = Consolidating(world, cluster, settings.node_hold_s)
        self._orders = orders
        # Thousands of models and their pods are the same at most looks.
        self._demands: Remembered[list[Demand]] = Remembered()
        self._nodes: Remembered[list[Node]] = Remembered()
        self._overheads: dict[str, Remembered[list[Request]]] = {}
        self._held: Remembered[dict[str, Held]] = Remembered()

    async def reconcile(self) -> float | None:
        """Look at all pools once; return the seconds until the next look."""
        now = self._clock()
        pools, bad = self._gatherer.pools()
        for name, why in bad.items():
            await self._say(name, _stalled(why, _generation(self._body(name)), now), {})
        doomed = self._gatherer.doomed(now, pools)
        await self._leaving.move_gateways(doomed)
        orders = any(pool.spec.provider.embedded is not None for pool in pools)
        left = await self._leaving.release(orders=orders)
        for event in await self._orders.look(pools, now):
            await self._tell_shortage(event, now)
        closed = self._orders.given_back()
        if not pools:
            return _LOOK_SECONDS if left else None
        nodes = self._nodes_of(doomed)
        wishes = fleetview.wishes(self._world)
        self._hear(pools, nodes, doomed, closed, now)
        shapes = {pool.name: pool.spec.provider.embedded or self._orders.shape(pool) for pool in pools}
        found = {pool.name: node_size(pool, self._overhead(pool), shapes[pool.name]) for pool in pools}
        sizes = {name: size for name, size in found.items() if size is not None}
        held = self._assigned(wishes, pools, nodes, sizes)
        losses_matter = any(pool.spec.capacity_type is not CapacityType.SPOT for pool in pools)
        quiet = all(wish.settled for wish in wishes.values())
        moved = await self._consolidating.look(pools, nodes, held, sizes, now.timestamp(), quiet=quiet)
        if moved is not None:
            await self._tell(*moved, now)
        refused: ApiError | None = None
        for pool in pools:
            size = sizes.get(pool.name)
            try:
                await self._keep(pool, pools, nodes, held[pool.name], size, closed, now, losses_matter=losses_matter)
            except ApiError as error:  # one pool's trouble must not hold up the others
                refused = error
        if refused is not None:
            raise refused
        return _LOOK_SECONDS

    async def _keep(
        self,
        pool: CapacityPool,
        pools: Sequence[CapacityPool],
        nodes: Sequence[Node],
        held: Held,
        size: Amounts | None,
        closed: frozenset[str],
        now: datetime,
        *,
        losses_matter: bool,
    ) -> None:
        """Order a pool's nodes, and say what there is."""
        own = [node for node in nodes if node.pool == pool.name]
        desired = len(own)
        # Without any other pool, where capacity was lost is where it has to come from.
        spot = pool.spec.capacity_type is CapacityType.SPOT
        known = self._events.known if spot and losses_matter else ZoneState()
        if pool.spec.provider.embedded is not None:
            desired = await self._embedded(pool, held, own, size or {}, known, now)
        else:
            ordered = await self._orders.order(pool, held, own, size or {}, known, now)
            desired = len(own) if ordered is None else ordered.desired
            if ordered is not None and ordered.decision is not None:
                await self._tell(pool.name, ordered.decision, now)
        body = self._body(pool.name)
        # A machine that we give back ends like any other, and its provider says so: that is no interruption.
        noticed = {node.name for node in own if node.doomed} - self._world.retiring() - closed
        fresh = noticed - self._noticed.get(pool.name, _counted(self._status(body)))
        said = self._orders.conditions(pool, len(own), _generation(body), now)
        before = int(self._status(body).get("interruptions") or 0)
        numbers = {
            "desired": desired,
            "ready": sum(1 for node in own if not node.doomed and not self._is_down(node.name)),
            "doomed": sum(1 for node in own if node.doomed),
            "interruptions": before + len(fresh),
            **zonememory.written(self._events.by_pool.get(pool.name, ZoneState()), pool.name),
        }
        await self._say(pool.name, said, numbers, costing.pool_rate(pool, desired, pools))
        self._noticed[pool.name] = noticed  # what was not written is not counted yet

    def _is_down(self, name: str) -> bool:
        conditions = (self._world.node(name) or {}).get("status", {}).get("conditions") or ()
        return any(entry["type"] == "Ready" and entry["status"] != "True" for entry in conditions)

    def _nodes_of(self, doomed: Mapping[str, datetime]) -> list[Node]:
        world, gone = self._world, set(doomed)
        made_from = (*map(stamp, (world.pods, world.gateways, world.nodes)), gone)
        return self._nodes.ask(made_from, lambda: fleetview.nodes(world, gone))

    def _overhead(self, pool: CapacityPool) -> list[Request]:
        world = self._world
        kept = self._overheads.setdefault(pool.name, Remembered())
        return kept.ask((pool, stamp(world.nodes), stamp(world.daemon_sets)), lambda: fleetview.overhead(world, pool))

    def _assigned(
        self,
        wishes: Mapping[Key, fleetview.Wish],
        pools: Sequence[CapacityPool],
        nodes: Sequence[Node],
        sizes: Mapping[str, Amounts],
    ) -> dict[str, Held]:
        world, short = self._world, self._orders.short()
        of_models = (stamp(world.deployments), stamp(world.gateways), wishes)
        demands = self._demands.ask(of_models, lambda: fleetview.demands(world, wishes))
        given = (demands, pools, nodes, sizes, short)
        return self._held.ask(given, lambda: assign(demands, pools, nodes, sizes, short=short))

    def _hear(
        self,
        pools: Sequence[CapacityPool],
        nodes: Sequence[Node],
        doomed: Mapping[str, datetime],
        closed: frozenset[str],
        now: datetime,
    ) -> None:
        """Note which spot nodes got a notice, and which went without one; those that we give back are no loss."""
        spot = {pool.name for pool in pools if pool.spec.capacity_type is CapacityType.SPOT}
        here = {node.name: node for node in nodes if node.pool in spot}
        before = [node for node in self._before.values() if node.pool in spot]
        events: list[CapacityEvent] = [
            Notice(f"{node.name} {doomed[node.name].timestamp():.0f}", node.domain, node.name, node.pool)
            for node in here.values()
            if node.doomed and node.name not in self._world.retiring() and node.name not in closed
        ]
        lost = lost_nodes(before, here, self._given_back | self._closed | closed)
        events += [Loss(node.name, node.domain, node.name, node.pool) for node in lost]
        self._before, self._closed = here, closed
        self._given_back &= here.keys()
        for event in events:
            if self._events.note(event, now.timestamp()):
                log.info("capacity.event_noted", kind=type(event).__name__, id=event.id)

    async def _embedded(
        self, pool: CapacityPool, held: Held, own: list[Node], size: Amounts, known: ZoneState, now: datetime
    ) -> int:
        """Order nodes from the embedded cluster's cloud."""
        shape = pool.spec.provider.embedded
        if shape is None:
            return len(own)
        group = await self._cluster.get(NODE_GROUPS, pool.name)
        ordered = int(group["spec"].get("desired", 0)) if group else 0
        made, self._memory[pool.name] = order(
            pool,
            size,
            held,
            own,
            self._memory.get(pool.name, PoolMemory()),
            ordered=ordered,
            hold_s=self._settings.node_hold_s,
            now=now.timestamp(),
            known=known,
            booting=fleetview.booting(group),
            retiring=self._world.retiring(),
        )
        self._given_back |= set(made.victims)
        zones = made.zones or tuple(((group or {}).get("spec") or {}).get("zones") or pool.spec.zones)
        actions = [Apply(node_group(pool, shape, made.desired, made.victims, zones))]
        changes = await self._executor.execute(self._body(pool.name) or {}, actions)
        if changes:
            log.info("pool.ordered", pool=pool.name, before=ordered, desired=made.desired, reason=made.reason)
        if made.desired != ordered:
            await self._tell(pool.name, f"{ordered} -> {made.desired} nodes: {made.reason}", now)
        return made.desired

    async def _tell_shortage(self, event: Shortage | Quota, now: datetime) -> None:
        """Say that a pool's provider has no more, when it is heard of; on demand as for spot."""
        if isinstance(event, Quota):
            told = Announce(Reason.QUOTA_REACHED, decisions.over_quota(event), dedupe=event.id, type="Warning")
        else:
            message = decisions.short_of(event, event.zones, self._events.known, now.timestamp())
            told = Announce(Reason.SHORTAGE, message, dedupe=event.id, type="Warning")
        await self._tell(event.pool, told.message, now, told)

    async def _tell(self, pool: str, message: str, now: datetime, event: Announce | None = None) -> None:
        """Say what was decided about a pool: an event, and an entry of its status."""
        if (body := self._body(pool)) is None:
            return
        event = event or Announce(Reason.NODES_ORDERED, message, dedupe=f"{now.timestamp():.0f} {message}")
        await self._executor.execute(body, [event])
        entry = DecisionStatus(time=timestamp(now), kind="Scaling", message=message)
        self._decided.setdefault(pool, []).insert(0, entry)

    def _status(self, body: Object | None) -> Object:
        """Return what we last said of a pool, which a watch may show later; of an earlier operator, what it wrote."""
        if body is None:
            return {}
        found: Object = self._said.get(body["metadata"]["uid"]) or body.get("status") or {}
        return found

    def _body(self, name: str) -> Object | None:
        return next(iter(self._world.pools.get(name, ())), None)

    async def _say(
        self, name: str, found: tuple[Condition, ...], numbers: dict[str, Any], rate: costing.Rate | None = None
    ) -> None:
        body = self._body(name)
        if body is None:
            return
        before = self._status(body)
        entries = tuple(Condition.read(entry) for entry in before.get("conditions") or ())
        for kind in {entry.type for entry in entries} - {entry.type for entry in found}:
            entries = c.without_condition(entries, kind)
        for entry in found:
            entries = c.with_condition(entries, entry)
        decided = [*(entry.wire() for entry in self._decided.pop(name, ())), *before.get("decisions", ())]

        def made(cost: CostStatus | None) -> Object:
            return {
                "observedGeneration": _generation(body),
                "conditions": [entry.wire() for entry in entries],
                **{field: before[field] for field in _KEPT if field in before},
                **numbers,
                **({"cost": cost.wire()} if cost is not None else {}),
                **({"decisions": decided[: decisions.KEPT]} if decided else {}),
            }

        cost = _cost(before)  # goes on as it did where the pool cannot be read
        status = costing.costed(cost, rate, self._clock(), made, before) if numbers else made(cost)
        if status == before:
            return
        manifest = {
            "apiVersion": body.get("apiVersion", "trimtab.dev/v1alpha1"),
            "kind": "CapacityPool",
            "metadata": {"name": name},
            "status": status,
        }
        try:
            await self._cluster.apply(manifest, subresource="status")
            self._said[body["metadata"]["uid"]] = status
        except ApiError as error:
            if error.status != 404:
                raise


def _cost(status: Object) -> CostStatus | None:
    written = status.get("cost")
    return CostStatus.model_validate(written) if written else None


def _counted(status: Object) -> set[str]:
    """Return the nodes whose notices an earlier operator counted."""
    return {str(entry["id"]).rpartition(" ")[0] for entry in status.get("heard") or ()}


def _stalled(why: str, generation: int, now: datetime) -> tuple[Condition, ...]:
    def condition(kind: str, status: ConditionStatus) -> Condition:
        return Condition(kind, status, Reason.INVALID_SPEC, why, generation, now)

    return condition(c.READY, "False"), condition(c.STALLED, "True")


def _generation(body: Object | None) -> int:
    return int(body["metadata"].get("generation", 0)) if body else 0
