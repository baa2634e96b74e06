"""From what HAProxy does to what it should do: runtime commands. Pure.

A server that gets no new requests has weight 0. Drain mode and maintenance would throw away the requests that wait
in the backend's queue when it was the last one; with weight 0 they wait for the next server. But a weight that rises
from 0 does not wake the queue, and 2.6 then never empties it: setting `maxconn` does, so it follows each rise.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trimtab.planning.traffic import HOLD_SERVER, Duty, Endpoint, ModelTraffic
from trimtab.workloads.gateway.observed import ANY_MODEL, Observed, Server, Slot

MAP_FILE = "models.map"

# Requests that a replica takes at once before it told us.
DEFAULT_LIMIT = 8
# Of requests to a model that sleeps the agent holds one; the queue has the others.
HOLD_LIMIT = 1

_IDS = 2**31 - 1

# A refused connection is unmistakable: it takes a server out until a check passes. A replica that is gone has free
# places and would draw the queue, once per request that it refuses. Answers with 5xx do not count: one client's bad
# input would take out every replica at once. Idle connections are closed soon after a server's
# last request, because they keep it from being deleted.
_SERVER_OPTIONS = (
    "check inter 1s fastinter 200ms downinter 250ms fall 2 rise 1 "
    "observe layer4 error-limit 1 on-error mark-down pool-purge-delay 1s"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """Commands in their order, and what is not over with them."""

    commands: tuple[str, ...]
    leaving: frozenset[str] = frozenset()
    """Models with servers that still have to go when they are idle."""
    retiring: bool = False
    """Whether slots that their model has left still work."""


def routes_of(slots: Mapping[str, str]) -> dict[str, str]:
    """Return the map's content for route → slot."""
    return {ANY_MODEL: "-", **slots} if slots else {}


def server_definition(endpoint: Endpoint, limit: int) -> str:
    """Return address and options of a server, as in `server <name> …` and `add server <backend>/<name> …`."""
    if endpoint.duty is Duty.HOLD:
        return f"{endpoint.address} weight {endpoint.weight} maxconn {HOLD_LIMIT} pool-max-conn 0"
    # Its place on a hash's ring follows from its id: the same for every gateway, and after every restart.
    number = zlib.crc32(endpoint.server.encode()) % _IDS + 1
    address = endpoint.address
    if endpoint.grpc:
        address = f"{endpoint.grpc} proto h2 check-proto h1 port {endpoint.address.rpartition(':')[2]}"
    return f"{address} weight {endpoint.weight} maxconn {limit} {_SERVER_OPTIONS} id {number}"


def difference(
    traffic: tuple[ModelTraffic, ...], slots: Mapping[str, str], seen: Observed, limits: Mapping[str, int]
) -> Difference:
    """Return the commands that bring HAProxy closer to `traffic`; none when it is there.

    Servers are added and raised before routes change, and routes change before servers are lowered or deleted, so
    that no model is without a server for a moment.
    """
    rise: list[str] = []
    fall: list[str] = []
    gone: list[str] = []
    leaving: set[str] = set()
    retiring = False
    for item in traffic:
        slot = slots[item.route]
        actual = seen.slots[slot].servers
        for endpoint in item.endpoints:
            path = f"{slot}/{endpoint.server}"
            server = actual.get(endpoint.server)
            limit = HOLD_LIMIT if endpoint.duty is Duty.HOLD else limits.get(endpoint.address)
            rise += _rise(path, endpoint, server, limit, woken=HOLD_SERVER in actual)
            if endpoint.weight == 0 and server is not None and server.weight > 0:
                fall.append(f"set server {path} weight 0")
        wanted = {endpoint.server for endpoint in item.endpoints}
        for name in actual.keys() - wanted:
            leaving.add(item.model)
            fall += _lower(f"{slot}/{name}", actual[name])
            gone += _delete(f"{slot}/{name}", actual[name])
    for slot, state in _retired(slots, seen):
        retiring = True
        # Its servers keep their weight until the last request is through: with 0 the queue would be stranded.
        if state.sessions == 0:
            gone += [f"{verb} server {slot}/{name}" for name in state.servers for verb in ("disable", "del")]
    commands = (*rise, *_routes(routes_of(slots), seen.routes), *fall, *gone)
    return Difference(commands, frozenset(leaving), retiring)


def _rise(path: str, endpoint: Endpoint, server: Server | None, limit: int | None, *, woken: bool) -> Iterator[str]:
    """Yield what a server needs to take requests (or, on standby, to be checked)."""
    if server is None:
        if endpoint.admitted:
            yield f"add server {path} {server_definition(endpoint, limit or DEFAULT_LIMIT)}"
            if endpoint.duty is not Duty.HOLD:
                yield f"enable health {path}"
            yield f"enable server {path}"
            if woken:  # requests wait in the queue, and a new server does not look there by itself
                yield f"set maxconn server {path} {limit or DEFAULT_LIMIT}"
        return
    if limit is None:
        limit = server.limit or DEFAULT_LIMIT
    if endpoint.weight > 0 and endpoint.weight != server.weight:
        yield f"set server {path} weight {endpoint.weight}"
    if limit != server.limit or (endpoint.weight > 0 and server.weight == 0):
        yield f"set maxconn server {path} {limit}"
    if server.in_maintenance and endpoint.admitted:
        if endpoint.duty is not Duty.HOLD:
            yield f"enable health {path}"
        yield f"enable server {path}"


def _routes(wanted: Mapping[str, str], actual: Mapping[str, str]) -> Iterator[str]:
    for key in sorted(wanted.keys() | actual.keys()):
        if key not in wanted:
            yield f"del map {MAP_FILE} {key}"
        elif key not in actual:
            yield f"add map {MAP_FILE} {key} {wanted[key]}"
        elif wanted[key] != actual[key]:
            yield f"set map {MAP_FILE} {key} {wanted[key]}"


def _lower(path: str, server: Server) -> Iterator[str]:
    if server.weight > 0 and not server.in_maintenance:
        yield f"set server {path} weight 0"


def _delete(path: str, server: Server) -> Iterator[str]:
    """Yield what removes an idle server that got nothing new already when it was looked at."""
    if server.in_maintenance or (server.weight == 0 and server.idle):
        yield f"disable server {path}"
        yield f"del server {path}"


def _retired(slots: Mapping[str, str], seen: Observed) -> Iterator[tuple[str, Slot]]:
    """Yield the slots with servers to which no model is routed any more."""
    routed = {*slots.values(), *seen.routes.values()}
    for slot, state in seen.slots.items():
        if state.servers and slot not in routed:
            yield slot, state
