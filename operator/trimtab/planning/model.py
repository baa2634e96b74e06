"""The plan for one model: target, scale, serving, status, put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from trimtab.api.conditions import Reason, timestamp
from trimtab.api.guardrail import Verdict
from trimtab.api.quantities import counted
from trimtab.api.status import CostStatus, OptimizedModelStatus, RevisionStatus
from trimtab.errors import NotYet, Stalled
from trimtab.planning import resting
from trimtab.planning.canary import Window
from trimtab.planning.costing import costed, rate_of
from trimtab.planning.decisions import Decided, decisions, unsaid
from trimtab.planning.overrides import Direction, direction
from trimtab.planning.plan import Action, Announce, Plan
from trimtab.planning.scaling import ScalingState, Wanted, scale
from trimtab.planning.serving import Serving, serve
from trimtab.planning.snapshot import Snapshot
from trimtab.planning.status import status_of
from trimtab.planning.target import Target, target

# The autoscaler looks at the gateway this often: a sixth of the panic window, so that no burst hides in between.
_SCALING_SECONDS = 1.0
_STALLED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What the operator remembers of a model between two looks; losing it costs a hold, never a wrong step."""

    scaling: ScalingState = field(default_factory=ScalingState)
    wanted: Wanted | None = None
    window: Window | None = None
    """What was counted when a canary's step began."""
    told: frozenset[str] = frozenset()
    """Events of capacity that were explained."""
    refused: str | None = None
    """What the API server said when the last plan was carried out, if it refused a part of it."""
    rested: bool = False
    """Whether it was left alone since: what was seen last went on until now."""

    def kept(self) -> Memory:
        """Return what is remembered until the next look, which reads the spec anew."""
        return replace(self, scaling=replace(self.scaling, terms=None))

    def at_rest(self) -> Memory:
        """Return what is remembered of a model that is left alone from now on."""
        return replace(self, scaling=resting.settled(self.scaling), rested=True)


def plan(snapshot: Snapshot, memory: Memory) -> tuple[Plan, Memory]:
    """Decide everything about one model."""
    aim = _admonished(target(snapshot), memory.refused)
    if snapshot.spec is None:  # nothing can be said about serving: what runs stays as it is
        status = status_of(snapshot, aim, None, None, snapshot.status.cost, ())
        actions = (*aim.actions, *_announcements(snapshot, aim, None))
        return Plan(snapshot.key, actions, status.wire(), _STALLED_SECONDS), memory
    ordered = snapshot.status.replicas.desired if snapshot.status.replicas else 0
    floor = max(ordered, snapshot.spec.serving.min_replicas)
    ahead = direction(snapshot, snapshot.spec, aim.revision)
    before = resting.caught_up(memory.scaling, snapshot.timestamp) if memory.rested else memory.scaling
    wanted, scaling = scale(snapshot, ahead.spec, before, floor)
    serving = _admonished(serve(snapshot, ahead, wanted, memory.window), memory.refused)
    idle = serving.active is None and serving.candidate is None
    news = decisions(snapshot, memory.wanted, wanted, serving, memory.told, scaling.split.zones)
    decided = () if idle else unsaid(tuple(news), snapshot.status.decisions)
    entries = [one.entry for one in decided]

    def made(cost: CostStatus | None) -> OptimizedModelStatus:
        return status_of(snapshot, aim, serving, wanted, cost, entries)

    status = costed(snapshot.status.cost, rate_of(snapshot, snapshot.spec), snapshot.now, made, snapshot.status)
    # Told first: what comes after may be refused.
    told_now = (*_announcements(snapshot, aim, serving), *_unheeded(ahead), *_events(decided))
    actions = (*told_now, *aim.actions, *serving.actions)
    # Nothing is remembered of a time without replicas: nodes that nobody ordered cannot be late.
    told = frozenset(event.id for event in snapshot.events)
    after = Memory() if idle else Memory(scaling=scaling, wanted=wanted, window=serving.window, told=told)
    rests = resting.rests(snapshot, ahead.spec, aim, serving, wanted, scaling)
    rest_seconds = resting.rest_seconds(snapshot) if rests else None
    return Plan(snapshot.key, actions, status.wire(), _requeue(aim, idle=idle), rest_seconds), after


_Part = TypeVar("_Part", Target, Serving)


def _admonished(part: _Part, refused: str | None) -> _Part:
    """Return the part of a plan with the API server's refusal as its problem, unless it has a worse one."""
    if refused is None or isinstance(part.problem, Stalled):
        return part
    return replace(part, problem=NotYet(Reason.API_REFUSED, refused))


def _requeue(aim: Target, *, idle: bool) -> float | None:
    if idle and isinstance(aim.problem, Stalled):
        return _STALLED_SECONDS
    return _SCALING_SECONDS


def _events(decided: tuple[Decided, ...]) -> Iterator[Action]:
    for one in decided:
        if one.event is not None:
            dedupe = f"{one.entry.time} {one.entry.message}"
            kind: Literal["Normal", "Warning"] = "Normal" if one.event == Reason.SCALED else "Warning"
            yield Announce(one.event, one.entry.message, dedupe=dedupe, type=kind)


def _unheeded(ahead: Direction) -> Iterator[Action]:
    for text in ahead.ignored:
        yield Announce(Reason.ANNOTATION_IGNORED, text, dedupe=text, type="Warning")


def _is_rolled_out(snapshot: Snapshot, revision: RevisionStatus) -> bool:
    """Whether a revision was active at the last look already: then its verdict was told, also by another operator."""
    active = snapshot.status.active_revision
    return active is not None and active.name == revision.name


def _announcements(snapshot: Snapshot, aim: Target, serving: Serving | None) -> Iterator[Action]:
    """Yield the events that a user would want: problems, verdicts, rollouts, interruptions."""
    problem = aim.problem or (serving.problem if serving else None)
    if isinstance(problem, Stalled) or (problem is not None and problem.reason == Reason.API_REFUSED):
        dedupe = f"{snapshot.generation} {problem.message}"
        yield Announce(problem.reason, problem.message, dedupe=dedupe, type="Warning")
    if aim.revision is not None and aim.revision.guardrail is not None and not _is_rolled_out(snapshot, aim.revision):
        verdict = aim.revision.guardrail
        if verdict.verdict is Verdict.PASSED:
            yield Announce(Reason.GUARDRAIL_PASSED, verdict.message, dedupe=aim.revision.run_name)
        elif aim.revision.original:
            message = f"{verdict.message}; the original is served instead (spec.guardrail.onFail)"
            yield Announce(Reason.SERVING_ORIGINAL, message, dedupe=aim.revision.run_name, type="Warning")
        else:  # served all the same, because the mode says so
            yield Announce(Reason.GUARDRAIL_REPORTED, verdict.message, dedupe=aim.revision.run_name, type="Warning")
    was = snapshot.status.active_revision
    if serving is not None and serving.active is not None and (was is None or was.name != serving.active.name):
        message = f"{serving.active.called} serves all traffic"
        yield Announce(Reason.ROLLED_OUT, message, dedupe=f"{serving.active.name} {serving.active.since}")
    if serving is not None and serving.news:
        yield Announce(Reason.CANARY_STEP, serving.news, dedupe=f"{snapshot.generation} {serving.news}")
    for node, until in snapshot.leaving_nodes.items():
        hit = [pod.name for pod in snapshot.pods if pod.node == node and not pod.terminating]
        if hit:
            seconds = max(0.0, (until - snapshot.now).total_seconds())
            message = f"node {node} goes away in {seconds:.0f} s; replacing {counted(len(hit), 'replica')} elsewhere"
            yield Announce(Reason.SPOT_INTERRUPTED, message, dedupe=f"{node} {timestamp(until)}", type="Warning")
