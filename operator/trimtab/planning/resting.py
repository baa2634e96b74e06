"""When a model needs no look: nothing happens to it, and nothing that was decided comes due.

Thousands of models, looked at every second, would be most of what an operator does. One that is as it should be, has
no request, and has no fewer replicas to go down to stays so until something outside changes: an object, which its watch
tells, or its traffic, which the gateway tells.
"""

from __future__ import annotations

from dataclasses import replace

from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.planning import signals
from trimtab.planning.scaling import ScalingState, Wanted
from trimtab.planning.serving import Serving
from trimtab.planning.snapshot import Snapshot
from trimtab.planning.target import Target
from trimtab.planning.windows import peak

# A look all the same, for what no watch tells: somebody's change of an object that nobody watches. Those are a
# namespace's, not a model's: one of its models sees to them, and the more there are, the less often it is the same one.
REST_SECONDS = 600.0
LONGEST_REST_SECONDS = 7200.0
# How often an awake model is sampled.
_SAMPLE_SECONDS = 1.0


def rests(
    snapshot: Snapshot, spec: OptimizedModelSpec, aim: Target, serving: Serving, wanted: Wanted, state: ScalingState
) -> bool:
    """Whether time alone changes nothing."""
    traffic, split = snapshot.traffic, state.split
    return (
        snapshot.settings.prometheus_url is None  # nobody tells when its figures change
        and traffic is not None
        and traffic.in_flight == traffic.queued == 0
        and _is_silent(state)
        and aim.problem is None
        and serving.problem is None
        and serving.active is not None
        and serving.candidate is None
        and wanted.replicas == _least(spec)
        and _is_placed(snapshot, serving, wanted)
        and not peak(split.covers)
        and not split.growing
        and snapshot.gateway_ready
        and not snapshot.doomed_nodes
        and not snapshot.events
    )


def rest_seconds(snapshot: Snapshot) -> float:
    """Return the seconds until a model at rest is looked at all the same."""
    return min(LONGEST_REST_SECONDS, REST_SECONDS * max(1, len(snapshot.owners)))


def _is_silent(state: ScalingState) -> bool:
    """Whether no sample of the window knows of a request; a single one, after a restart, speaks for itself."""
    return len(set(state.signal.requests)) <= 1 and not any(state.signal.totals)


def _least(spec: OptimizedModelSpec) -> int:
    """Return the replicas that a model without requests ends at."""
    serving = spec.serving
    if serving.min_replicas == 0 and serving.scaling.idle_after is not None:
        return 0
    return min(max(serving.min_replicas, 1), serving.max_replicas)


def _is_placed(snapshot: Snapshot, serving: Serving, wanted: Wanted) -> bool:
    """Whether there is every replica that is wanted, known as healthy, and no other."""
    count = wanted.on_demand + wanted.spot
    own = [pod for pod in snapshot.pods if pod.ready and not pod.terminating]
    deployed = snapshot.deployments
    return (
        len(own) == len(snapshot.pods) == count == serving.healthy
        and sum(view.replicas for view in deployed) == sum(view.ready for view in deployed) == count
        and all(serving.active is not None and view.revision == serving.active.name for view in deployed)
    )


def settled(state: ScalingState) -> ScalingState:
    """Return what has to be remembered of a model that rests: samples that say the same are said by their ends."""
    signal = state.signal
    if len(signal.times) > 2:
        signal = signal.of((0, -1))
    return ScalingState(signal=signal, autoscaler=state.autoscaler, split=state.split, counted=state.counted)


def caught_up(state: ScalingState, now: float) -> ScalingState:
    """Return the state as if the model had been looked at while it rested, up to just before `now` (Unix seconds).

    What it was last seen with went on until then: whatever is different woke it.
    """
    signal = state.signal
    if not signal.times:
        return state
    first = max(signal.times[0], now - signals.WINDOW_S)
    filled: list[float] = []
    at = first
    while at < now - _SAMPLE_SECONDS / 2:
        filled.append(at)
        at += _SAMPLE_SECONDS
    signal = signal.of([-1] * max(1, len(filled)))._replace(times=tuple(filled) or signal.times[-1:])
    counted = state.counted
    if counted is not None:
        counted = counted._replace(at=max(counted.at, now - _SAMPLE_SECONDS))
    return replace(state, signal=signal, counted=counted)
