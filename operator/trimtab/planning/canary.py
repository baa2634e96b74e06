"""A canary: the steps in which traffic moves to a candidate, each of them judged before the next one begins.

replicas for step n ──► traffic at its weight, measured ──► held long enough and passed ──► step n + 1
                                  │                                                         (after the last: all)
                                  ├── inconclusive: the step goes on
                                  └── worse than the active revision ──► rolled back
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil

from trimtab.api.conditions import timestamp
from trimtab.api.gateway import ModelStats, RevisionStats
from trimtab.api.guardrail import Verdict
from trimtab.api.overrides import PROMOTE
from trimtab.api.quantities import fraction, seconds
from trimtab.api.serving import Canary, CanaryStep
from trimtab.api.status import RolloutStatus
from trimtab.planning import analysis
from trimtab.planning.analysis import Tally

# A new replica's first answers are slow: connections are made, caches are cold, and the processor that has just
# started it is not done with that. The active revision's had theirs before.
_WARM_UP = timedelta(seconds=3)
# What slows down one replica and not the others, a stall or a collection of garbage, is over sooner than four parts.
_PART = timedelta(seconds=2)
_PART_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Window:
    """What the gateway had counted when a step's traffic began.

    It is the operator's own memory: one that starts anew begins the step anew, which costs a hold and no wrong step.
    """

    candidate: str
    passed: int
    since: datetime
    counted: Mapping[str, RevisionStats]
    """By revision."""
    part_since: datetime
    part_counted: Mapping[str, RevisionStats]
    """As `counted`, when the part of the step began that is not over yet."""
    tally: Tally = field(default_factory=Tally)
    """What the parts before came to."""

    @property
    def warms_up(self) -> bool:
        """Whether the first part, in which answers' times do not count, goes on."""
        return self.part_since == self.since


@dataclass(frozen=True, slots=True)
class Move:
    """Where a canary is after a look."""

    passed: int
    weight: int
    """The candidate's share of the traffic, in percent."""
    window: Window | None = None
    waits_for: str = ""
    """What keeps the step from ending."""
    news: str = ""
    """What this look decided."""
    failed: str = ""
    """Why the candidate is rolled back."""


def weight_of(canary: Canary, passed: int) -> int:
    """Return the weight of the last step passed, 0 before the first."""
    return percent(canary.steps[min(passed, len(canary.steps)) - 1]) if passed else 0


def percent(step: CanaryStep) -> int:
    return round(100 * fraction(step.weight))


def replicas_for(canary: Canary, passed: int, wanted: int) -> int | None:
    """Return the candidate's replicas in the step after `passed` ones: its share of all; None after the last step."""
    if passed >= len(canary.steps):
        return None
    return max(1, ceil(wanted * percent(canary.steps[passed]) / 100))


def moved(
    canary: Canary,
    state: RolloutStatus,
    window: Window | None,
    traffic: ModelStats | None,
    *,
    active: str,
    admitted: bool,
    now: datetime,
) -> Move:
    """Return the canary's next position.

    Args:
        canary: Its steps.
        state: Where it was.
        window: What was counted when the step's traffic began, if that is remembered.
        traffic: What the gateway reports; None when it is silent.
        active: The revision that the candidate is compared with.
        admitted: Whether the gateway has the replicas that the step needs.
        now: The time.
    """
    passed = min(state.steps_passed, len(canary.steps))
    if passed == len(canary.steps):
        return Move(passed, state.weight)
    weight = max(weight_of(canary, passed), state.weight)
    step = canary.steps[passed]
    if window is not None and (window.candidate, window.passed) != (state.revision, passed):
        window = None
    if traffic is None:
        return Move(passed, weight, window, waits_for="the gateway gives no figures")
    names = (state.revision, active)
    counts = {name: traffic.revisions.get(name, RevisionStats()) for name in names}
    if window is None:
        if not admitted:
            return Move(passed, weight, waits_for="its replicas start")
        return Move(passed, percent(step), Window(state.revision, passed, now, counts, now, counts), _until(step, now))
    candidate, stable = (analysis.difference(counts[name], window.counted[name]) for name in names)
    own, other = (analysis.difference(counts[name], window.part_counted[name]) for name in names)
    if candidate is None or stable is None or own is None or other is None:  # a gateway started anew
        return Move(passed, weight, waits_for="the gateway counts anew")
    if _is_part(window, own, canary.min_samples, now):
        if window.warms_up:
            own = own.model_copy(update={"latencies": {}})
        tally = analysis.added(window.tally, step, own, other, stable)
        window = replace(window, part_since=now, part_counted=counts, tally=tally)
    finding = analysis.judge(step, candidate, stable, window.tally, canary.min_samples)
    place = f"canary step {passed + 1} of {len(canary.steps)} ({step.weight})"
    if finding.verdict is Verdict.FAILED:
        return Move(passed, weight, failed=f"{place}: {finding.why}: {finding.figures}")
    if now < _end(step, window.since):
        return Move(passed, weight, window, _until(step, window.since))
    if finding.verdict is Verdict.INCONCLUSIVE:
        return Move(passed, weight, window, f"inconclusive: {finding.why}")
    return Move(passed + 1, weight, news=f"{place} passed: {finding.figures}")


def _is_part(window: Window, own: RevisionStats, min_samples: int, now: datetime) -> bool:
    """Whether what came since the last part is one that ends now; `own` is what came to the candidate."""
    if window.warms_up:
        return now >= window.since + _WARM_UP
    return now >= window.part_since + _PART and own.requests >= min(_PART_REQUESTS, min_samples)


def promoted(canary: Canary, state: RolloutStatus) -> Move:
    """Return the canary's end, where a person wants no more of it; the share of the traffic only grows from there."""
    total = len(canary.steps)
    skipped = f"step {total}" if state.steps_passed + 1 == total else f"steps {state.steps_passed + 1} to {total}"
    return Move(total, state.weight, news=f"promoted: canary {skipped} of {total} skipped ({PROMOTE})")


def _end(step: CanaryStep, since: datetime) -> datetime:
    return since + max(_WARM_UP + _PART, timedelta(seconds=seconds(step.hold) if step.hold else 0))


def deadline_from(canary: Canary, move: Move, progressed_at: datetime) -> datetime:
    """Return from when on the rollout counts as standing still: a hold is no standstill."""
    if move.window is None:
        return progressed_at
    return max(progressed_at, _end(canary.steps[move.passed], move.window.since))


def _until(step: CanaryStep, since: datetime) -> str:
    return f"holds until {timestamp(_end(step, since))}"
