"""From the wanted revision to what runs: replicas of both revisions on both capacity types, and the traffic split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from trimtab.api.base import CapacityType
from trimtab.api.conditions import ROLLED_OUT, Condition, Reason, find
from trimtab.api.names import Key
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.status import RevisionStatus, RollbackStatus, RolloutStatus, WeightStatus
from trimtab.errors import NotYet, Stalled, TrimtabError
from trimtab.planning import offers, placement, rollout
from trimtab.planning.canary import Window
from trimtab.planning.course import Candidate, Course, course_of
from trimtab.planning.manifests import serving as manifests
from trimtab.planning.manifests.gateway import gateway, keepers
from trimtab.planning.manifests.template import spec_for
from trimtab.planning.overrides import Direction, said
from trimtab.planning.plan import Action, Annotate, Apply, Delete, Manifest, Scale
from trimtab.planning.scaling import Wanted, healthy
from trimtab.planning.snapshot import PodView, Snapshot

# A pod on a node that goes away is asked to leave this long before, if nothing replaced it by then.
_EVICT_BEFORE = timedelta(seconds=4)
DECIDED = {Reason.PROGRESS_DEADLINE_EXCEEDED, Reason.ARTIFACT_CORRUPT, Reason.CANARY_FAILED}


@dataclass(frozen=True, slots=True)
class Serving:
    """What serves from now on, and how to get there."""

    active: RevisionStatus | None = None
    candidate: RevisionStatus | None = None
    history: tuple[RevisionStatus, ...] = ()
    weights: tuple[WeightStatus, ...] = ()
    healthy: int = 0
    """Replicas that the gateway sends requests to, of both revisions."""
    problem: TrimtabError | None = None
    """Why the wanted revision is not rolled out (yet)."""
    actions: tuple[Action, ...] = ()
    rollout: RolloutStatus | None = None
    """How far the candidate is."""
    rollback: RollbackStatus | None = None
    """What does not serve because a person decided so."""
    window: Window | None = None
    """What the operator is to remember of its canary."""
    news: str = ""
    """What was decided about its canary."""


def serve(snapshot: Snapshot, aim: Direction, scale: Wanted, window: Window | None = None) -> Serving:
    """Decide what serves. Without a wanted revision the active one goes on, at the scale that the load asks for."""
    spec, wanted = aim.spec, aim.revision
    active = snapshot.status.active_revision
    if wanted is not None and active is not None and wanted.name == active.name:
        active = wanted
    candidate = wanted if wanted is not None and (active is None or wanted.name != active.name) else None
    problem: TrimtabError | None = None
    if candidate is not None:
        problem = _refusal(snapshot, aim, candidate)
        if problem is not None:
            candidate = None
    avoid = frozenset(snapshot.leaving_nodes)
    admitted = healthy(snapshot.traffic, candidate.name, avoid) if candidate else 0
    left = sum(1 for pod in snapshot.pods if pod.revision == active.name) if active else None
    course: Course | None = None
    if candidate is not None:
        under_way = Candidate(candidate, active, admitted, left or 0, scale.replicas)
        course = course_of(snapshot, spec, under_way, window, promoted=aim.promoted)
        if course.ended is not None:
            problem, candidate, admitted = course.ended, None, 0
    serving_now = admitted + (healthy(snapshot.traffic, active.name, avoid) if active else 0)
    history = snapshot.status.revisions
    if candidate is None or course is None:
        shares = rollout.Shares(active=scale.replicas, candidate=0, done=False)
    else:
        shares = rollout.shares(
            scale.replicas,
            healthy=admitted,
            floor=spec.serving.min_replicas,
            old_left=left,
            limits=spec.serving.rollout,
            most=course.most,
        )
        if shares.done:
            history = _remembered(active, candidate, history, spec.revision_history_limit)
            active, candidate = candidate, None
            shares = rollout.Shares(active=scale.replicas, candidate=0, done=False)
        else:
            problem = _rolling(snapshot, aim, candidate, admitted, shares.candidate, course.note)
    if candidate is None and problem is None and active is not None:
        problem = _broken(snapshot, active)
    if problem is None and aim.rollback is not None:
        problem = Stalled(Reason.ROLLED_BACK, said(aim.rollback, snapshot.key.name))
    replaced = serving_now >= scale.replicas
    wanted_name = wanted.name if wanted else None
    actions = _objects(snapshot, spec, scale, shares, active, candidate, wanted_name)
    split = {r.name: n for r, n in ((active, shares.active), (candidate, shares.candidate)) if r is not None}
    left_over = _left_over(snapshot, set(split))
    gone = left_over if replaced or not split else left_over.keys() & _unproven(snapshot, problem, left_over)
    actions += _removed(snapshot, gone)
    staying = {name: replicas for name, replicas in left_over.items() if name not in gone}
    split |= staying
    if problem is None and active is not None and any(staying.values()):
        others = ", ".join(sorted(name for name, replicas in staying.items() if replicas))
        message = f"{active.called}: {serving_now} of {scale.replicas} replicas admitted; {others} serves until then"
        problem = NotYet(Reason.ROLLING_OUT, message)
    going = course if candidate is not None else None
    return Serving(
        active=active,
        candidate=candidate,
        history=tuple(history),
        weights=_weights(split, active, candidate, going),
        healthy=serving_now,
        problem=problem,
        actions=actions,
        rollout=going.state if going else None,
        rollback=aim.rollback,
        window=going.window if going else None,
        news=going.news if going else "",
    )


def _weights(
    split: dict[str, int], active: RevisionStatus | None, candidate: RevisionStatus | None, course: Course | None
) -> tuple[WeightStatus, ...]:
    """Return the traffic split: by replicas, and as its canary says where the candidate has one."""
    by_replicas = rollout.weights(split)
    if course is None or active is None or candidate is None:
        return by_replicas
    share = next(entry.weight for entry in by_replicas if entry.revision == candidate.name)
    weight = course.weight if course.weight is not None else course.least_weight
    if course.weight is None and share >= weight:
        return by_replicas
    others = {name: replicas for name, replicas in split.items() if name != candidate.name}
    return rollout.canary_weights(candidate.name, weight, active.name, others)


def _unproven(snapshot: Snapshot, problem: TrimtabError | None, left_over: dict[str, int]) -> set[str]:
    """Return the revisions that may not stand in for others: their canary failed, or was cut short."""
    if problem is not None and problem.reason == Reason.CANARY_FAILED:
        return set(left_over)
    state = snapshot.status.rollout
    return {state.revision} if state is not None and state.steps_passed < state.steps else set()


def _left_over(snapshot: Snapshot, keep: set[str]) -> dict[str, int]:
    """Return the replicas of revisions that are neither active nor candidate: given up on, or overtaken.

    They serve on until the others have replaced them: a rollout that is cut short must not cost capacity either.
    """
    found: dict[str, int] = {}
    for view in snapshot.deployments:
        if view.revision not in keep:
            found[view.revision] = found.get(view.revision, 0) + view.replicas
    return found


def _refusal(snapshot: Snapshot, aim: Direction, candidate: RevisionStatus) -> TrimtabError | None:
    """Return why a candidate is not rolled out (any more): given up on, cannot start, or suspended."""
    if (past := given_up(snapshot, aim.rollback)) is not None:
        return Stalled(past.reason, past.message)
    active = snapshot.status.active_revision
    serving = f"{active.called} keeps serving" if active else "nothing serves yet"
    own = [pod for pod in snapshot.pods if pod.revision == candidate.name]
    fatal = next((pod for pod in own if pod.fatal), None)
    if fatal is not None:
        remedy = "change spec.rerun.reason to make it anew"
        if aim.rollback is not None:
            command = f"trimtab rollback {snapshot.key.name}"
            remedy = (
                f"go back to another revision (`{command} --to REVISION`), or end the rollback (`{command} --undo`)"
            )
        return Stalled(Reason.ARTIFACT_CORRUPT, f"{fatal.trouble}; {serving}; {remedy}")
    begun = candidate.name == (snapshot.status.candidate_revision.name if snapshot.status.candidate_revision else None)
    if aim.spec.suspend and not begun:
        return NotYet(Reason.SUSPENDED, f"spec.suspend: true; the rollout of {candidate.name} waits; {serving}")
    return None


def given_up(snapshot: Snapshot, rollback: RollbackStatus | None) -> Condition | None:
    """Return the condition that remembers that this generation's candidate was given up on, while that holds."""
    past = find(snapshot.conditions, ROLLED_OUT)
    if past is None or past.reason not in DECIDED or past.observed_generation != snapshot.generation:
        return None
    return past if _leads_there(snapshot.status.rollback) == _leads_there(rollback) else None


def _leads_there(rollback: RollbackStatus | None) -> tuple[str, str] | None:
    """Return what a decision about a candidate rests on beside the generation: whether a person sent us to it."""
    return (rollback.revision, rollback.to) if rollback is not None else None


def _broken(snapshot: Snapshot, active: RevisionStatus) -> Stalled | None:
    """Return why replicas of the active revision cannot start any more: its artifact was changed or lost."""
    fatal = [pod for pod in snapshot.pods if pod.revision == active.name and pod.fatal and not pod.terminating]
    if not fatal:
        return None
    return Stalled(
        Reason.ARTIFACT_CORRUPT,
        f"{fatal[0].trouble}; {len(fatal)} replicas of {active.called} cannot start, those that run keep "
        "serving; change spec.rerun.reason to make the artifact anew",
    )


def _rolling(
    snapshot: Snapshot, aim: Direction, candidate: RevisionStatus, admitted: int, replicas: int, note: str
) -> NotYet:
    if aim.spec.suspend:
        return NotYet(Reason.SUSPENDED, f"spec.suspend: true; the rollout of {candidate.name} stays where it is")
    trouble = next((p.trouble for p in snapshot.pods if p.revision == candidate.name and p.trouble), None)
    more = "".join(f"; {text}" for text in (note, trouble) if text)
    back = f"back from revision {aim.rollback.revision}: " if aim.rollback else ""
    return NotYet(Reason.ROLLING_OUT, f"{back}{candidate.called}: {admitted} of {replicas} replicas admitted{more}")


def _remembered(
    active: RevisionStatus | None, candidate: RevisionStatus, history: list[RevisionStatus], limit: int
) -> list[RevisionStatus]:
    past = [active, *history] if active else history
    return [revision for revision in past if revision.name != candidate.name][:limit]


def _objects(
    snapshot: Snapshot,
    spec: OptimizedModelSpec,
    scale: Wanted,
    shares: rollout.Shares,
    active: RevisionStatus | None,
    candidate: RevisionStatus | None,
    wanted: str | None,
) -> tuple[Action, ...]:
    """Return everything to apply, scale and delete so that the shares come true."""
    actions: list[Action] = []
    if active is not None or candidate is not None:
        actions += [Apply(m) for m in _gateway(snapshot)]
        actions.append(Apply(manifests.model_service(snapshot.key, snapshot.uid)))
    doomed = placement.doomed_pods(snapshot.pods, frozenset(snapshot.doomed_nodes))
    leaving = snapshot.leaving_nodes
    late = tuple(pod for pod in doomed if pod.node in leaving and leaving[pod.node] - snapshot.now <= _EVICT_BEFORE)
    # Before their surplus goes: a scale-down would rather take replacements that are not ready yet.
    actions += [Delete("v1", "Pod", snapshot.key.namespace, pod.name) for pod in late]
    doomed = tuple(pod for pod in doomed if pod not in late)
    for revision, replicas in ((candidate, shares.candidate), (active, shares.active)):
        if revision is None:
            continue
        counts = _counts(snapshot, revision.name, replicas, scale, doomed)
        # Only the wanted revision's template can be made from the spec; others are scaled as they are.
        if revision.name == wanted:
            actions += _revision(snapshot, spec, revision, counts)
            continue
        actions += _scaled(snapshot, revision.name, counts)
        if candidate is None:
            # It goes on serving for as long as it takes: what it lacks (a capacity type that it never had, a
            # Deployment that somebody deleted) is made as the others were, or as today's spec says.
            there = {view.capacity_type for view in snapshot.deployments if view.revision == revision.name}
            missing = {kind: count for kind, count in counts.items() if kind not in there}
            made = spec_for(spec, revision) if missing else None
            actions += _revision(snapshot, made or spec, revision, missing)
    actions += _condemned(snapshot, doomed)
    return tuple(actions)


def _gateway(snapshot: Snapshot) -> tuple[Manifest, ...]:
    owners = keepers(snapshot.owners, snapshot.gateway_owners)
    return gateway(snapshot.key.namespace, owners, snapshot.settings)


def _counts(
    snapshot: Snapshot,
    revision: str,
    replicas: int,
    scale: Wanted,
    doomed: tuple[PodView, ...],
) -> dict[CapacityType, int]:
    """Return a revision's replicas by capacity type, when it is to have `replicas` in all."""
    staying = [
        pod.capacity_type
        for pod in snapshot.pods
        if pod.revision == revision and pod.ready and not pod.terminating and pod.node not in snapshot.doomed_nodes
    ]
    serving = min(len(staying), healthy(snapshot.traffic, revision, frozenset(snapshot.doomed_nodes)))
    ordered = {view.capacity_type: view.replicas for view in snapshot.deployments if view.revision == revision}
    counts = {}
    for kind, total in ((CapacityType.ON_DEMAND, scale.on_demand), (CapacityType.SPOT, scale.spot)):
        target, ready = placement.part(total, replicas, scale.replicas), staying.count(kind)
        kept = placement.made_before_broken(target, ordered.get(kind, 0), ready, surplus=serving - replicas)
        # What stands in on the other capacity type replaces nobody for good.
        counts[kind] = kept + placement.surplus_for_doomed(kind, revision, doomed, replaced=ready >= target)
    return counts


def _revision(
    snapshot: Snapshot, spec: OptimizedModelSpec, revision: RevisionStatus, counts: dict[CapacityType, int]
) -> list[Action]:
    actions: list[Action] = [Apply(manifests.revision_service(snapshot.key, snapshot.uid, revision.name))]
    existing = {view.name for view in snapshot.deployments}
    pools = offers.usable(snapshot.pools, spec)
    for kind, replicas in counts.items():
        if replicas == 0 and manifests.deployment_name(revision.name, kind) not in existing:
            continue
        made = manifests.deployment(
            snapshot.key, snapshot.uid, spec, revision, kind, replicas, pools, snapshot.settings
        )
        actions.append(Apply(made))
    return actions


def _scaled(snapshot: Snapshot, revision: str, counts: dict[CapacityType, int]) -> list[Action]:
    return [
        Scale(snapshot.key.namespace, view.name, counts.get(view.capacity_type, 0))
        for view in snapshot.deployments
        if view.revision == revision and view.replicas != counts.get(view.capacity_type, 0)
    ]


def _condemned(snapshot: Snapshot, doomed: tuple[PodView, ...]) -> list[Action]:
    """Mark doomed pods as the first to leave."""
    cost = {placement.DELETION_COST: placement.DOOMED_COST}
    return [Annotate(snapshot.key.namespace, pod.name, cost) for pod in doomed if not pod.condemned]


def _removed(snapshot: Snapshot, revisions: Iterable[str]) -> tuple[Action, ...]:
    namespace = snapshot.key.namespace
    gone = set(revisions)
    deployments = [
        Delete("apps/v1", "Deployment", namespace, view.name) for view in snapshot.deployments if view.revision in gone
    ]
    services = [Delete("v1", "Service", namespace, revision) for revision in sorted(gone)]
    return (*deployments, *services)


def url(key: Key, template: str, cluster_ip: str | None) -> str | None:
    """Return where requests go, or None while the template needs an address that is not known yet."""
    if "{clusterIP}" in template and not cluster_ip:
        return None
    return template.format(name=key.name, namespace=key.namespace, clusterIP=cluster_ip or "")
