"""From what the gateway reports to replicas per capacity type: the autoscaler and the split, for one model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.gateway import EndpointState, ModelStats
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import seconds
from trimtab.planning import autoscale, capacity, signals
from trimtab.planning.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ScalingState:
    """What the decisions about one model remember; kept by the operator, lost with it, and then rebuilt by holding."""

    signal: signals.SignalState = field(default_factory=signals.SignalState)
    autoscaler: autoscale.AutoscaleState = field(default_factory=autoscale.AutoscaleState)
    split: capacity.SplitState = field(default_factory=capacity.SplitState)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Replicas that the model should have."""

    replicas: int
    on_demand: int
    spot: int
    scaling_reason: str
    placement_reason: str


def scale(
    snapshot: Snapshot, spec: OptimizedModelSpec, state: ScalingState, ordered: int
) -> tuple[Wanted, ScalingState]:
    """Decide the replicas of a model.

    `ordered` are the replicas that run or start now, without doomed ones.
    """
    now = snapshot.timestamp
    sample = None
    if snapshot.traffic is not None:
        sample = signals.Sample(at=now, in_flight=snapshot.traffic.in_flight, queued=snapshot.traffic.queued)
    signal = signals.ingest(state.signal, sample, now)
    config = autoscale.AutoscaleConfig(
        min_replicas=spec.serving.min_replicas,
        max_replicas=spec.serving.max_replicas,
        capacity_per_replica=float(capacity_per_replica(spec, snapshot.traffic)),
        scale_down_delay=seconds(spec.serving.scaling.scale_down_delay),
    )
    decision, autoscaler = autoscale.desired(signal, config, state.autoscaler, ordered, now)
    split, split_state = _split(snapshot, spec, state.split, decision.replicas)
    wanted = Wanted(
        replicas=decision.replicas,
        on_demand=split.on_demand,
        spot=split.spot,
        scaling_reason=decision.reason,
        placement_reason=split.reason,
    )
    return wanted, ScalingState(signal=signal, autoscaler=autoscaler, split=split_state)


def capacity_per_replica(spec: OptimizedModelSpec, traffic: ModelStats | None) -> int:
    """Return how many requests a replica takes at once: the user's target, else what the runtimes publish."""
    if spec.serving.scaling.target is not None:
        return spec.serving.scaling.target
    published = [e.max_concurrency for e in traffic.endpoints if e.max_concurrency > 0] if traffic else []
    return min(published) if published else spec.serving.batching.max_size


def usable_pools(snapshot: Snapshot, spec: OptimizedModelSpec) -> tuple[CapacityPool, ...]:
    """Return the pools that a model may use."""
    named = set(spec.capacity.pools)
    return tuple(pool for pool in snapshot.pools if not named or pool.name in named)


def _split(
    snapshot: Snapshot, spec: OptimizedModelSpec, state: capacity.SplitState, replicas: int
) -> tuple[capacity.Split, capacity.SplitState]:
    pools = usable_pools(snapshot, spec)
    config = capacity.SplitConfig(
        base=spec.capacity.on_demand_base,
        spot_percent=spec.capacity.spot_percent,
        mode=spec.capacity.mode,
        fallback=spec.capacity.fallback,
        hold_s=snapshot.settings.on_demand_hold_s,
    )
    if not any(pool.spec.capacity_type is CapacityType.SPOT for pool in pools):
        config = replace(config, spot_percent=0)
    doomed = frozenset(snapshot.doomed_nodes)
    live = [pod for pod in snapshot.pods if pod.capacity_type is CapacityType.SPOT and not pod.terminating]
    ready = sum(1 for pod in live if pod.ready and pod.node not in doomed)
    booting = [pod for pod in live if not pod.ready and pod.node not in doomed]
    views = tuple(pool_view(pool) for pool in pools)
    return capacity.split(
        replicas,
        config,
        views,
        ready_spot=ready,
        booting_ages=tuple(pod.age_s for pod in booting),
        state=state,
        now=snapshot.timestamp,
    )


def pool_view(pool: CapacityPool) -> capacity.PoolView:
    """Return what the split needs to know of a pool."""
    price = pool.spec.price
    return capacity.PoolView(
        name=pool.name,
        capacity_type=pool.spec.capacity_type,
        zones=tuple(pool.spec.zones),
        price_per_hour=float(price.per_node_hour) if price else None,
        startup_s=seconds(pool.spec.startup.expected),
        notice_s=seconds(pool.spec.interruption.notice),
        max_nodes=pool.spec.limits.max_nodes,
    )


def healthy(traffic: ModelStats | None, revision: str, avoid: frozenset[str]) -> int:
    """Return the replicas of a revision that the gateway sends requests to and that stay."""
    if traffic is None:
        return 0
    return sum(
        1
        for endpoint in traffic.endpoints
        if endpoint.revision == revision and endpoint.state is EndpointState.HEALTHY and endpoint.node not in avoid
    )
