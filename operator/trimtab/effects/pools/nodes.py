"""What we write on nodes: which pool they are of, that they go away, that they are about to be given back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from trimtab.api.capacity import CapacityPool
from trimtab.api.conditions import timestamp
from trimtab.api.names import (
    CAPACITY_TYPE_LABEL,
    INTERRUPTED_TAINT,
    LEAVES_AT_ANNOTATION,
    POOL_LABEL,
    SURPLUS_TAINT,
)
from trimtab.effects.kinds import NODES, PODS
from trimtab.effects.kubernetes import ApiError, Cluster
from trimtab.effects.world import World
from trimtab.planning.karpenter import CAPACITY_TYPE, NODE_POOL_LABEL
from trimtab.planning.notices import announced

log = structlog.get_logger(__name__)

Object = dict[str, Any]


def instance_of(node: Mapping[str, Any]) -> str:
    """Return the provider's name of a node's machine: the end of `aws:///eu-west-1a/i-0abc`."""
    return str(node["spec"].get("providerID") or "").rpartition("/")[2]


class Nodes:
    """Marks nodes; what is marked already is not written again."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self._world = world
        self._cluster = cluster

    def by_instance(self, instance: str) -> Object | None:
        """Return the node of a machine, None where it is none of this cluster's."""
        return next((node for node in self._all() if instance_of(node) == instance), None)

    def of_pool(self, pool: str) -> list[Object]:
        """Return the nodes of a pool."""
        return [node for node in self._all() if node["metadata"]["labels"].get(POOL_LABEL) == pool]

    def closed(self) -> frozenset[str]:
        """Return the nodes that are about to be given back: whoever misses one of them later need not wonder."""
        return frozenset(node["metadata"]["name"] for node in self._all() if _is_closed(node))

    def ready(self) -> list[Object]:
        """Return the nodes that are Ready."""
        return [node for node in self._all() if _is_ready(node)]

    async def is_idle(self, name: str) -> bool:
        """Whether no pod runs on a node but those that every node has; asked anew, as others' pods are not watched."""
        pods = await self._cluster.list(PODS, fields=f"spec.nodeName={name}")
        return not any(_matters(pod) for pod in pods)

    async def label(self, pools: Sequence[CapacityPool], members: Mapping[str, Collection[str]]) -> None:
        """Label the nodes of each pool with its name and capacity type.

        `members` are the instances of pools that know them. Other nodes are known by their labels; of several pools
        that match, the first one has them.
        """
        for node in self._all():
            labels = node["metadata"]["labels"]
            pool = next((pool for pool in pools if _belongs(node, pool, members.get(pool.name))), None)
            if pool is None:
                continue
            wanted = {POOL_LABEL: pool.name, CAPACITY_TYPE_LABEL: pool.spec.capacity_type.label}
            if wanted.items() <= labels.items():
                continue
            name = node["metadata"]["name"]
            try:
                await self._cluster.merge(NODES, name, None, {"metadata": {"labels": wanted}})
            except ApiError as error:  # one node without its label must not hold up all pools
                log.warning("node.not_labelled", node=name, pool=pool.name, error=error.message)
                continue
            log.info("node.joined_pool", node=name, pool=pool.name)

    async def doom(self, name: str, until: datetime, why: str) -> bool:
        """Write on a node that it goes away; return whether that was news. An earlier end is never put off."""
        node = await self._cluster.get(NODES, name)
        if node is None:
            return False
        said = announced(node)
        taints = node["spec"].get("taints") or []
        known = any(taint["key"] == INTERRUPTED_TAINT for taint in taints)
        if known and said is not None and said <= until:
            return False
        others = [taint for taint in taints if taint["key"] != INTERRUPTED_TAINT]
        added = {"key": INTERRUPTED_TAINT, "value": why, "effect": "NoSchedule"}
        await self._write(node, [*others, added], {LEAVES_AT_ANNOTATION: timestamp(until)})
        return True

    async def keep_surplus(self, pool: str, names: Collection[str]) -> frozenset[str]:
        """Let no new pod onto these nodes of a pool, and onto its others again; return those that were closed before.

        Only what the watch shows as closed is returned: a pod that came in between is seen with it.
        """
        closed = set()
        for node in self.of_pool(pool):
            name = node["metadata"]["name"]
            if _is_closed(node) and name in names:
                closed.add(name)
            elif _is_closed(node) or name in names:
                await self._close(name, close=name in names)
        return frozenset(closed)

    async def _close(self, name: str, *, close: bool) -> None:
        node = await self._cluster.get(NODES, name)
        if node is None:
            return
        taints = [taint for taint in node["spec"].get("taints") or [] if taint["key"] != SURPLUS_TAINT]
        if close:
            taints.append({"key": SURPLUS_TAINT, "effect": "NoSchedule"})
        await self._write(node, taints, {})

    async def _write(self, node: Object, taints: Sequence[Object], annotations: Mapping[str, str]) -> None:
        # Taints are one list to a merge patch: the version makes sure that nobody else's is lost.
        meta = {"resourceVersion": node["metadata"]["resourceVersion"], "annotations": dict(annotations)}
        patch = {"metadata": meta, "spec": {"taints": list(taints)}}
        try:
            await self._cluster.merge(NODES, node["metadata"]["name"], None, patch)
        except ApiError as error:
            if error.status != 404:
                raise

    def _all(self) -> list[Object]:
        return [node for name in self._world.nodes if (node := self._world.node(name)) is not None]


def _is_closed(node: Object) -> bool:
    return any(taint["key"] == SURPLUS_TAINT for taint in node["spec"]["taints"])


def _is_ready(node: Object) -> bool:
    conditions = node["status"].get("conditions") or ()
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _matters(pod: Object) -> bool:
    """Whether somebody would miss the pod: it runs, and no DaemonSet or kubelet starts it on every node."""
    if (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        return False
    return not any(owner["kind"] in {"DaemonSet", "Node"} for owner in pod["metadata"].get("ownerReferences") or ())


def _belongs(node: Object, pool: CapacityPool, members: Collection[str] | None) -> bool:
    provider, labels = pool.spec.provider, node["metadata"]["labels"]
    if provider.labels is not None:
        return bool(provider.labels.match_labels.items() <= labels.items())
    if provider.karpenter is not None:
        wanted = {NODE_POOL_LABEL: provider.karpenter.node_pool, CAPACITY_TYPE: pool.spec.capacity_type.label}
        return bool(wanted.items() <= labels.items())
    return members is not None and instance_of(node) in members
