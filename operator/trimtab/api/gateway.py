"""The contract between gateway and operator: what the gateway's agent reports at `GET /v1/stats` on port 8090."""

from __future__ import annotations

import math
from enum import StrEnum

from pydantic import Field

from trimtab.api.base import ApiModel


class EndpointState(StrEnum):
    """What the gateway does with an endpoint."""

    STARTING = "Starting"
    HEALTHY = "Healthy"
    UNHEALTHY = "Unhealthy"
    DRAINING = "Draining"


class EndpointStats(ApiModel):
    """One replica, as the gateway sees it."""

    address: str
    """ip:port."""
    pod: str
    """Pod name."""
    revision: str
    """Revision name."""
    node: str = ""
    """Node name."""
    state: EndpointState
    """Healthy endpoints get new requests."""
    in_flight: int = 0
    """Requests that it works on."""
    max_concurrency: int = 0
    """Requests that it takes at once, as its runtime says; 0 before that is known."""


# Times are counted in buckets whose upper bounds grow by the fourth root of 2 from 0.1 ms: a quantile read from them
# is within 19 %, from 0.1 ms to 62 s.
BUCKETS = 79


def bucket_bound_ms(bucket: int) -> float:
    """Return the longest time, in milliseconds, that a bucket (0 to BUCKETS - 1) counts; the last one has no bound."""
    return 0.1 * math.pow(2.0, bucket / 4)


class RevisionStats(ApiModel):
    """What became of the requests that a revision was given, since HAProxy started."""

    requests: int = 0
    """Requests that it was given: answered, or failed on the way."""
    errors: int = 0
    """Of them answered with 5xx or not at all; the gateway may have sent them again elsewhere since."""
    latencies: dict[int, int] = Field(default_factory=dict)
    """Answers other than 5xx by `bucket_bound_ms`, from the full request at the gateway to the answer's head."""


class ModelStats(ApiModel):
    """One model's traffic, since HAProxy started."""

    in_flight: int = 0
    """Requests at replicas."""
    queued: int = 0
    """Requests waiting in the gateway for a free replica."""
    requests_total: int = 0
    """Requests answered."""
    errors_total: int = 0
    """Of them with a 5xx answer or none."""
    latency_ms_average: float = 0.0
    """Mean total time of the last 1,024 requests."""
    wake_seconds: float | None = None
    """From the request that last woke the model, which had no replica, to the first byte of its answer."""
    endpoints: list[EndpointStats] = Field(default_factory=list)
    """Every replica that the gateway knows."""
    revisions: dict[str, RevisionStats] = Field(default_factory=dict)
    """By revision, while there are replicas of more than one."""


class GatewayStats(ApiModel):
    """A gateway's report."""

    time: float
    """Unix time of the sample, seconds."""
    proxy_up: bool
    """Whether HAProxy answered; when False the numbers are missing, not zero."""
    models: dict[str, ModelStats] = Field(default_factory=dict)
    """By model name."""
