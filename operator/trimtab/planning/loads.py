"""What a model's load is, by the metric that its replicas follow: always a total over all of them, or nothing."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from trimtab.api.gateway import ModelStats
from trimtab.api.serving import ScalingMetric

# A rate over less than this is one request more or less.
_SHORTEST_RATE_S = 0.5


class Load(NamedTuple):
    """What a source says of a model at one moment (Unix seconds); None for what it does not know."""

    at: float
    in_flight: float | None = None
    queued: float | None = None
    rate: float | None = None
    """Requests per second."""
    latency_ms: float | None = None
    """Mean time of recent requests."""
    cpu: Mapping[str, float] = MappingProxyType({})
    """Cores in use, by pod."""


class Counted(NamedTuple):
    """How many requests there had been at some moment (Unix seconds)."""

    at: float
    requests: int


def from_gateway(traffic: ModelStats, now: float, before: Counted | None) -> Load:
    """Return what the gateway's report says; a rate needs an earlier count, and a counter that did not begin anew."""
    rate = None
    if before is not None and now - before.at >= _SHORTEST_RATE_S and traffic.requests_total >= before.requests:
        rate = (traffic.requests_total - before.requests) / (now - before.at)
    return Load(now, float(traffic.in_flight), float(traffic.queued), rate, traffic.latency_ms_average)


def total(metric: ScalingMetric, load: Load, pods: Collection[str], cpu_request: float) -> float | None:
    """Return the load in the metric's unit, over all replicas; None where the source does not tell.

    Args:
        metric: What the replicas follow.
        load: What the source says.
        pods: The replicas that are ready.
        cpu_request: Cores that each reserves.

    Latency and CPU are of replicas, not of the model, so they are multiplied by their number: HPA's rule. Latency is
    in milliseconds, CPU in percent of what is reserved. A ready replica of which nothing is known counts as an
    average one.
    """
    found: float | None = None
    match metric:
        case ScalingMetric.CONCURRENCY if load.in_flight is not None and load.queued is not None:
            found = load.in_flight + load.queued
        case ScalingMetric.QUEUE_DEPTH:
            found = load.queued
        case ScalingMetric.REQUEST_RATE:
            found = load.rate
        case ScalingMetric.LATENCY if load.latency_ms is not None and pods:
            found = load.latency_ms * len(pods)
        case ScalingMetric.CPU if known := [load.cpu[pod] for pod in pods if pod in load.cpu]:
            found = 100 * sum(known) / len(known) * len(pods) / cpu_request
        case _:
            pass
    return found if found is not None and math.isfinite(found) else None
