"""Signs of life of the nodes whose pods run here: their leases and the conditions they post."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from trimtab.local import pods
from trimtab.local.machines import posted_conditions
from trimtab.local.objects import Object
from trimtab.local.registry import Registry
from trimtab.local.statuses import ApiError
from trimtab.local.times import parse_stamp, precise_stamp, stamp

log = structlog.get_logger(__name__)

NAMESPACE = "kube-node-lease"
RENEWED_EVERY_S = 10.0
LEASE_S = 40
POSTED_EVERY = timedelta(minutes=5)
_LEASES = "leases.coordination.k8s.io"


class Heartbeats:
    """Speaks for every node of the cluster."""

    def __init__(
        self, registry: Registry, clock: Callable[[], datetime], *, renewed_every_s: float = RENEWED_EVERY_S
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._every_s = renewed_every_s

    async def run(self) -> None:
        """Speak until cancelled."""
        while True:
            for node in self._registry.list("nodes")[0]:
                self._speak_for(node)
            await asyncio.sleep(self._every_s)

    def _speak_for(self, node: Object) -> None:
        now = self._clock()
        try:
            self._renew(node, now)
            status = posted_status(node, now)
            if status != node["status"]:
                self._registry.update("nodes", {**node, "status": status}, subresource="status", manager="kubelet")
        except ApiError as error:
            # The node may go, or change, between the list and the write; the next round comes soon.
            log.info("heartbeat.refused", node=node["metadata"]["name"], error=error.message)

    def _renew(self, node: Object, now: datetime) -> None:
        name = node["metadata"]["name"]
        lease = self._registry.find(_LEASES, NAMESPACE, name)
        if lease is None:
            self._registry.create(_LEASES, node_lease(node, now), NAMESPACE, manager="kubelet")
            return
        spec = {**lease["spec"], "holderIdentity": name, "renewTime": precise_stamp(now)}
        self._registry.update(_LEASES, {**lease, "spec": spec}, manager="kubelet")


def node_lease(node: Object, now: datetime) -> Object:
    """The lease by which a node is known to be alive."""
    name = node["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_S, "renewTime": precise_stamp(now)},
    }


def posted_status(node: Object, now: datetime) -> Object:
    """The status as the node posts it: at once where somebody gave it up, else every five minutes.

    Conditions that say False or True were put there on purpose and stay; so does what others wrote.
    """
    ready = pods.condition(node, "Ready")
    lost = ready is None or ready["status"] == "Unknown"
    if not lost and ready is not None and now - parse_stamp(ready["lastHeartbeatTime"]) < POSTED_EVERY:
        return dict(node["status"])
    conditions: list[Object] = list(node["status"].get("conditions") or ())
    for posted in posted_conditions(stamp(now)):
        old = next((c for c in conditions if c["type"] == posted["type"]), None)
        if old is not None and old["status"] != "Unknown":
            conditions[conditions.index(old)] = {**old, "lastHeartbeatTime": stamp(now)}
        else:
            conditions = pods.with_condition(conditions, posted, stamp(now))
    return {**node["status"], "conditions": conditions}
