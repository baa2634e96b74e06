"""Follows the kinds that models' children and the pools' nodes are of, and keeps of each object what is read.

Beside Kopf, which follows what users write: it starts a task and holds the whole body for each object until it knows
all of all kinds, which for the pods of thousands of models is most of an operator's memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from trimtab.api.base import CapacityType
from trimtab.api.names import (
    CAPACITY_TYPE_LABEL,
    COMPONENT_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MODEL_LABEL,
    REVISION_LABEL,
    RUN_LABEL,
    WORKLOAD_LABEL,
    Key,
)
from trimtab.effects import keeping
from trimtab.effects.kinds import DAEMON_SETS, DEPLOYMENTS, JOBS, NODES, PODS, SERVICES, Kind
from trimtab.effects.kubernetes import Cluster
from trimtab.effects.tables import Identity, Object, Table, identity

_OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
_TYPES = {kind.label for kind in CapacityType}
_OF_A_MODEL = f"{_OURS},{MODEL_LABEL}"

Changed = Callable[[Kind, Object], None]
"""Told the kind and the object as it is now, or as it was last."""


class _Mirror(NamedTuple):
    """One watch and what it fills."""

    kind: Kind
    labels: str | None
    tables: tuple[Table[Any], ...]
    read: int
    """How many of the tables hold what decisions rest on: where none of them changes, nobody is told."""


class Mirrors:
    """What is known of children and nodes; complete once `complete` is set.

    `relisted` is set whenever something was listed anew after that: who follows other kinds may have missed something.
    """

    def __init__(self) -> None:
        self.deployments: Table[Key] = Table(_served_of, keeping.deployment)
        self.named_deployments: Table[Identity] = Table(identity, keeping.whole, packed=True)
        self.jobs: Table[Key] = Table(_run_of, keeping.job)
        self.named_jobs: Table[Identity] = Table(identity, keeping.whole, packed=True)
        self.pods: Table[Key] = Table(_pod_of, keeping.pod)
        self.gateways: Table[str] = Table(_gateway_of, keeping.pod)
        self.services: Table[Identity] = Table(identity, keeping.whole, packed=True)
        self.nodes: Table[str] = Table(_name, keeping.node)
        self.daemon_sets: Table[Identity] = Table(identity, keeping.daemon_set)
        self.complete = asyncio.Event()
        self.relisted = asyncio.Event()
        self._mirrors = (
            _Mirror(DEPLOYMENTS, _OURS, (self.deployments, self.named_deployments), 1),
            _Mirror(JOBS, _OF_A_MODEL, (self.jobs, self.named_jobs), 1),
            _Mirror(PODS, _OURS, (self.pods, self.gateways), 2),
            # Every Service, as one that is not ours may have the name that a model needs.
            _Mirror(SERVICES, None, (self.services,), 1),
            _Mirror(NODES, None, (self.nodes,), 1),
            _Mirror(DAEMON_SETS, None, (self.daemon_sets,), 1),
        )

    async def run(self, cluster: Cluster, changed: Changed) -> None:
        """Follow everything until cancelled; `changed` is called for each object that is not as it was."""
        missing = {mirror.kind for mirror in self._mirrors}
        async with asyncio.TaskGroup() as group:
            for mirror in self._mirrors:
                group.create_task(self._follow(mirror, cluster, changed, missing))

    async def _follow(self, mirror: _Mirror, cluster: Cluster, changed: Changed, missing: set[Kind]) -> None:
        async for event, item in cluster.watch(mirror.kind, labels=mirror.labels, remember=_remembered):
            if event == "SYNCED":
                if self.complete.is_set():
                    self.relisted.set()
                missing.discard(mirror.kind)
                if not missing:
                    self.complete.set()
                continue
            version = int(item["metadata"].get("resourceVersion", 0))  # what a new list lacks has none
            for table in mirror.tables:
                table.newest = max(table.newest, version)
            if event == "DELETED":
                differs = [table.drop(identity(item)) for table in mirror.tables]
            else:
                differs = [table.put(item) for table in mirror.tables]
            if any(differs[: mirror.read]):
                changed(mirror.kind, item)


def _served_of(item: Object) -> Key | None:
    """Return the model that a Deployment serves; None for one that only looks so, as anybody may label."""
    labels = item["metadata"].get("labels") or {}
    return _pod_of(item) if labels.get(REVISION_LABEL) and labels.get(WORKLOAD_LABEL) else None


def _run_of(job: Object) -> Key | None:
    return Key.owner_of(job) if (job["metadata"].get("labels") or {}).get(RUN_LABEL) else None


def _pod_of(item: Object) -> Key | None:
    """Return the model of a pod that serves it or runs for it; one that serves says what it runs on."""
    labels = item["metadata"].get("labels") or {}
    if REVISION_LABEL in labels and labels.get(CAPACITY_TYPE_LABEL) not in _TYPES:
        return None
    return Key.owner_of(item)


def _gateway_of(pod: Object) -> str | None:
    """Return the namespace of a gateway's pod."""
    labels = pod["metadata"].get("labels") or {}
    return str(pod["metadata"]["namespace"]) if labels.get(COMPONENT_LABEL) == "gateway" else None


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _remembered(item: Object) -> Object:
    """Return what tells whose an object was."""
    meta = item["metadata"]
    labels = {name: text for name, text in (meta.get("labels") or {}).items() if name in (MODEL_LABEL, COMPONENT_LABEL)}
    return {"metadata": {"name": meta["name"], "namespace": meta.get("namespace", ""), "labels": labels}}
