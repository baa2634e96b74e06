"""The contract between gateway and operator: what the gateway's agent reports at `GET /v1/stats` on port 8090."""

from __future__ import annotations

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
    endpoints: list[EndpointStats] = Field(default_factory=list)
    """Every replica that the gateway knows."""


class GatewayStats(ApiModel):
    """A gateway's report."""

    time: float
    """Unix time of the sample, seconds."""
    proxy_up: bool
    """Whether HAProxy answered; when False the numbers are missing, not zero."""
    models: dict[str, ModelStats] = Field(default_factory=dict)
    """By model name."""
