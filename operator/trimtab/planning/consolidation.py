"""Which node to empty because its replicas have room on others; one at a time, and only when nothing is short."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trimtab.api.capacity import CapacityPool
from trimtab.api.names import GATEWAY
from trimtab.api.quantities import counted
from trimtab.planning import packing
from trimtab.planning.fleet import Held, Node
from trimtab.planning.packing import Amounts

PATIENCE_S = 300.0
"""A node that is not empty by then is used again."""
_HOLDS = 10  # a move costs a start and a drain: it must pay for longer than a node that stands empty


@dataclass(frozen=True, slots=True)
class Roomy:
    """A node whose replicas had room on others at the last look, and since when, in seconds."""

    node: str
    since: float


def candidate(
    pools: Iterable[CapacityPool],
    nodes: Sequence[Node],
    held: Mapping[str, Held],
    sizes: Mapping[str, Amounts],
) -> tuple[Node, str] | None:
    """Return the node to empty, and why; None where none is to be.

    All its replicas have to fit onto the other nodes in use of its pool, as they are. Nothing may wait for room or be
    on its way out anywhere, and the pool keeps its least number of nodes. Nodes with a gateway or with pods that are
    no replicas stay: those cannot be replaced before they go. Of several, the one that is used least.
    """
    if any(node.doomed or "" in node.used_by for node in nodes) or any(one.waiting for one in held.values()):
        return None
    found: list[tuple[float, str, Node, int]] = []
    for pool in pools:
        size = sizes.get(pool.name)
        own = [node for node in nodes if node.pool == pool.name]
        in_use = [node for node in own if node.used_by]
        if size is None or len(own) <= pool.spec.limits.min_nodes or len(in_use) < len(own):
            continue  # a node that stands empty goes first, by itself
        for node in in_use:
            others = [other.room(size) for other in in_use if other is not node]
            if _moves(node) and packing.new_nodes(node.requests, size, others) == 0:
                found.append((node.used.cpu, node.name, node, len(others)))
    if not found:
        return None
    _, _, node, others_count = min(found, key=lambda entry: entry[:2])
    roomy = counted(others_count, "other node has", "other nodes have")
    return node, f"{roomy} room for its {counted(len(node.used_by), 'replica')}"


def _moves(node: Node) -> bool:
    gateways = [workload for workload in node.used_by if workload.split("/")[-1] == GATEWAY]
    return not gateways and len(node.requests) == len(node.used_by)


def settled(found: Node | None, before: Roomy | None, node_hold_s: float, now: float) -> tuple[bool, Roomy | None]:
    """Return whether to empty the node now, and what to remember: it must have had the room all along for a while."""
    if found is None:
        return False, None
    roomy = before if before is not None and before.node == found.name else Roomy(found.name, now)
    return now - roomy.since >= _HOLDS * node_hold_s, roomy


def is_over(emptied: Iterable[Node], held: Mapping[str, Held], since: float, now: float) -> bool:
    """Whether emptying a node is given up: replicas would need a new node instead, or it takes too long."""
    short = any(one.waiting for one in held.values()) and now - since > PATIENCE_S / 10
    return any(node.used_by for node in emptied) and (short or now - since > PATIENCE_S)
