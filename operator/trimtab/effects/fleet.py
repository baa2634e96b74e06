"""The pools: one look at all models' replicas together, orders to whoever makes the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from trimtab.api import conditions as c
from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import Condition, ConditionStatus, Reason
from trimtab.api.names import CAPACITY_TYPE_LABEL, MODEL_LABEL, POOL_LABEL, WORKLOAD_LABEL, ZONE_LABEL, Key
from trimtab.api.quantities import amount
from trimtab.effects.execute import Executor
from trimtab.effects.gather import Gatherer, World
from trimtab.effects.kinds import NODE_GROUPS
from trimtab.effects.kubernetes import ApiError, Cluster
from trimtab.effects.leaving import Leaving
from trimtab.planning.fleet import Demand, Held, Node, PoolMemory, PoolOrder, Request, assign, order
from trimtab.planning.manifests.nodegroup import node_group
from trimtab.planning.plan import Announce, Apply
from trimtab.planning.settings import Settings
from trimtab.planning.zones import Notice, ZoneState, is_cooling, with_event

log = structlog.get_logger(__name__)

Object = dict[str, Any]

_LOOK_SECONDS = 2.0
_BY_LABEL = {kind.label: kind for kind in CapacityType}


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
    ) -> None:
        self._world = world
        self._gatherer = gatherer
        self._cluster = cluster
        self._executor = executor
        self._settings = settings
        self._clock = clock
        self._memory: dict[str, PoolMemory] = {}
        self._zones = ZoneState()
        self._noticed: dict[str, set[str]] = {}
        self._leaving = Leaving(world, cluster)

    async def reconcile(self) -> float | None:
        """Look at all pools once; return the seconds until the next look."""
        now = self._clock()
        pools, bad = self._gatherer.pools()
        for name, why in bad.items():
            await self._say(name, _stalled(why, now), {})
        doomed = self._gatherer.doomed(now, pools)
        await self._leaving.move_gateways(doomed)
        orders = any(pool.spec.provider.embedded is not None for pool in pools)
        left = await self._leaving.release(orders=orders)
        if not pools:
            return _LOOK_SECONDS if left else None
        nodes = self._nodes(set(doomed))
        for node in nodes:
            if node.doomed and node.zone:
                notice = Notice(f"{node.name} {doomed[node.name].timestamp():.0f}", node.zone, node.name)
                self._zones = with_event(self._zones, notice, now.timestamp())
        held = assign(self._demands(), pools, nodes)
        for pool in pools:
            own = [node for node in nodes if node.pool == pool.name]
            desired = len(own)
            if pool.spec.provider.embedded is not None:
                desired = await self._embedded(pool, held[pool.name], own, now)
            noticed = {node.name for node in own if node.doomed}
            fresh = noticed - self._noticed.setdefault(pool.name, set())
            self._noticed[pool.name] = noticed
            body = self._body(pool.name)
            ready = Condition(c.READY, "True", Reason.CAPACITY_MET, f"{len(own)} nodes", _generation(body), now)
            before = int((body.get("status") or {}).get("interruptions") or 0) if body else 0
            numbers = {
                "desired": desired,
                "ready": sum(1 for node in own if not node.doomed),
                "doomed": sum(1 for node in own if node.doomed),
                "interruptions": before + len(fresh),
            }
            await self._say(pool.name, (ready,), numbers)
        return _LOOK_SECONDS

    async def _embedded(self, pool: CapacityPool, held: Held, own: list[Node], now: datetime) -> int:
        """Order nodes from the embedded cluster's cloud."""
        shape = pool.spec.provider.embedded
        if shape is None:
            return len(own)
        group = await self._cluster.get(NODE_GROUPS, pool.name)
        ordered = int(group["spec"].get("desired", 0)) if group else 0
        made, self._memory[pool.name] = order(
            pool,
            shape,
            held,
            own,
            self._memory.get(pool.name, PoolMemory()),
            ordered=ordered,
            hold_s=self._settings.node_hold_s,
            now=now.timestamp(),
        )
        actions: list[Apply | Announce] = [
            Apply(node_group(pool, shape, made.desired, made.victims, self._usable(pool, now)))
        ]
        if made.desired != ordered:
            actions.append(_ordered(made, ordered, now))
        changes = await self._executor.execute(self._body(pool.name) or {}, actions)
        if changes:
            log.info("pool.ordered", pool=pool.name, before=ordered, desired=made.desired, reason=made.reason)
        return made.desired

    def _usable(self, pool: CapacityPool, now: datetime) -> list[str]:
        """Return the zones that new nodes may come from: not those that just lost some, unless all did."""
        at = now.timestamp()
        return [zone for zone in pool.spec.zones if not is_cooling(self._zones, zone, at)] or list(pool.spec.zones)

    def _demands(self) -> list[Demand]:
        """Return every serving Deployment's replicas, with what its pods reserve."""
        found = []
        for key in self._world.models:
            for body in self._world.deployments.get(key, ()):
                meta, spec = body["metadata"], body["spec"]
                kind = _BY_LABEL.get(meta["labels"].get(CAPACITY_TYPE_LABEL, ""))
                if kind is None:
                    continue
                found.append(
                    Demand(
                        workload=meta["labels"][WORKLOAD_LABEL],
                        capacity_type=kind,
                        replicas=int(spec.get("replicas", 1)),
                        request=_request(spec["template"]["spec"]),
                        pools=self._pools_of(key),
                    )
                )
        return found

    def _pools_of(self, key: Key) -> frozenset[str]:
        body = self._world.model(key)
        return frozenset(((body or {}).get("spec") or {}).get("capacity", {}).get("pools") or ())

    def _nodes(self, doomed: set[str]) -> list[Node]:
        used: dict[str, list[tuple[str, Request]]] = {}
        for key in self._world.models:
            for pod in self._world.pods.get(key, ()):
                name = pod["spec"].get("nodeName")
                if name and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                    labels = pod["metadata"]["labels"]
                    leaving = pod["metadata"].get("deletionTimestamp") or MODEL_LABEL not in labels
                    workload = "" if leaving else labels[WORKLOAD_LABEL]
                    used.setdefault(name, []).append((workload, _request(pod["spec"])))
        found = []
        for name in self._world.nodes:
            node = self._world.node(name)
            pool = ((node or {}).get("metadata", {}).get("labels") or {}).get(POOL_LABEL)
            if pool:
                zone = node["metadata"]["labels"].get(ZONE_LABEL) if node else None
                own = used.get(name, [])
                together = _sum([request for _, request in own])
                found.append(Node(name, pool, name in doomed, tuple(w for w, _ in own), together, zone))
        return found

    def _body(self, name: str) -> Object | None:
        return next(iter(self._world.pools.get(name, ())), None)

    async def _say(self, name: str, found: tuple[Condition, ...], numbers: dict[str, int]) -> None:
        body = self._body(name)
        if body is None:
            return
        before = body.get("status") or {}
        entries = tuple(Condition.read(entry) for entry in before.get("conditions") or ())
        for kind in {entry.type for entry in entries} - {entry.type for entry in found}:
            entries = c.without_condition(entries, kind)
        for entry in found:
            entries = c.with_condition(entries, entry)
        status = {
            "observedGeneration": _generation(body),
            "conditions": [entry.wire() for entry in entries],
            **{field: before[field] for field in ("desired", "ready", "doomed", "interruptions") if field in before},
            **numbers,
        }
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
        except ApiError as error:
            if error.status != 404:
                raise


def _ordered(made: PoolOrder, before: int, now: datetime) -> Announce:
    message = f"{before} -> {made.desired} nodes: {made.reason}"
    return Announce(Reason.NODES_ORDERED, message, dedupe=f"{now.timestamp():.0f} {made.desired}")


def _stalled(why: str, now: datetime) -> tuple[Condition, ...]:
    def condition(kind: str, status: ConditionStatus) -> Condition:
        return Condition(kind, status, Reason.INVALID_SPEC, why, 0, now)

    return condition(c.READY, "False"), condition(c.STALLED, "True")


def _generation(body: Object | None) -> int:
    return int(body["metadata"].get("generation", 0)) if body else 0


def _request(pod: Object) -> Request:
    found = []
    for container in pod.get("containers") or ():
        resources = container.get("resources") or {}
        requests = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        # Of extended resources, and of nothing else, the names have a domain.
        devices = {name: amount(count) for name, count in requests.items() if "/" in name}
        found.append(Request(amount(requests.get("cpu", 0)), amount(requests.get("memory", 0)), devices))
    return _sum(found)


def _sum(requests: list[Request]) -> Request:
    devices: Counter[str] = Counter()
    for request in requests:
        devices.update(request.devices)
    return Request(sum(r.cpu for r in requests), sum(r.memory for r in requests), dict(devices))
