"""What the gateway reports: HAProxy's counters in the words of the API, and as Prometheus text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from trimtab.api.gateway import (
    EndpointState,
    EndpointStats,
    GatewayStats,
    ModelStats,
    RevisionStats,
    bucket_bound_ms,
)
from trimtab.planning.traffic import Duty, Endpoint, ModelTraffic, model_of
from trimtab.workloads.gateway.observed import Observed, Server, Slot

_Families = Mapping[str, tuple[str, Sequence[tuple[str, float]]]]


def report(
    traffic: Iterable[ModelTraffic],
    seen: Observed | None,
    limits: Mapping[str, int],
    former: Mapping[str, str],
    now: float,
    revisions: Mapping[str, RevisionStats] | None = None,
    wakes: Mapping[str, float] = MappingProxyType({}),
) -> GatewayStats:
    """Return the report; without HAProxy it says so and has no numbers.

    `limits` is address → requests at once; `former` slot → route for slots that a model has left: their requests
    still count as its own. `now` is Unix time in seconds, `revisions` what each was given, where that was asked for,
    `wakes` seconds from the request that woke a model to its answer.
    """
    if seen is None:
        return GatewayStats(time=now, proxy_up=False)
    models = {
        item.model: _model(
            item,
            seen.slots.get(seen.routes.get(item.model, ""), Slot()),
            [seen.slots[slot] for slot in _others(item.model, seen, former)],
            limits,
            {name: revisions[name] for name in item.revisions if name in revisions} if revisions else {},
            wakes.get(item.model),
        )
        for item in traffic
        if item.plain
    }
    return GatewayStats(time=now, proxy_up=True, models=models)


def _others(model: str, seen: Observed, former: Mapping[str, str]) -> Iterator[str]:
    """Return the slots beside a model's first one with its requests: for sessions, gRPC, and those that it left."""
    beside = ((route, slot) for route, slot in seen.routes.items() if route != model)
    left = ((route, slot) for slot, route in former.items())
    return (slot for route, slot in (*beside, *left) if model_of(route) == model and slot in seen.slots)


def _model(
    item: ModelTraffic,
    slot: Slot,
    former: list[Slot],
    limits: Mapping[str, int],
    revisions: dict[str, RevisionStats],
    wake_seconds: float | None,
) -> ModelStats:
    everything = [slot, *former]
    return ModelStats(
        in_flight=sum(each.in_flight for each in everything),
        queued=sum(each.queued for each in everything),
        requests_total=sum(each.requests for each in everything),
        # A request without any answer is one whose client left first; for all others HAProxy answers 502, 503 or 504.
        errors_total=sum(each.responses.get("5xx", 0) for each in everything),
        latency_ms_average=float(slot.total_ms),
        endpoints=[
            EndpointStats(
                address=endpoint.address,
                pod=endpoint.pod,
                revision=endpoint.revision,
                node=endpoint.node,
                state=_state(endpoint, slot.servers.get(endpoint.server)),
                in_flight=sum(
                    each.servers[endpoint.server].in_flight for each in everything if endpoint.server in each.servers
                ),
                max_concurrency=limits.get(endpoint.address, 0),
            )
            for endpoint in item.endpoints
            if endpoint.pod
        ],
        revisions=revisions,
        wake_seconds=wake_seconds,
    )


def _state(endpoint: Endpoint, server: Server | None) -> EndpointState:
    """Return what the gateway does with an endpoint.

    Healthy are also the ready ones of a revision without a share: a rollout looks at them before it gives them one.
    Draining is told once HAProxy does it: until then an endpoint may still be given a request.
    """
    if endpoint.duty is Duty.DRAIN and not (server is not None and server.up and server.weight):
        return EndpointState.DRAINING
    if server is None or server.in_maintenance:
        return EndpointState.STARTING
    if endpoint.duty is Duty.STARTING or not (server.up or server.status.startswith("DRAIN")):
        return EndpointState.UNHEALTHY
    return EndpointState.HEALTHY if server.checked else EndpointState.STARTING


def prometheus(stats: GatewayStats, seen: Observed | None) -> str:
    """Return the report in Prometheus' text format, with the retries and waits that only HAProxy knows."""
    return "".join(f"{line}\n" for line in _lines(stats, seen))


def _lines(stats: GatewayStats, seen: Observed | None) -> Iterator[str]:
    yield from _family("up", "gauge", "Whether HAProxy answers.", [("", int(stats.proxy_up))])
    models = {f'model="{name}"': model for name, model in stats.models.items()}
    slots = {
        f'model="{name}"': seen.slots[seen.routes[name]]
        for name in stats.models
        if seen and seen.routes.get(name) in seen.slots
    }
    gauges: _Families = {
        "in_flight": ("Requests at replicas.", [(key, model.in_flight) for key, model in models.items()]),
        "queued": ("Requests waiting for a free replica.", [(key, model.queued) for key, model in models.items()]),
        "queue_wait_seconds": (
            "Mean wait of the last 1,024 requests.",
            [(key, slot.queue_ms / 1000) for key, slot in slots.items()],
        ),
        "request_duration_seconds": (
            "Mean time of the last 1,024 requests.",
            [(key, model.latency_ms_average / 1000) for key, model in models.items()],
        ),
        "wake_seconds": (
            "Time from the request that last woke the model to its answer.",
            [(key, model.wake_seconds) for key, model in models.items() if model.wake_seconds is not None],
        ),
        "endpoints": ("Replicas by state.", list(_endpoints(stats))),
    }
    counters: _Families = {
        "requests_total": ("Requests answered.", [(key, model.requests_total) for key, model in models.items()]),
        "errors_total": (
            "Of them with 5xx.",
            [(key, model.errors_total) for key, model in models.items()],
        ),
        "responses_total": (
            "Answers by class.",
            [(f'{key},code="{kind}"', count) for key, slot in slots.items() for kind, count in slot.responses.items()],
        ),
        "retries_total": ("Requests sent again.", [(key, slot.retries) for key, slot in slots.items()]),
        "redispatches_total": (
            "Of them to another replica.",
            [(key, slot.redispatches) for key, slot in slots.items()],
        ),
    }
    for name, (text, samples) in gauges.items():
        yield from _family(name, "gauge", text, samples)
    for name, (text, samples) in counters.items():
        yield from _family(name, "counter", text, samples)
    yield from _histogram(stats)


def _endpoints(stats: GatewayStats) -> Iterator[tuple[str, int]]:
    for name, model in stats.models.items():
        for state in EndpointState:
            count = sum(1 for endpoint in model.endpoints if endpoint.state is state)
            yield f'model="{name}",state="{state}"', count


def _histogram(stats: GatewayStats) -> Iterator[str]:
    """Yield the times of answers; buckets that add nothing are left out."""
    full = "trimtab_gateway_answer_seconds"
    yield f"# HELP {full} Time from the full request to the head of the answer, by revision."
    yield f"# TYPE {full} histogram"
    for model, revision, counted in (
        (name, revision, counted) for name, m in stats.models.items() for revision, counted in m.revisions.items()
    ):
        labels, below = f'model="{model}",revision="{revision}"', 0
        for bucket in sorted(counted.latencies):
            below += counted.latencies[bucket]
            yield f'{full}_bucket{{{labels},le="{bucket_bound_ms(bucket) / 1000:.6g}"}} {below}'
        yield f'{full}_bucket{{{labels},le="+Inf"}} {below}'
        yield f"{full}_count{{{labels}}} {below}"


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    full = f"trimtab_gateway_{name}"
    yield f"# HELP {full} {text}"
    yield f"# TYPE {full} {kind}"
    for labels, value in samples:
        yield f"{full}{{{labels}}} {value}" if labels else f"{full} {value}"
