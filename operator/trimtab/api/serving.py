"""How a model is served: engine, replicas, balancing, batching, scaling, rollout."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from trimtab.api.base import ApiModel, Resources, rules
from trimtab.api.quantities import Duration, Percent


class Engine(StrEnum):
    """What runs the model."""

    AUTO = "Auto"
    ONNX_RUNTIME = "OnnxRuntime"
    OPEN_VINO = "OpenVino"
    TORCH = "Torch"


class Policy(StrEnum):
    """HAProxy's algorithms by name: roundrobin and leastconn."""

    ROUND_ROBIN = "RoundRobin"
    LEAST_CONNECTIONS = "LeastConnections"


class LoadingMode(StrEnum):
    """When a model is loaded."""

    EAGER = "Eager"
    LAZY = "Lazy"


class ScalingMetric(StrEnum):
    """What replicas follow."""

    CONCURRENCY = "Concurrency"
    REQUEST_RATE = "RequestRate"
    LATENCY = "Latency"
    QUEUE_DEPTH = "QueueDepth"
    CPU = "CPU"


class Accelerator(ApiModel):
    """Devices of one replica."""

    resource: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", max_length=253)]
    """Extended resource: nvidia.com/gpu."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """Devices per replica."""
    node_selector: Annotated[dict[str, str], Field(max_length=16)] | None = None
    """Labels of nodes that have it."""


class SessionAffinity(ApiModel):
    """Requests with the same header value go to the same replica as long as it is there."""

    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", max_length=127)]
    """Header name."""


class LoadBalancing(ApiModel):
    """How the gateway spreads requests."""

    policy: Policy = Policy.ROUND_ROBIN
    """RoundRobin takes replicas in turn; LeastConnections takes the one with the fewest requests."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    """Attempts on other replicas when one cannot be reached or dies before it answers."""
    session_affinity: SessionAffinity | None = None
    """Stick clients to replicas."""


class Batching(ApiModel):
    """Requests that run together."""

    max_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Requests per batch at most; 1 turns batching off."""
    max_wait: Duration = "0ms"
    """How long a request may wait for company; 0ms batches only what is already there."""


class Cache(ApiModel):
    """Answers kept for equal requests."""

    entries: Annotated[int, Field(ge=1, le=10_000_000)]
    """Answers kept at most."""
    ttl: Duration | None = None
    """How long an answer is kept."""


class Scaling(ApiModel):
    """How replicas follow the load."""

    metric: ScalingMetric = ScalingMetric.CONCURRENCY
    """What to follow; Concurrency is requests in flight and queued at the gateway."""
    target: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Metric per replica when full, at most 80 % of which is planned. Unless set: for Concurrency what it takes at
    once, for RequestRate what replicas were seen to answer while requests waited for all of them."""
    scale_down_delay: Duration = "5m"
    """How long a lower need must last before replicas go."""
    idle_after: Duration | None = None
    """No request for this long: scale to zero."""


class CanaryStep(ApiModel):
    """One step of a canary."""

    weight: Annotated[str, Field(pattern=r"^(100|[1-9][0-9]?)%$", max_length=4)]
    """Share of the traffic, in whole percent."""
    hold: Duration | None = None
    """How long at least."""
    max_error_rate: Percent | None = None
    """Of the new revision's requests; no more than the old revision's unless set."""
    max_p95_latency: Duration | None = Field(default=None, alias="maxP95Latency")
    """Of the new revision's requests; 1.5 times the old revision's, and 5 ms more at least, unless set."""


class Canary(ApiModel):
    """Traffic moves in steps; a revision that does worse than the old one in the same time is rolled back."""

    steps: Annotated[list[CanaryStep], Field(min_length=1, max_length=16)]
    """In order; all traffic follows the last one."""
    min_samples: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Requests that the new revision must have had in a step before anything is concluded."""


class Rollout(ApiModel):
    """How a new revision replaces the old one."""

    max_surge: Annotated[int, Field(ge=0, le=1000)] = 1
    """Replicas above the wanted number while rolling."""
    max_unavailable: Annotated[int, Field(ge=0, le=1000)] = 0
    """Replicas that may be missing while rolling."""
    drain_timeout: Duration = "30s"
    """How long requests in flight may take when their replica goes."""
    progress_deadline: Duration = "10m"
    """A rollout that comes no further for so long is rolled back and Stalled; a canary step's hold does not count."""
    canary: Canary | None = None
    """Move traffic in steps."""


class Serving(ApiModel):
    """How the model is served."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
                "minReplicas must not be above maxReplicas",
            )
        )
    )
    engine: Engine = Engine.AUTO
    """What runs the model; Auto takes the one that the artifact was judged on."""
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Serving image; the operator's default unless set."""
    resources: Resources | None = None
    """Of one replica; 500m CPU and 256Mi requested unless set."""
    accelerator: Accelerator | None = None
    """Devices of one replica."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Replicas at least."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Replicas at most."""
    load_balancing: LoadBalancing = LoadBalancing()
    """How the gateway spreads requests."""
    batching: Batching = Batching()
    """Requests that run together."""
    cache: Cache | None = None
    """Answers kept for equal requests."""
    loading: LoadingMode = LoadingMode.EAGER
    """When the model is loaded."""
    grpc: bool = False
    """Take calls over gRPC, too."""
    prefetch: bool = False
    """Keep artifacts on the nodes: the first replica there fetches one, the others start from it."""
    scaling: Scaling = Scaling()
    """How replicas follow the load."""
    rollout: Rollout = Rollout()
    """How a new revision replaces the old one."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"minReplicas ({self.min_replicas}) must not be above maxReplicas ({self.max_replicas})")
        return self
