"""Empties nodes that are not needed, with a taint: replicas are replaced elsewhere first, then leave, then the node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from trimtab.api.capacity import CapacityPool
from trimtab.api.names import CONSOLIDATION_TAINT
from trimtab.effects.kinds import NODES
from trimtab.effects.kubernetes import Cluster
from trimtab.effects.remembering import Remembered
from trimtab.effects.world import World
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
        self._found: Remembered[tuple[Node, str] | None] = Remembered()

    async def look(
        self,
        pools: Sequence[CapacityPool],
        nodes: Sequence[Node],
        held: Mapping[str, Held],
        sizes: Mapping[str, Amounts],
        now: float,
        *,
        quiet: bool,
    ) -> tuple[str, str] | None:
        """Begin or give up; return the pool that it is about and what was decided, None where nothing was.

        `quiet` is whether every model has what it wants and rolls nothing out.
        """
        retiring = self._world.retiring()
        emptied = [node for node in nodes if node.name in retiring]
        if emptied:
            self._since = now if self._since is None else self._since
            if not consolidation.is_over(emptied, held, self._since, now):
                return None
            for node in emptied:
                await self._mark(node.name, wanted=False)
            return emptied[0].pool, f"{emptied[0].name} is used again: its replicas found no other place"
        self._since = None
        found = self._candidate(pools, nodes, held, sizes) if quiet else None
        due, self._roomy = consolidation.settled(found[0] if found else None, self._roomy, self._hold_s, now)
        if found is None or not due:
            return None
        node, why = found
        self._roomy = None
        await self._mark(node.name, wanted=True)
        log.info("node.emptied", node=node.name, pool=node.pool, reason=why)
        return node.pool, f"{node.name} is emptied: {why}"

    def _candidate(
        self,
        pools: Sequence[CapacityPool],
        nodes: Sequence[Node],
        held: Mapping[str, Held],
        sizes: Mapping[str, Amounts],
    ) -> tuple[Node, str] | None:
        made_from = (pools, nodes, held, sizes)
        return self._found.ask(made_from, lambda: consolidation.candidate(pools, nodes, held, sizes))

    async def _mark(self, name: str, *, wanted: bool) -> None:
        node = self._world.node(name)
        if node is None:
            return
        taints = [taint for taint in node["spec"]["taints"] if taint["key"] != CONSOLIDATION_TAINT]
        if wanted:
            taints.append({"key": CONSOLIDATION_TAINT, "effect": "NoSchedule"})
        await self._cluster.merge(NODES, name, None, {"spec": {"taints": taints}})
