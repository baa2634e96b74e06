"""ClusterIPs and node ports: a listener per Service port that forwards to ready endpoints, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from trimtab.local.controllers.endpoints import SERVICE_NAME
from trimtab.local.controllers.feed import Change, Feed
from trimtab.local.controllers.queue import Key, WorkQueue
from trimtab.local.objects import Object, key_of
from trimtab.local.proxy.forwarding import Client, Endpoint

log = structlog.get_logger(__name__)

BACKLOG = 1_024
_AFFINITY_S = 10_800


def listeners_of(service: Object, node_address: str = "") -> list[tuple[str, int, str]]:
    """Address, port and port name of what the Service listens on; TCP only.

    A port that is open on every node is open on `node_address`, as all nodes have that one.
    """
    address = service["spec"].get("clusterIP") or "None"
    if address == "None":
        return []
    ports = [p for p in service["spec"].get("ports") or () if (p.get("protocol") or "TCP") == "TCP"]
    inside = [(address, int(port["port"]), port.get("name") or "") for port in ports]
    if not node_address:
        return inside
    return inside + [(node_address, int(p["nodePort"]), p.get("name") or "") for p in ports if p.get("nodePort")]


def affinity_of(service: Object) -> float | None:
    """How many seconds a client stays with its endpoint, None where it does not."""
    if service["spec"].get("sessionAffinity") != "ClientIP":
        return None
    config = (service["spec"].get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return float(config.get("timeoutSeconds") or _AFFINITY_S)


def ready_endpoints(slices: Sequence[Object], port_name: str) -> list[Endpoint]:
    """The ready endpoints of a port; where there are none, those that still serve while they go."""
    ready: list[Endpoint] = []
    leaving: list[Endpoint] = []
    for piece in slices:
        numbers = [int(p["port"]) for p in piece.get("ports") or () if (p.get("name") or "") == port_name]
        for endpoint in piece.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            chosen = ready if conditions.get("ready", True) else leaving if conditions.get("serving") else []
            chosen.extend((endpoint["addresses"][0], number) for number in numbers)
    return ready or leaving


@dataclass(slots=True)
class Listener:
    """One address and port of a Service. `affinity_s` is how long a client stays with its endpoint, if it does."""

    endpoints: list[Endpoint]
    affinity_s: float | None = None
    turn: int = 0
    server: asyncio.Server | None = None
    clients: set[Client] = field(default_factory=set)
    seen: dict[str, tuple[Endpoint, float]] = field(default_factory=dict)

    def candidates(self, client: str, now: float) -> Sequence[Endpoint]:
        """Every endpoint once, starting with the client's own, else with the next in turn; `now` in seconds."""
        if not self.endpoints:
            return ()
        if self.affinity_s is None:
            return self._in_turn()
        own, since = self.seen.get(client, (None, 0.0))
        kept = own is not None and own in self.endpoints and now - since < self.affinity_s
        order = [own, *(e for e in self.endpoints if e != own)] if own is not None and kept else self._in_turn()
        self.seen[client] = (order[0], now)
        return order

    def _in_turn(self) -> list[Endpoint]:
        self.turn = (self.turn + 1) % len(self.endpoints)
        return [*self.endpoints[self.turn :], *self.endpoints[: self.turn]]


class ServiceProxy:
    """Takes the part of kube-proxy; a connection stays with its endpoint until one side ends it."""

    def __init__(self, feed: Feed, *, node_address: str = "") -> None:
        self._feed = feed
        self._node_address = node_address
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = {}
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._owned: dict[Key, set[tuple[str, int]]] = {}
        self._queue: WorkQueue[Key] = WorkQueue("service-proxy")
        self._task: asyncio.Task[None] | None = None
        self._opening: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to listen for every Service there is and comes."""
        self._feed.subscribe("services", self._service_changed)
        self._feed.subscribe("endpointslices.discovery.k8s.io", self._slice_changed)
        self._task = asyncio.create_task(self._queue.run(self._reconcile), name="service-proxy")

    async def stop(self) -> None:
        """Close every listener and connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        # A listener that is cancelled while it opens would stay open, and nobody could close it.
        await asyncio.gather(*self._opening, return_exceptions=True)
        for at in list(self._listeners):
            self._close(at)

    def _service_changed(self, change: Change) -> None:
        key = Key(*key_of(change.object))
        if change.type == "DELETED":
            self._services.pop(key, None)
        else:
            self._services[key] = change.object
        self._queue.add(key)

    def _slice_changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        key = Key(metadata["namespace"], (metadata.get("labels") or {}).get(SERVICE_NAME, ""))
        slices = self._slices.setdefault(key, {})
        if change.type == "DELETED":
            slices.pop(metadata["name"], None)
        else:
            slices[metadata["name"]] = change.object
        if not slices:
            self._slices.pop(key, None)
        self._queue.add(key)

    def _reconcile(self, key: Key) -> float | None:
        service = self._services.get(key)
        slices = list(self._slices.get(key, {}).values())
        found = listeners_of(service, self._node_address) if service is not None else []
        wanted = {(address, port): name for address, port, name in found}
        affinity = affinity_of(service) if service is not None else None
        for at in self._owned.get(key, set()) - set(wanted):
            self._close(at)
        for at, name in wanted.items():
            endpoints = ready_endpoints(slices, name)
            if at in self._listeners:
                self._listeners[at].endpoints = endpoints
                self._listeners[at].affinity_s = affinity
            else:
                self._open(at, Listener(endpoints, affinity))
        self._owned[key] = set(wanted)
        if not wanted:
            del self._owned[key]
        return None

    def _open(self, at: tuple[str, int], listener: Listener) -> None:
        self._listeners[at] = listener
        task = asyncio.create_task(self._listen(at, listener))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _listen(self, at: tuple[str, int], listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: Client(lambda peer: listener.candidates(peer, loop.time()), listener.clients),
                *at,
                backlog=BACKLOG,
            )
        except OSError as error:
            log.warning("service.not_listening", address=at[0], port=at[1], error=str(error))
            return
        if self._listeners.get(at) is listener:
            listener.server = server
        else:
            server.close()  # the Service went while its listener was being opened

    def _close(self, at: tuple[str, int]) -> None:
        listener = self._listeners.pop(at, None)
        if listener is None:
            return
        if listener.server is not None:
            listener.server.close()
        for client in list(listener.clients):
            client.abort()
