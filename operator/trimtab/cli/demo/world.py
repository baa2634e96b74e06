"""What the demo watches: the model, nodes, pools and pods, kept current, and a way to wait until they look right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from trimtab.api.base import CapacityType
from trimtab.api.names import CAPACITY_TYPE_LABEL, MODEL_LABEL
from trimtab.cli.demo.assets import MODEL, NAMESPACE
from trimtab.effects.kinds import DEPLOYMENTS, MODELS, NODES, PODS, POOLS, Kind
from trimtab.effects.kubernetes import Cluster, mirror
from trimtab.errors import TrimtabError

Object = dict[str, Any]
_WATCHED: tuple[Kind, ...] = (MODELS, NODES, POOLS, PODS, DEPLOYMENTS)


class World:
    """The cluster's objects as they are now. Read only; filled by `watch`."""

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {kind: {} for kind in _WATCHED}
        self._changed = asyncio.Event()

    @property
    def model(self) -> Object:
        """The model, or an empty object before it is there."""
        return self._objects[MODELS].get((NAMESPACE, MODEL), {})

    @property
    def status(self) -> Object:
        found: Object = self.model.get("status") or {}
        return found

    def condition(self, kind: str) -> Object:
        """Return a condition of the model, or an empty object."""
        return next((c for c in self.status.get("conditions", []) if c["type"] == kind), {})

    def is_true(self, kind: str) -> bool:
        """Return whether a condition holds for the generation that is there now."""
        generation = self.model.get("metadata", {}).get("generation")
        return self.condition(kind).get("status") == "True" and self.status.get("observedGeneration") == generation

    def deployment(self, namespace: str, name: str) -> Object:
        """Return a Deployment, or an empty object."""
        return self._objects[DEPLOYMENTS].get((namespace, name), {})

    def node(self, name: str) -> Object | None:
        return self._objects[NODES].get(("", name))

    @property
    def pods(self) -> list[Object]:
        return list(self._objects[PODS].values())

    @property
    def interruptions(self) -> int:
        """How many notices the pools have counted."""
        return sum(int(pool.get("status", {}).get("interruptions", 0)) for pool in self._objects[POOLS].values())

    def spot_nodes_with_replicas(self) -> list[tuple[str, int]]:
        """Return spot nodes that run ready replicas, and how many, the fullest first."""
        counts: dict[str, int] = {}
        for pod in self.pods:
            name = pod["spec"].get("nodeName", "")
            node = self.node(name)
            if node is None or pod["metadata"].get("labels", {}).get(MODEL_LABEL) != MODEL or not ready(pod):
                continue
            if node["metadata"].get("labels", {}).get(CAPACITY_TYPE_LABEL) == CapacityType.SPOT.label:
                counts[name] = counts.get(name, 0) + 1
        return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))

    async def until(self, what: str, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until `holds`, looking again at every change.

        Raises:
            TrimtabError: It took longer than `seconds`, or the model is stalled; the message says what the status says.
        """
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    stalled = self.condition("Stalled")
                    if stalled.get("status") == "True":
                        raise TrimtabError(stalled["reason"], stalled["message"])
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            said = "; ".join(self.conditions()) or "the model has no status yet"
            raise TrimtabError("TimedOut", f"waited {seconds:.0f} s for {what}; {said}") from None

    def conditions(self) -> Iterator[str]:
        """Yield the model's conditions in words."""
        for entry in self.status.get("conditions", []):
            yield f"{entry['type']}={entry['status']} ({entry['reason']}): {entry['message']}"

    def watch(self, cluster: Cluster, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begin to keep it current; the tasks run until they are cancelled."""
        return [tasks.create_task(mirror(cluster, kind, self._objects[kind], self._changed.set)) for kind in _WATCHED]


def ready(pod: Object) -> bool:
    """Return whether a pod takes requests."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
