"""Who has to move before a node goes: gateways off nodes under notice, everybody off the nodes of a deleted pool."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import structlog

from trimtab.api.names import MANAGED_BY, MANAGED_BY_LABEL, POOL_LABEL
from trimtab.effects.kinds import NODE_GROUPS, NODES, PODS
from trimtab.effects.kubernetes import ApiError, Cluster
from trimtab.effects.world import World

log = structlog.get_logger(__name__)

Object = dict[str, Any]


class Leaving:
    """Empties nodes in good time; what is on them decides when they go."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self._world = world
        self._cluster = cluster
        # A pool may have gone while no operator ran.
        self._may_be_left = True

    async def move_gateways(self, doomed: Collection[str]) -> None:
        """Ask the gateways on doomed nodes to leave: the next one starts elsewhere while this one drains."""
        for pod in list(self._gateways()):
            if pod["spec"].get("nodeName") in doomed and not pod["metadata"].get("deletionTimestamp"):
                meta, node = pod["metadata"], pod["spec"]["nodeName"]
                try:
                    await self._cluster.delete(PODS, meta["name"], meta["namespace"])
                except ApiError as error:  # one that may not go must not hold up all pools
                    log.warning("gateway.not_moved", pod=meta["name"], namespace=meta["namespace"], error=error.message)
                    continue
                log.info("gateway.moved", pod=meta["name"], namespace=meta["namespace"], node=node)

    async def release(self, *, orders: bool) -> bool:
        """Give back the nodes that were ordered for pools that are gone; return whether some are still used.

        They are cordoned, which makes them doomed: replicas are replaced first, then leave, then the group goes.
        `orders` is whether some pool of now orders nodes: then a later look must find what it leaves behind.
        """
        if not orders and not self._may_be_left:
            return False
        left = False
        for group in await self._groups():
            name = group["metadata"]["name"]
            if name not in self._world.pools:
                left |= await self._wind_down(name, group)
        self._may_be_left = orders or left
        return left

    async def _groups(self) -> list[Object]:
        try:
            return await self._cluster.list(NODE_GROUPS, labels=f"{MANAGED_BY_LABEL}={MANAGED_BY}")
        except ApiError as error:
            if error.status in {403, 404}:  # no embedded cluster
                return []
            raise

    async def _wind_down(self, name: str, group: Object) -> bool:
        own = {node["metadata"]["name"]: node for node in self._nodes_of(name)}
        for node, body in own.items():
            if not body["spec"]["unschedulable"]:
                await self._cluster.merge(NODES, node, None, {"spec": {"unschedulable": True}})
        busy = own.keys() & set(self._busy())
        if not busy:
            await self._cluster.delete(NODE_GROUPS, name)
            log.info("pool.released", pool=name, nodes=len(own))
            return False
        wanted = {"desired": len(busy), "victims": sorted(own.keys() - busy)}
        if {field: group["spec"].get(field) for field in wanted} != wanted:  # none is to be ordered again
            await self._cluster.merge(NODE_GROUPS, name, None, {"spec": wanted})
        return True

    def _nodes_of(self, pool: str) -> Iterator[Object]:
        for name in self._world.nodes:
            node = self._world.node(name)
            if node is not None and node["metadata"]["labels"].get(POOL_LABEL) == pool:
                yield node

    def _busy(self) -> Iterator[str]:
        """Yield the nodes that pods of ours are on, those on their way out included."""
        for index in (self._world.pods, self._world.gateways):
            for key in index:
                for pod in index.get(key, ()):
                    node = pod["spec"].get("nodeName")
                    if node and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                        yield node

    def _gateways(self) -> Iterator[Object]:
        for namespace in self._world.gateways:
            yield from self._world.gateways.get(namespace, ())
