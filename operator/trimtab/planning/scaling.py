"""From what the gateway reports to replicas per capacity type: the autoscaler and the split, for one model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPool
from trimtab.api.gateway import EndpointState, ModelStats
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import amount, seconds
from trimtab.api.serving import ScalingMetric
from trimtab.planning import autoscale, capacity, loads, offers, signals, zonememory, zones
from trimtab.planning.learning import Learnt, learn
from trimtab.planning.loads import Counted, Load
from trimtab.planning.manifests.serving import requests
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import Snapshot

# Whoever asks for a scale-down sooner than a window lasts gets a shorter window, down to two panic windows.
_SHORTEST_WINDOW_S = 12.0
_SPOT, _CONCURRENCY, _RATE = CapacityType.SPOT, ScalingMetric.CONCURRENCY, ScalingMetric.REQUEST_RATE


@dataclass(frozen=True, slots=True)
class ScalingState:
    """What the decisions about one model remember; kept by the operator, lost with it, and then rebuilt by holding."""

    signal: signals.SignalState = field(default_factory=signals.SignalState)
    autoscaler: autoscale.AutoscaleState = field(default_factory=autoscale.AutoscaleState)
    split: capacity.SplitState = field(default_factory=capacity.SplitState)
    counted: Counted | None = None
    """Requests at the last look, from which the next one learns their rate."""
    learnt: Learnt | None = None
    """What a replica answers in a second, for a rate without a target."""
    terms: _Terms | None = field(default=None, compare=False, repr=False)
    """What the spec and the pools came to at the last look; no part of what is remembered."""


class Wanted(NamedTuple):
    """Replicas that the model should have."""

    replicas: int
    on_demand: int
    spot: int
    scaling_reason: str
    placement_reason: str
    floor_met: bool = True
    """Whether there is a pool for the on-demand base."""
    held: bool = False
    """Whether replicas stay as they are for want of figures."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a spec and the pools come to for every decision, for as long as they are the same objects."""

    spec: OptimizedModelSpec
    pools: tuple[CapacityPool, ...]
    settings: Settings
    config: autoscale.AutoscaleConfig
    split: capacity.SplitConfig
    offered: tuple[capacity.PoolView, ...]
    together: capacity.Pools
    metric: ScalingMetric
    target: int | None
    cpu_request: float
    events: tuple[zones.CapacityEvent, ...]
    ours: tuple[zones.CapacityEvent, ...]
    """Of the events, those that concern the pools."""


def scale(
    snapshot: Snapshot, spec: OptimizedModelSpec, state: ScalingState, ordered: int
) -> tuple[Wanted, ScalingState]:
    """Decide the replicas of a model.

    `ordered` are the replicas that run or start now, without doomed ones.
    """
    now, terms = snapshot.timestamp, _terms(snapshot, spec, state.terms)
    load, counted = _load(snapshot, state.counted, now)
    ready = [pod.name for pod in snapshot.pods if pod.ready and not pod.terminating]
    learns = terms.metric is _RATE and terms.target is None
    learnt = learn(state.learnt or Learnt(), load, len(ready)) if learns else None
    sample, measured = _sample(snapshot, terms, load, ready, learnt.rate if learnt else terms.target)
    source = "the gateway" if snapshot.settings.prometheus_url is None else "Prometheus"
    told = state.signal if state.signal.source == source else state.signal._replace(source=source)
    signal = signals.ingest(told, sample, now)
    decision, autoscaler = autoscale.desired(signal, terms.config, state.autoscaler, ordered, now)
    split, split_state = _split(snapshot, terms, state.split, decision.replicas, now)
    wanted = Wanted(
        replicas=decision.replicas,
        on_demand=split.on_demand,
        spot=split.spot,
        scaling_reason=f"{measured}, as {decision.reason}" if measured and not decision.held else decision.reason,
        placement_reason=split.reason,
        floor_met=split.floor_met,
        held=decision.held,
    )
    return wanted, ScalingState(
        signal=signal, autoscaler=autoscaler, split=split_state, counted=counted, learnt=learnt, terms=terms
    )


def _terms(snapshot: Snapshot, spec: OptimizedModelSpec, before: _Terms | None) -> _Terms:
    per_replica = float(capacity_per_replica(spec, snapshot.traffic))
    if (
        before is not None
        and before.spec is spec
        and before.pools is snapshot.pools
        and before.settings is snapshot.settings
        and before.events is snapshot.events
        and before.config.capacity_per_replica == per_replica
    ):
        return before
    scaling, wishes, hold_s = spec.serving.scaling, spec.capacity, snapshot.settings.on_demand_hold_s
    offered = offers.views(snapshot.pools, spec)
    if before is not None and before.offered is offered and before.events is snapshot.events:
        ours = before.ours
    else:
        ours = tuple(event for event in snapshot.events if offers.concerns(event, offered))
    return _Terms(
        spec=spec,
        pools=snapshot.pools,
        settings=snapshot.settings,
        config=_config(
            spec.serving.min_replicas,
            spec.serving.max_replicas,
            per_replica,
            scaling.scale_down_delay,
            scaling.idle_after,
        ),
        split=_split_config(wishes.on_demand_base, wishes.spot_percent, wishes.mode, wishes.fallback, hold_s),
        offered=offered,
        together=offers.together(snapshot.pools, spec),
        metric=scaling.metric,
        target=scaling.target,
        cpu_request=amount(requests(spec).get("cpu", 1)),
        events=snapshot.events,
        ours=ours,
    )


@lru_cache(maxsize=1024)  # few are different, and thousands of models share them
def _config(
    least: int, most: int, per_replica: float, scale_down_delay: str, idle_after: str | None
) -> autoscale.AutoscaleConfig:
    delay = seconds(scale_down_delay)
    return autoscale.AutoscaleConfig(
        min_replicas=least,
        max_replicas=most,
        capacity_per_replica=per_replica,
        scale_down_delay=delay,
        idle_after=seconds(idle_after) if idle_after else None,
        stable_window=min(signals.WINDOW_S, max(delay, _SHORTEST_WINDOW_S)),
    )


_split_config = lru_cache(maxsize=1024)(capacity.SplitConfig)


def _load(snapshot: Snapshot, before: Counted | None, now: float) -> tuple[Load | None, Counted | None]:
    """Return the load that the installation's source tells, and the requests counted so far."""
    traffic = snapshot.traffic
    if snapshot.settings.prometheus_url is not None:
        return snapshot.load, None
    if traffic is None:
        return None, before
    return loads.from_gateway(traffic, now, before), Counted(now, traffic.requests_total)


def _sample(
    snapshot: Snapshot, terms: _Terms, load: Load | None, ready: Sequence[str], target: float | None
) -> tuple[signals.Sample | None, str]:
    """Return the load as a sample, in requests at once, and what was measured, in words where it was something else.

    A metric's target is worth what a replica takes at once, so that one policy fits them all. Until a target is learnt,
    requests at once are followed.
    """
    if load is None:
        return None, ""
    metric = terms.metric if target is not None else _CONCURRENCY
    total = loads.total(metric, load, ready, terms.cpu_request)
    if total is None:
        return None, ""
    counted = snapshot.traffic.requests_total if snapshot.traffic is not None else None
    if metric is _CONCURRENCY or target is None:
        return signals.Sample(load.at, 0, 0, counted, total), ""
    worth = total / target * capacity_per_replica(terms.spec, snapshot.traffic)
    full = f"{target} per replica" if terms.target is not None else f"{target:.1f} per replica, as learnt"
    return signals.Sample(load.at, 0, 0, counted, worth), f"{metric} {total:.1f} at {full}"


def capacity_per_replica(spec: OptimizedModelSpec, traffic: ModelStats | None) -> int:
    """Return how many requests a replica takes at once: the user's target, else what the runtimes publish."""
    scaling = spec.serving.scaling
    if scaling.target is not None and scaling.metric is _CONCURRENCY:
        return scaling.target
    published = [e.max_concurrency for e in traffic.endpoints if e.max_concurrency > 0] if traffic else []
    return min(published) if published else spec.serving.batching.max_size


def _split(
    snapshot: Snapshot, terms: _Terms, state: capacity.SplitState, replicas: int, now: float
) -> tuple[capacity.Split, capacity.SplitState]:
    leaving = snapshot.leaving_nodes
    if snapshot.zones and state.target is None and not state.zones.seen:
        known = [snapshot.zones[pool.name] for pool in terms.offered if pool.name in snapshot.zones]
        state = replace(state, zones=zonememory.merged(known))
    if leaving or terms.ours:
        state = _counted(state, (*_notices(snapshot, leaving), *terms.ours), now)
    ready = [p for p in snapshot.pods if p.capacity_type is _SPOT and p.ready and not p.terminating]
    return capacity.split(
        replicas,
        terms.split,
        terms.together,
        ready_spot=len(ready),
        doomed=sum(1 for pod in ready if pod.node in leaving) if leaving else 0,
        state=state,
        now=now,
        ordered_on_demand=_ordered_on_demand(snapshot) if state.target is None else None,
    )


def _counted(state: capacity.SplitState, events: Sequence[zones.CapacityEvent], now: float) -> capacity.SplitState:
    """Return the state with all events counted: of the hundreds of an hour usually none is new."""
    heard = {name for name, _ in state.zones.seen}
    for event in events:
        if event.id not in heard:
            state = capacity.on_event(state, event, now)
            heard = {name for name, _ in state.zones.seen}
    return state


def _notices(snapshot: Snapshot, leaving: Mapping[str, datetime]) -> Iterator[zones.Notice]:
    """Yield one notice per spot node that goes away with replicas of ours on it."""
    for node, until in leaving.items():
        ours = [p for p in snapshot.pods if p.node == node and p.capacity_type is _SPOT]
        zone = next((p.zone or p.pool or node for p in ours), None)
        if zone is not None:
            yield zones.Notice(f"{node} {until.timestamp():.0f}", zone, node, next(p.pool or "" for p in ours))


def _ordered_on_demand(snapshot: Snapshot) -> int:
    return sum(view.replicas for view in snapshot.deployments if view.capacity_type is not _SPOT)


def healthy(traffic: ModelStats | None, revision: str, avoid: frozenset[str]) -> int:
    """Return the replicas of a revision that the gateway sends requests to and that stay."""
    if traffic is None:
        return 0
    return sum(
        1
        for endpoint in traffic.endpoints
        if endpoint.revision == revision and endpoint.state is EndpointState.HEALTHY and endpoint.node not in avoid
    )
