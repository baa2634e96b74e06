"""Which replicas get new requests, and how many of them: models and EndpointSlices in, desired traffic out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from trimtab.api.names import MODEL_LABEL, REVISION_LABEL
from trimtab.api.serving import LoadBalancing, Policy

# The ports of a serving pod that take requests, by their names in the Service.
HTTP_PORT = "http"
GRPC_PORT = "grpc"
# HAProxy's largest weight. Shares are rounded to it: 1 % beside 99 % is exact within 0.2 points.
WEIGHT_MAX = 256
# 256 places per replica on the ring of a consistent hash: shares of sessions are equal within some 6 %.
_RING_FACTOR = 16


class Duty(StrEnum):
    """What an endpoint is there for now."""

    ACTIVE = "Active"
    STANDBY = "Standby"  # ready, but its revision has no share of the traffic: checked, never chosen
    DRAIN = "Drain"
    STARTING = "Starting"
    HOLD = "Hold"  # no replica at all: the agent itself, which keeps requests until there is one


# As a server in HAProxy, where the agent holds requests.
HOLD_SERVER = "hold_"
# How long it holds one; HAProxy's queue holds the others as long.
HELD_SECONDS = 30.0


def holding_socket(model: str) -> str:
    """Return the socket on which the agent holds a model's requests, in the directory that it shares with HAProxy."""
    return f"hold.{model}.sock"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One replica; `weight` is above 0 exactly when it is Active (or Hold, which is no replica)."""

    address: str
    pod: str
    node: str
    revision: str
    duty: Duty
    weight: int = 0
    grpc: str = ""
    """Where it takes gRPC, if it is there for that; its health is asked at `address` all the same."""

    @property
    def admitted(self) -> bool:
        """Whether HAProxy is to have it as a server when it starts."""
        return self.duty in {Duty.ACTIVE, Duty.STANDBY, Duty.HOLD}

    @property
    def server(self) -> str:
        """Its name in HAProxy, which counts by revision; a name may hold no brackets."""
        if self.duty is Duty.HOLD:
            return HOLD_SERVER
        return f"{self.address.replace('[', '').replace(']', '')}_{self.revision}"


def route_of(model: str, kind: str) -> str:
    """Return the key of a model's requests with a header, of its calls over gRPC (`GRPC`), or of all others (empty)."""
    return f"{model}@{kind}" if kind else model


# No header has such a name.
GRPC = "/grpc"


def model_of(route: str) -> str:
    """Return the model that a route's key says."""
    return route.partition("@")[0]


def revision_of(server: str) -> str:
    """Return the revision that a server's name says."""
    return server.partition("_")[2]


@dataclass(frozen=True, slots=True)
class ModelTraffic:
    """What the gateway is to do for one model; endpoints are in the order of their addresses.

    A model with session affinity has two: one for requests with the header, one for those without; and one more for
    calls over gRPC, if it takes them.
    """

    model: str
    policy: Policy
    retries: int
    endpoints: tuple[Endpoint, ...]
    sleeps: bool = False
    """Whether it may have no replica: requests wait for the first one then."""
    header: str = ""
    """In lower case: requests with it go to the endpoint that its value says, all others by the policy."""
    grpc: bool = False
    """Whether these are its calls over gRPC."""

    @property
    def route(self) -> str:
        """Return its key among all; no model's name has an `@`."""
        return route_of(self.model, GRPC if self.grpc else self.header)

    @property
    def plain(self) -> bool:
        """Whether it is the one that each model has."""
        return not self.header and not self.grpc

    @property
    def revisions(self) -> tuple[str, ...]:
        """Return the revisions that have replicas."""
        return tuple(sorted({endpoint.revision for endpoint in self.endpoints if endpoint.revision}))


@dataclass(frozen=True, slots=True)
class _Seen:
    """An endpoint as its EndpointSlice tells it."""

    address: str
    pod: str
    node: str
    revision: str
    ready: bool
    serving: bool
    terminating: bool
    grpc: str = ""

    @property
    def usable(self) -> bool:
        return self.ready and not self.terminating

    @property
    def rank(self) -> tuple[bool, bool]:
        """An address that two pods had in turn belongs to the one that can use it."""
        return self.usable, self.serving


def desired_traffic(
    models: Iterable[Mapping[str, Any]], slices: Iterable[Mapping[str, Any]]
) -> tuple[ModelTraffic, ...]:
    """Return what the gateway is to do, by model name.

    Every model has an entry, so that one that waits for its first replica answers 503 and not 404. New requests
    go to endpoints that are ready, not terminating, not on an avoided node, of a revision with a share above 0.
    """
    endpoints: dict[str, dict[str, _Seen]] = {}
    for item in slices:
        labels = item["metadata"].get("labels") or {}
        # The Service in front of the gateway names its model too; replicas are those that name their revision.
        if MODEL_LABEL in labels and REVISION_LABEL in labels:
            known = endpoints.setdefault(labels[MODEL_LABEL], {})
            for seen in _endpoints(item, labels[REVISION_LABEL]):
                other = known.get(seen.address)
                if other is None or seen.rank > other.rank:
                    known[seen.address] = seen
    named = sorted(((str(model["metadata"]["name"]), model) for model in models), key=lambda pair: pair[0])
    return tuple(
        item for name, model in named for item in _traffic(name, model, tuple(endpoints.get(name, {}).values()))
    )


def retouched(
    traffic: tuple[ModelTraffic, ...],
    touched: Collection[str],
    models: Mapping[Any, Mapping[str, Any]],
    slices: Mapping[Any, Mapping[str, Any]],
) -> tuple[ModelTraffic, ...]:
    """Return the traffic with that of some models decided anew: the same as deciding all of it anew."""
    changed = desired_traffic(
        (model for model in models.values() if model["metadata"]["name"] in touched),
        (item for item in slices.values() if (item["metadata"].get("labels") or {}).get(MODEL_LABEL) in touched),
    )
    kept = (item for item in traffic if item.model not in touched)
    return tuple(sorted((*kept, *changed), key=lambda item: item.model))


def _endpoints(item: Mapping[str, Any], revision: str) -> Iterable[_Seen]:
    """Yield the endpoints of a slice; absent conditions mean what the API's documentation says they mean."""
    ports = {port.get("name"): port["port"] for port in item.get("ports") or ()}
    port, grpc = ports.get(HTTP_PORT), ports.get(GRPC_PORT)
    if port is None:
        return
    for endpoint in item.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        ready = conditions.get("ready") is not False
        for ip in endpoint.get("addresses") or ():
            host = f"[{ip}]" if ":" in ip else ip
            yield _Seen(
                address=f"{host}:{port}",
                grpc=f"{host}:{grpc}" if grpc is not None else "",
                pod=(endpoint.get("targetRef") or {}).get("name", ""),
                node=endpoint.get("nodeName") or "",
                revision=revision,
                ready=ready,
                serving=conditions.get("serving", ready) is not False,
                terminating=conditions.get("terminating") is True,
            )


def _traffic(name: str, model: Mapping[str, Any], seen: tuple[_Seen, ...]) -> Iterator[ModelTraffic]:
    serving = (model.get("spec") or {}).get("serving") or {}
    balancing = serving.get("loadBalancing") or {}
    traffic = (model.get("status") or {}).get("traffic") or {}
    shares = {entry["revision"]: int(entry["weight"]) for entry in traffic.get("revisions") or ()}
    avoided = frozenset(traffic.get("avoidNodes") or ())
    chosen = _chosen(seen, shares, avoided)
    weights = server_weights(shares, Counter(endpoint.revision for endpoint in chosen))
    active = {endpoint.address: weights[endpoint.revision] for endpoint in chosen}
    policy = Policy(balancing.get("policy", Policy.ROUND_ROBIN))
    if len(set(weights.values())) > 1:
        # The fewest connections know no shares: idle servers are all equal to it, whatever their weights.
        policy = Policy.ROUND_ROBIN
    sleeps = serving.get("minReplicas") == 0 and bool((serving.get("scaling") or {}).get("idleAfter"))
    held = sleeps and bool(shares) and not chosen
    hold = Endpoint(f"unix@{holding_socket(name)}", "", "", "", Duty.HOLD, 1)
    plain = ModelTraffic(
        model=name,
        policy=policy,
        retries=int(balancing.get("retries", LoadBalancing().retries)),
        sleeps=sleeps,
        endpoints=((hold,) if held else ())
        + tuple(
            _endpoint(endpoint, active.get(endpoint.address, 0), avoided)
            for endpoint in sorted(seen, key=lambda endpoint: endpoint.address)
        ),
    )
    yield plain
    if serving.get("grpc"):
        yield replace(plain, grpc=True, endpoints=_speaking_grpc(plain.endpoints, seen))
    affinity = balancing.get("sessionAffinity")
    if affinity and not held:  # asleep, there is one queue for all
        endpoints = _spread(plain.endpoints)
        yield replace(plain, policy=Policy.ROUND_ROBIN, header=str(affinity["header"]).lower(), endpoints=endpoints)


def _speaking_grpc(endpoints: tuple[Endpoint, ...], seen: tuple[_Seen, ...]) -> tuple[Endpoint, ...]:
    """Return the endpoints that take gRPC, with where: those of a revision from before it was asked for do not."""
    where = {endpoint.address: endpoint.grpc for endpoint in seen if endpoint.grpc}
    return tuple(replace(e, grpc=where[e.address]) for e in endpoints if e.address in where)


def _spread(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Return the endpoints with the same shares in larger weights, which are places on a hash's ring."""
    largest = max((endpoint.weight for endpoint in endpoints), default=0)
    factor = min(_RING_FACTOR, WEIGHT_MAX // max(largest, 1))
    return tuple(replace(endpoint, weight=factor * endpoint.weight) for endpoint in endpoints)


def _endpoint(seen: _Seen, weight: int, avoided: frozenset[str]) -> Endpoint:
    if weight > 0:
        duty = Duty.ACTIVE
    elif seen.usable and seen.node not in avoided:
        duty = Duty.STANDBY
    elif seen.usable or seen.terminating:
        duty = Duty.DRAIN
    else:
        duty = Duty.STARTING
    return Endpoint(seen.address, seen.pod, seen.node, seen.revision, duty, weight)


def _chosen(seen: tuple[_Seen, ...], shares: Mapping[str, int], avoided: frozenset[str]) -> tuple[_Seen, ...]:
    """Return the endpoints that get new requests.

    Each revision has its best ones: an avoided node is better than nothing until it is gone. Where no revision
    has any, replicas on their way out that still answer are better than an error.
    """
    candidates = tuple(endpoint for endpoint in seen if shares.get(endpoint.revision, 0) > 0)
    usable = tuple(endpoint for endpoint in candidates if endpoint.usable)
    kept = tuple(endpoint for endpoint in usable if endpoint.node not in avoided)
    settled = {endpoint.revision for endpoint in kept}
    chosen = kept + tuple(endpoint for endpoint in usable if endpoint.revision not in settled)
    return chosen or tuple(endpoint for endpoint in candidates if endpoint.terminating and endpoint.serving)


def server_weights(shares: Mapping[str, int], replicas: Mapping[str, int]) -> dict[str, int]:
    """Return each revision's weight per server, 1..256, so that its servers together get its share.

    `shares` are percentages, `replicas` the servers that take part; revisions with neither are left out. With one
    revision every server weighs 1. The scale is the smallest one that comes closest to the shares.

    >>> server_weights({"old": 90, "new": 10}, {"old": 3, "new": 1})
    {'new': 1, 'old': 3}
    """
    part = {name: shares.get(name, 0) / count for name, count in sorted(replicas.items()) if count > 0}
    part = {name: value for name, value in part.items() if value > 0}
    if not part:
        return {}
    largest = max(part.values())
    total = sum(shares[name] for name in part)

    def scaled(scale: int) -> dict[str, int]:
        return {name: max(1, round(scale * value / largest)) for name, value in part.items()}

    def miss(weights: Mapping[str, int]) -> float:
        sum_ = sum(weights[name] * replicas[name] for name in weights)
        return max(abs(weights[name] * replicas[name] / sum_ - shares[name] / total) for name in weights)

    # Differences below a billionth are rounding noise; the smaller scale wins there, and an exact one ends the search.
    best, least = scaled(1), 1.0
    for scale in range(1, WEIGHT_MAX + 1):
        weights = scaled(scale)
        missed = round(miss(weights), 9)
        if missed < least:
            best, least = weights, missed
        if missed == 0:
            break
    return best
