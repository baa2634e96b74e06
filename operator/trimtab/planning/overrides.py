"""What is rolled out, once a person has been heard: the revision that the spec asks for, or another one instead.

spec ──► wanted revision ──┬── not named by trimtab.dev/rollback ──► the wanted revision
                           │       its canary: in steps, or skipped where trimtab.dev/promote names it
                           └── named: rolled back ──► the revision before, for as long as the spec asks for this one
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from trimtab.api.conditions import Reason, timestamp
from trimtab.api.guardrail import GuardrailMode, Metric, Verdict
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.overrides import PROMOTE, ROLLBACK, ROLLBACK_TO
from trimtab.api.quantities import drop_limit, fraction, seconds
from trimtab.api.status import OptimizedModelStatus, RevisionStatus, RollbackStatus
from trimtab.errors import Stalled
from trimtab.planning.manifests.template import spec_for
from trimtab.planning.snapshot import Snapshot

_COUNTED = {Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.EXACT_MATCH}
"""Their drop is judged in points, also where maxDrop is relative."""
_ROUNDING = 5e-7  # a status has six digits


@dataclass(frozen=True, slots=True)
class Direction:
    """Where a rollout is to go."""

    revision: RevisionStatus | None
    """What is to serve; None where what serves goes on."""
    spec: OptimizedModelSpec
    """How: today's spec, with what the pods of a revision from before were made from."""
    promoted: bool = False
    """Whether the rest of its canary is skipped."""
    rollback: RollbackStatus | None = None
    """Whose place it takes, where a person decided so."""
    ignored: tuple[str, ...] = ()
    """Why annotations are not followed, with a remedy each."""


def direction(snapshot: Snapshot, spec: OptimizedModelSpec, wanted: RevisionStatus | None) -> Direction:
    """Decide where to go. `wanted` is what the spec asks for, None while that is not known."""
    told = snapshot.overrides
    if told.promote is None and told.rollback is None and told.rollback_to is None:
        return Direction(wanted, spec)
    ignored = tuple(_unknown(snapshot, wanted))
    promoted = wanted is not None and told.promote == wanted.name and told.generation in {None, snapshot.generation}
    ahead = Direction(wanted, spec, promoted=promoted, ignored=ignored)
    if told.rollback is None or not _holds(snapshot, wanted):
        return ahead
    try:
        there = {pool.name for pool in snapshot.pools}
        to = target_of(snapshot.status, spec, told.rollback, told.rollback_to, there)
    except Stalled as refused:
        text = f"{ROLLBACK}: {told.rollback}: {refused.message}"
        return Direction(wanted, spec, promoted=promoted, ignored=(*ignored, text))
    return _back(snapshot, spec, wanted, to, ignored)


def _back(
    snapshot: Snapshot,
    spec: OptimizedModelSpec,
    wanted: RevisionStatus | None,
    to: RevisionStatus,
    ignored: tuple[str, ...],
) -> Direction:
    named = str(snapshot.overrides.rollback)
    known = snapshot.status.rollback
    begun = known is not None and known.revision == named
    asked = wanted.name if wanted is not None else known.asked if known is not None and begun else None
    since = known.since if known is not None and begun and known.to == to.name else timestamp(snapshot.now)
    record = RollbackStatus(revision=named, to=to.name, asked=asked, reason=snapshot.overrides.why, since=since)
    made = spec_for(spec, to)
    active = snapshot.status.active_revision
    if active is not None and active.name == to.name:
        # Its pods are there; they are scaled and not made anew.
        return Direction(None, made or spec, rollback=record, ignored=ignored)
    rollout = (made or spec).serving.rollout.model_copy(update={"canary": None})
    serving = (made or spec).serving.model_copy(update={"rollout": rollout})
    return Direction(to, (made or spec).model_copy(update={"serving": serving}), rollback=record, ignored=ignored)


def _holds(snapshot: Snapshot, wanted: RevisionStatus | None) -> bool:
    """Whether the revision that is not to serve is the one of now: what the spec asks for, or else what serves."""
    named, status = snapshot.overrides.rollback, snapshot.status
    asked = wanted.name if wanted is not None else None
    known = status.rollback
    if known is not None and known.revision == named:
        return asked is None or asked in {named, known.asked}
    if named == asked:
        return True
    # While a newer revision is on its way, that is the one of now.
    return (
        status.candidate_revision is None
        and status.active_revision is not None
        and status.active_revision.name == named
    )


def target_of(
    status: OptimizedModelStatus,
    spec: OptimizedModelSpec,
    named: str,
    to: str | None = None,
    pools: Collection[str] | None = None,
) -> RevisionStatus:
    """Return the revision that serves instead of the one named: `to`, else the one that serves or served before.

    `pools` are the names of those that there are; None where the caller does not know.

    Raises:
        Stalled: There is none that may; says why, and which there are.
    """
    active = status.active_revision
    known = [revision for revision in (active, *status.revisions) if revision is not None and revision.name != named]
    if to is None and status.rollback is not None and status.rollback.revision == named:
        to = status.rollback.to
    if to is not None:
        found = next((revision for revision in known if revision.name == to), None)
        if found is None:
            there = ", ".join(revision.name for revision in known) or "none"
            what = "is the revision to leave" if to == named else "never served, or is forgotten"
            raise _refused(f"{ROLLBACK_TO}: {to} {what}; name one of: {there}")
        if why := _unfit(status, spec, found, pools):
            raise _refused(f"{ROLLBACK_TO}: {to} {why}; name another one, or apply the spec that asked for it")
        return found
    reasons = []
    for revision in known:
        if not (why := _unfit(status, spec, revision, pools)):
            return revision
        reasons.append(f"{revision.name} {why}")
    if reasons:
        raise _refused(f"nothing to go back to: {'; '.join(reasons)}; apply the spec that asked for one of them")
    raise _refused("nothing to go back to: no other revision has served; change the spec instead")


def _unfit(
    status: OptimizedModelStatus,
    spec: OptimizedModelSpec,
    revision: RevisionStatus,
    pools: Collection[str] | None,
) -> str:
    """Return why a revision from before may not serve again; empty when it may."""
    if not proven(spec, revision):
        said = revision.guardrail.verdict.value if revision.guardrail else "none"
        return f"is not proven as spec.guardrail asks (verdict: {said})"
    active = status.active_revision
    if active is not None and active.name == revision.name:
        return ""
    if broken := broken_promise(spec, revision):
        return f"was proven for less than spec.guardrail asks by now ({broken})"
    made = spec_for(spec, revision)
    if made is None:
        return "cannot be served as it was: its pods' template is not in the status, or does not go with today's spec"
    if gone := sorted(set(made.capacity.pools) - set(made.capacity.pools if pools is None else pools)):
        return f"ran on pools that are gone ({', '.join(gone)}: create them again to go back to it)"
    return ""


def proven(spec: OptimizedModelSpec, revision: RevisionStatus) -> bool:
    """Whether a revision may serve under today's guardrail."""
    if revision.original or spec.guardrail.mode is not GuardrailMode.ENFORCE:
        return True
    return revision.guardrail is not None and revision.guardrail.verdict is Verdict.PASSED


def broken_promise(spec: OptimizedModelSpec, revision: RevisionStatus) -> str:
    """Return what a revision that passed its own guardrail lacks for today's; empty when nothing.

    The bound of its drop is compared in the unit that it was judged in: of F1 and AUROC, 1% and 1pp are taken as equal.
    """
    told, asked = revision.guardrail, spec.guardrail
    if told is None or revision.original or asked.mode is not GuardrailMode.ENFORCE:
        return ""
    if told.metric is not asked.metric:
        return f"metric {told.metric}, asked for {asked.metric}"
    limit = drop_limit(asked.max_drop)
    allowed = limit.absolute(float(told.baseline)) if told.metric in _COUNTED else limit.value
    if float(told.upper) > allowed + _ROUNDING:
        return f"its drop may be {100 * float(told.upper):.2f}, maxDrop {asked.max_drop}"
    if fraction(told.confidence) < fraction(asked.confidence):
        return f"confidence {told.confidence}, asked for {asked.confidence}"
    if told.samples < asked.min_samples:
        return f"{told.samples:,} samples, asked for {asked.min_samples:,}"
    slow = asked.max_latency is not None and float(revision.latency_ms or "inf") > 1000 * seconds(asked.max_latency)
    return f"latency {revision.latency_ms} ms, maxLatency {asked.max_latency}" if slow else ""


def _refused(message: str) -> Stalled:
    return Stalled(Reason.ANNOTATION_IGNORED, message)


def _unknown(snapshot: Snapshot, wanted: RevisionStatus | None) -> Iterator[str]:
    """Yield why annotations are not followed that name what there is not; those of the past are no mistake."""
    told, status = snapshot.overrides, snapshot.status
    revisions = (wanted, status.candidate_revision, status.active_revision, *status.revisions)
    names = list(dict.fromkeys(revision.name for revision in revisions if revision is not None))
    if status.rollback is not None:
        names += [status.rollback.revision, *([status.rollback.asked] if status.rollback.asked else [])]
    there = ", ".join(dict.fromkeys(names)) or "none yet"
    for annotation, name in ((PROMOTE, told.promote), (ROLLBACK, told.rollback)):
        if name is not None and name not in names:
            remedy = f"kubectl annotate optimizedmodel {snapshot.key.name} -n {snapshot.key.namespace} {annotation}-"
            yield f"{annotation}: no revision {name}; there are: {there}; name one of them, or take it away: {remedy}"
    if told.rollback_to is not None and told.rollback is None:
        yield f"{ROLLBACK_TO}: {told.rollback_to}: without {ROLLBACK} it says nothing; name there what is not to serve"


def said(rollback: RollbackStatus, model: str) -> str:
    """Return in a sentence that a revision does not serve, who decided it, why, and what ends it."""
    why = f": {rollback.reason}" if rollback.reason else ""
    return (
        f"revision {rollback.revision} was rolled back by a person ({ROLLBACK}{why}); revision {rollback.to} serves "
        f"instead; change the spec so that it asks for another revision, or try this one again with `trimtab rollback "
        f"{model} --undo`"
    )
