"""A canary: the steps in which traffic moves to a candidate, each of them judged before the next one begins.

replicas for step n ──► traffic at its weight, measured ──► held long enough and passed ──► step n + 1
                                  │                                                         (after the last: all)
                                  ├── inconclusive: the step goes on
                                  └── worse than the active revision ──► rolled back
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Window:
    """What the gateway had counted when a step's traffic began.

    It is the operator's own memory: one that starts anew begins the step anew, which costs a hold and no wrong step.
    """

    candidate: str
    passed: int
    since: datetime
    counted: Mapping[str, RevisionStats]


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
    if window is None:
        if not admitted:
            return Move(passed, weight, waits_for="its replicas start")
        counted = {name: traffic.revisions.get(name, RevisionStats()) for name in names}
        return Move(passed, percent(step), Window(state.revision, passed, now, counted), _until(step, now))
    found = [analysis.difference(traffic.revisions.get(name, RevisionStats()), window.counted[name]) for name in names]
    candidate, stable = found
    if candidate is None or stable is None:  # a gateway started anew
        return Move(passed, weight, waits_for="the gateway counts anew")
    finding = analysis.judge(step, candidate, stable, canary.min_samples)
    place = f"canary step {passed + 1} of {len(canary.steps)} ({step.weight})"
    if finding.verdict is Verdict.FAILED:
        return Move(passed, weight, failed=f"{place}: {finding.why}: {finding.figures}")
    if now < _end(step, window.since):
        return Move(passed, weight, window, _until(step, window.since))
    if finding.verdict is Verdict.INCONCLUSIVE:
        return Move(passed, weight, window, f"inconclusive: {finding.why}")
    return Move(passed + 1, weight, news=f"{place} passed: {finding.figures}")


def promoted(canary: Canary, state: RolloutStatus) -> Move:
    """Return the canary's end, where a person wants no more of it; the share of the traffic only grows from there."""
    total = len(canary.steps)
    skipped = f"step {total}" if state.steps_passed + 1 == total else f"steps {state.steps_passed + 1} to {total}"
    return Move(total, state.weight, news=f"promoted: canary {skipped} of {total} skipped ({PROMOTE})")


def _end(step: CanaryStep, since: datetime) -> datetime:
    return since + timedelta(seconds=seconds(step.hold) if step.hold else 0)


def deadline_from(canary: Canary, move: Move, progressed_at: datetime) -> datetime:
    """Return from when on the rollout counts as standing still: a hold is no standstill."""
    if move.window is None:
        return progressed_at
    return max(progressed_at, _end(canary.steps[move.passed], move.window.since))


def _until(step: CanaryStep, since: datetime) -> str:
    return f"holds until {timestamp(_end(step, since))}"
