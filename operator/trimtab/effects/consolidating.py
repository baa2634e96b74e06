"""Empties nodes that are not needed, with a taint: replicas are replaced elsewhere first, then leave, then the node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from trimtab.api import conditions as c
from trimtab.api.capacity import CapacityPool
from trimtab.api.names import CONSOLIDATION_TAINT
from trimtab.effects.gather import World
from trimtab.effects.kinds import NODES
from trimtab.effects.kubernetes import Cluster
from trimtab.planning import consolidation
from trimtab.planning.consolidation import Roomy
from trimtab.planning.fleet import Held, Node
from trimtab.planning.packing import Amounts

log = structlog.get_logger(__name__)

Object = dict[str, Any]


class Consolidating:
    """One node at a time over all pools; what a restart forgets is counted anew."""

    def __init__(self, world: World, cluster: Cluster, node_hold_s: float) -> None:
        self._world = world
        self._cluster = cluster
        self._hold_s = node_hold_s
        self._roomy: Roomy | None = None
        self._since: float | None = None

    async def look(
        self,
        pools: Sequence[CapacityPool],
        nodes: Sequence[Node],
        held: Mapping[str, Held],
        sizes: Mapping[str, Amounts],
        now: float,
    ) -> tuple[str, str] | None:
        """Begin or give up; return the pool that it is about and what was decided, None where nothing was."""
        emptied = [node for node in nodes if node.name in self._world.retiring()]
        if emptied:
            self._since = now if self._since is None else self._since
            if not consolidation.is_over(emptied, held, self._since, now):
                return None
            for node in emptied:
                await self._mark(node.name, wanted=False)
            return emptied[0].pool, f"{emptied[0].name} is used again: its replicas found no other place"
        self._since = None
        found = consolidation.candidate(pools, nodes, held, sizes) if self._is_quiet() else None
        due, self._roomy = consolidation.settled(found[0] if found else None, self._roomy, self._hold_s, now)
        if found is None or not due:
            return None
        node, why = found
        self._roomy = None
        await self._mark(node.name, wanted=True)
        log.info("node.emptied", node=node.name, pool=node.pool, reason=why)
        return node.pool, f"{node.name} is emptied: {why}"

    def _is_quiet(self) -> bool:
        """Whether every model has what it wants and rolls nothing out."""
        bodies = [body for key in self._world.models for body in self._world.models.get(key, ())]
        held = [
            {entry["type"]: entry["status"] for entry in (body.get("status") or {}).get("conditions") or ()}
            for body in bodies
        ]
        return all(one.get(c.CAPACITY_MET) != "False" and one.get(c.RECONCILING) != "True" for one in held)

    async def _mark(self, name: str, *, wanted: bool) -> None:
        node = self._world.node(name)
        if node is None:
            return
        taints = [taint for taint in node["spec"]["taints"] if taint["key"] != CONSOLIDATION_TAINT]
        if wanted:
            taints.append({"key": CONSOLIDATION_TAINT, "effect": "NoSchedule"})
        await self._cluster.merge(NODES, name, None, {"spec": {"taints": taints}})
