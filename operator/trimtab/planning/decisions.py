"""Why something changed, in one sentence with its numbers: what `status.decisions` and events tell.

A decision is told when it is taken, not while it lasts: what stays as it is is not written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trimtab.api.base import CapacityType
from trimtab.api.conditions import Reason, timestamp
from trimtab.api.quantities import counted
from trimtab.api.status import DecisionStatus
from trimtab.errors import Stalled
from trimtab.planning import offers, zones
from trimtab.planning.scaling import Wanted
from trimtab.planning.serving import Serving
from trimtab.planning.snapshot import Snapshot
from trimtab.planning.zones import CapacityEvent, Loss, Notice, Quota, Shortage, ZoneState

KEPT = 5


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, and the reason of the event that tells it; None where another event does."""

    entry: DecisionStatus
    event: str | None = None


def decisions(
    snapshot: Snapshot, before: Wanted | None, after: Wanted, serving: Serving, told: frozenset[str], known: ZoneState
) -> Iterator[Decided]:
    """Yield what was decided now, the newest first.

    Args:
        snapshot: What the decision rests on.
        before: What was wanted at the last look; None after a restart, when nothing is known to have changed.
        after: What is wanted now.
        serving: What serves.
        told: Ids of the events of capacity that were told before.
        known: What the model's split knows of the zones.
    """
    at = timestamp(snapshot.now)
    for message in _rollout(snapshot, serving):
        yield Decided(DecisionStatus(time=at, kind="Rollout", message=message))
    if before is None:
        return
    for message in _scaling(before, after):
        yield Decided(DecisionStatus(time=at, kind="Scaling", message=message), Reason.SCALED)
    if (before.on_demand, before.spot) != (after.on_demand, after.spot):
        message = (
            f"{before.on_demand} on-demand + {before.spot} spot -> {after.on_demand} on-demand + {after.spot} spot: "
            f"{after.placement_reason}"
        )
        yield Decided(DecisionStatus(time=at, kind="Placement", message=message), Reason.SCALED)
    for event in reversed(snapshot.events):
        if event.id not in told and (sentence := explained(event, snapshot, known)):
            yield Decided(DecisionStatus(time=at, kind="Placement", message=sentence), _TOLD_AS.get(type(event)))


# A notice has an event of its own, which a restart does not repeat.
_TOLD_AS = {Loss: Reason.SPOT_INTERRUPTED, Shortage: Reason.SHORTAGE, Quota: Reason.QUOTA_REACHED}


def _rollout(snapshot: Snapshot, serving: Serving) -> Iterator[str]:
    was, now = snapshot.status.active_revision, serving.active
    known = snapshot.status.rollback
    if now is not None and (was is None or was.name != now.name):
        yield f"all traffic goes to {now.called}"
    elif serving.candidate is not None and snapshot.status.candidate_revision is None and serving.rollback is None:
        yield f"rolling out {serving.candidate.called}"
    if serving.news:
        yield serving.news
    if (back := serving.rollback) is not None and (
        known is None or (known.revision, known.to) != (back.revision, back.to)
    ):
        why = f": {back.reason}" if back.reason else ""
        yield f"back from revision {back.revision} to {back.to}, as a person decided{why}"
        return
    given_up = snapshot.status.candidate_revision is not None and serving.candidate is None
    if given_up and isinstance(serving.problem, Stalled):
        yield serving.problem.message


def _scaling(before: Wanted, after: Wanted) -> Iterator[str]:
    if before.replicas != after.replicas:
        yield f"{before.replicas} -> {after.replicas} replicas: {after.scaling_reason}"
    elif after.held and not before.held:
        yield f"{counted(after.replicas, 'replica stays', 'replicas stay')}: {after.scaling_reason}"


def explained(event: CapacityEvent, snapshot: Snapshot, known: ZoneState) -> str | None:
    """Return what an event of capacity means for a model; None where it may not use that pool or has no node there."""
    if snapshot.spec is None or not offers.concerns(event, offered := offers.views(snapshot.pools, snapshot.spec)):
        return None
    now = snapshot.timestamp
    match event:
        case Shortage(spot=False) | Quota(spot=False) if not _waits(snapshot):
            return None
        case Notice():
            until = snapshot.doomed_nodes.get(event.node)
            hit = sum(1 for pod in snapshot.pods if pod.node == event.node and not pod.terminating)
            if until is None or not hit:
                return None
            seconds = max(0.0, (until - snapshot.now).total_seconds())
            replaced = f"{counted(hit, 'replica is', 'replicas are')} replaced elsewhere"
            return f"node {event.node} goes away in {seconds:.0f} s: {replaced}{_cooling(event.zone, known, now)}"
        case Loss():
            return f"node {event.node} was lost without a notice{_cooling(event.zone, known, now)}"
        case Shortage():
            return short_of(event, [zone for zone in event.zones if offers.uses(offered, zone)], known, now)
        case Quota():
            return over_quota(event)


def _waits(snapshot: Snapshot) -> bool:
    """Whether replicas on demand are missing: a shortage of nodes is nothing to others."""
    return any(
        view.capacity_type is not CapacityType.SPOT and view.ready < view.replicas for view in snapshot.deployments
    )


def short_of(event: Shortage, where: Sequence[str], known: ZoneState, now: float) -> str:
    """Return a shortage in some zones and what follows, in words; to pools as to models."""
    if not event.spot:
        return f"the provider has no on-demand node in {', '.join(where)}; replicas that need one wait for it"
    cooling = "".join(_cooling(zone, known, now) for zone in where)
    return f"the provider has no spot node in {', '.join(where)}{cooling}"


def over_quota(event: Quota) -> str:
    """Return in words that an account may not have more of a pool."""
    if not event.spot:
        return f"pool {event.pool} is at the account's quota; replicas that need a node of it wait until it is raised"
    minutes = zones.QUOTA_BACK_OFF_S / 60
    return f"pool {event.pool} is at the account's quota: nothing more is ordered there for {minutes:.0f} min"


def _cooling(name: str, known: ZoneState, now: float) -> str:
    zone = known.zones.get(name)
    if zone is None or not zones.is_cooling(known, name, now):
        return ""
    return f"; {name} cools down for {zone.cooling_until - now:.0f} s"


def unsaid(new: Sequence[Decided], before: Sequence[DecisionStatus]) -> tuple[Decided, ...]:
    """Return the decisions without those that the last one of their kind told in the same words."""
    latest = {entry.kind: entry.message for entry in reversed(before)}
    return tuple(decided for decided in new if latest.get(decided.entry.kind) != decided.entry.message)
