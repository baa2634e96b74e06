"""What the watches know, in one place to look it up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.api.names import CONSOLIDATION_TAINT, Key
from trimtab.effects.execute import Identity
from trimtab.effects.ghosts import Living
from trimtab.effects.mirrors import Mirrors
from trimtab.effects.tables import Packed, Table, Unpacked

Object = dict[str, Any]
Index = Mapping[Any, Collection[Object]]


@dataclass(frozen=True, slots=True)
class World:
    """What the watches know, by the key that makes looking it up cheap."""

    models: Index
    """By `Key`."""
    namespaced_models: Index
    """By namespace."""
    pools: Index
    """By name."""
    deployments: Index
    """By the `Key` of their model."""
    named_deployments: Index
    """By (namespace, name)."""
    jobs: Index
    """By the `Key` of their model."""
    named_jobs: Index
    """By (namespace, name)."""
    pods: Index
    """By the `Key` of their model."""
    services: Index
    """By (namespace, name)."""
    gateways: Index
    """Gateway pods by namespace."""
    nodes: Index
    """By name."""
    daemon_sets: Index
    """By (namespace, name)."""

    def model(self, key: Key) -> Object | None:
        return only(self.models, key)

    def node(self, name: str) -> Object | None:
        return only(self.nodes, name)

    def retiring(self) -> frozenset[str]:
        """Return the nodes that are emptied because their replicas have room elsewhere."""
        found = ((name, self.node(name)) for name in self.nodes)
        return frozenset(
            name
            for name, node in found
            if node is not None and any(taint["key"] == CONSOLIDATION_TAINT for taint in node["spec"]["taints"])
        )

    def observed(self, identity: Identity) -> Object | None:
        """Return the body of one of our children, as far as it is known."""
        kind, namespace, name = identity
        index = self._children(kind)
        return only(index, (namespace, name)) if index is not None else None

    def shown(self, identity: Identity) -> object | None:
        """Return what is another object whenever one of our children is another one; None where nobody can tell."""
        kind, namespace, name = identity
        index = self._children(kind)
        return mark(index, (namespace, name)) if index is not None else None

    def has_seen(self, kind: str, version: int) -> bool:
        """Whether what is known of a kind includes a write that was answered with this resource version."""
        index = self._children(kind)
        return not isinstance(index, Table) or index.newest >= version

    def _children(self, kind: str) -> Index | None:
        named = {"Deployment": self.named_deployments, "Job": self.named_jobs, "Service": self.services}
        return named.get(kind)


def world_of(
    models: Mapping[Any, Collection[Packed]],
    namespaced_models: Index,
    pools: Index,
    mirrors: Mirrors,
    gone: Collection[str],
) -> World:
    """Return the world of packed models, of what their namespaces have, of pools, and of all that is mirrored.

    What is `gone`, by uid, is not part of it, although the indices may still have it.
    """
    return World(
        models=Unpacked(Living(models, gone, lambda item: item.uid)),
        namespaced_models=Living(namespaced_models, gone, _uid),
        pools=Living(pools, gone, _uid),
        deployments=mirrors.deployments,
        named_deployments=mirrors.named_deployments,
        jobs=mirrors.jobs,
        named_jobs=mirrors.named_jobs,
        pods=mirrors.pods,
        services=mirrors.services,
        gateways=mirrors.gateways,
        nodes=mirrors.nodes,
        daemon_sets=mirrors.daemon_sets,
    )


def only(index: Index, key: Any) -> Object | None:
    """Return the object that has a name; of several the one that has it now, as the others are gone."""
    found = list(index.get(key, ()))
    return max(found, key=_version) if len(found) > 1 else found[0] if found else None


def mark(index: Index, key: Any) -> object | None:
    """Return what is another object whenever the one object of a key is another one; None where nobody can tell."""
    return index.mark(key) if isinstance(index, (Table, Unpacked)) else None


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])


def _uid(item: Object) -> str:
    return str(item["metadata"]["uid"])
