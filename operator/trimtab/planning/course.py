"""A rollout's course: how far the candidate has come, what it may have next, and what ends it. See `rollout`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from trimtab.api.conditions import Reason, moment, timestamp
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.quantities import seconds
from trimtab.api.serving import Canary
from trimtab.api.status import RevisionStatus, RolloutStatus
from trimtab.errors import Stalled
from trimtab.planning import canary as canaries
from trimtab.planning.canary import Move, Window
from trimtab.planning.snapshot import Snapshot

_SUSPENDED = "spec.suspend: true"
_ASLEEP = "asleep: it goes on with the next requests"


@dataclass(frozen=True, slots=True)
class Candidate:
    """The revision that is rolled out, and what there is of it."""

    revision: RevisionStatus
    active: RevisionStatus | None
    admitted: int
    """Replicas that the gateway has admitted."""
    left: int
    """Pods of the active revision that still exist."""
    wanted: int
    """Replicas that the load asks for."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where a rollout is after a look."""

    state: RolloutStatus
    most: int | None = None
    """Replicas that the candidate may have for now; None when it may take over."""
    weight: int | None = None
    """Its share of the traffic while its canary decides it, in percent."""
    least_weight: int = 0
    """Its share at least once the canary has passed."""
    window: Window | None = None
    note: str = ""
    """What it waits for, beside replicas."""
    news: str = ""
    """What this look decided."""
    ended: Stalled | None = None
    """Why it is rolled back."""


def course_of(
    snapshot: Snapshot, spec: OptimizedModelSpec, candidate: Candidate, window: Window | None, *, promoted: bool = False
) -> Course:
    """Return the next position of the rollout that is under way; `promoted` ends its canary."""
    state = _state(snapshot, spec, candidate)
    canary = spec.serving.rollout.canary if candidate.active is not None else None
    if spec.suspend:
        return _paused(snapshot, candidate, state, _SUSPENDED)
    if canary is not None and promoted and state.steps_passed < state.steps:
        return _promoted(snapshot, candidate, canary, state)
    if canary is not None and candidate.wanted == 0:
        return _paused(snapshot, candidate, state, _ASLEEP)
    if canary is None or candidate.active is None:
        return _within_deadline(snapshot, spec, candidate, Course(state), moment(state.progressed_at))
    needed = canaries.replicas_for(canary, state.steps_passed, candidate.wanted)
    move = canaries.moved(
        canary,
        state,
        window,
        snapshot.traffic,
        active=candidate.active.name,
        admitted=needed is not None and candidate.admitted >= needed,
        now=snapshot.now,
    )
    if move.failed:
        message = f"{candidate.revision.called} was rolled back: {move.failed}; {_serving(candidate.active)}"
        return Course(state, ended=Stalled(Reason.CANARY_FAILED, f"{message}; correct the cause and change the spec"))
    state = _after(snapshot.now, state, move)
    most = canaries.replicas_for(canary, move.passed, candidate.wanted)
    course = Course(
        state,
        most=most,
        weight=None if most is None else move.weight,
        least_weight=move.weight,
        window=move.window,
        note=_place(state) if most is not None else "",
        news=f"{candidate.revision.called}: {move.news}" if move.news else "",
    )
    since = canaries.deadline_from(canary, move, moment(state.progressed_at))
    return _within_deadline(snapshot, spec, candidate, course, since)


def _promoted(snapshot: Snapshot, candidate: Candidate, canary: Canary, state: RolloutStatus) -> Course:
    move = canaries.promoted(canary, state)
    return Course(
        _after(snapshot.now, state, move), least_weight=move.weight, news=f"{candidate.revision.called}: {move.news}"
    )


def _state(snapshot: Snapshot, spec: OptimizedModelSpec, candidate: Candidate) -> RolloutStatus:
    """Return what is remembered of the rollout, with the replicas that it has come to since."""
    canary = spec.serving.rollout.canary
    steps = len(canary.steps) if canary is not None and candidate.active is not None else 0
    known = snapshot.status.rollout
    now = timestamp(snapshot.now)
    if known is None or known.revision != candidate.revision.name:
        return RolloutStatus(
            revision=candidate.revision.name,
            steps=steps,
            admitted=candidate.admitted,
            remaining=candidate.left,
            progressed_at=now,
        )
    resumed = known.analysis in {_SUSPENDED, _ASLEEP}
    further = candidate.admitted > known.admitted or candidate.left < known.remaining
    return known.model_copy(
        update={
            "steps": steps,
            "admitted": max(candidate.admitted, known.admitted),
            "remaining": min(candidate.left, known.remaining),
            "progressed_at": now if further or resumed else known.progressed_at,
        }
    )


def _after(now: datetime, state: RolloutStatus, move: Move) -> RolloutStatus:
    """Return the state with a canary's next position; the begin and the end of a step are progress."""
    since = timestamp(move.window.since) if move.window is not None else None
    further = move.passed > state.steps_passed or (since is not None and since != state.since)
    return state.model_copy(
        update={
            "steps_passed": move.passed,
            "weight": move.weight,
            "since": since,
            "analysis": move.waits_for,
            "progressed_at": timestamp(now) if further else state.progressed_at,
        }
    )


def _paused(snapshot: Snapshot, candidate: Candidate, state: RolloutStatus, why: str) -> Course:
    """Return a rollout that stays where it is; a canary's step begins anew when it goes on."""
    ordered = sum(view.replicas for view in snapshot.deployments if view.revision == candidate.revision.name)
    in_canary = state.steps_passed < state.steps
    known = snapshot.status.rollout
    # The time that passes is not written down: `_state` sees that the rollout was paused.
    at = known.progressed_at if known is not None and known.revision == state.revision else state.progressed_at
    state = state.model_copy(update={"since": None, "analysis": why, "progressed_at": at})
    return Course(state, most=ordered, weight=state.weight if in_canary else None, least_weight=state.weight, note=why)


def _within_deadline(
    snapshot: Snapshot, spec: OptimizedModelSpec, candidate: Candidate, course: Course, since: datetime
) -> Course:
    deadline = spec.serving.rollout.progress_deadline
    if snapshot.now - since <= timedelta(seconds=seconds(deadline)):
        return course
    own = (pod.trouble for pod in snapshot.pods if pod.revision == candidate.revision.name and pod.trouble)
    trouble = next(own, course.note or "its replicas are not healthy at the gateway")
    message = (
        f"{candidate.revision.called} came no further within spec.serving.rollout.progressDeadline ({deadline}): "
        f"{trouble}; {_serving(candidate.active)}; correct the cause and change the spec"
    )
    return Course(course.state, ended=Stalled(Reason.PROGRESS_DEADLINE_EXCEEDED, message))


def _place(state: RolloutStatus) -> str:
    return f"canary step {state.steps_passed + 1} of {state.steps} at {state.weight}%: {state.analysis}"


def _serving(active: RevisionStatus | None) -> str:
    return f"{active.called} keeps serving" if active else "nothing serves yet"
