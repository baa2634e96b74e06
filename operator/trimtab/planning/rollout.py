"""Rollouts: how one revision replaces another, replica by replica.

            spec or artifact changed                every replica of the candidate is admitted,
                      │                             none of the active revision is left
    active ───────────┴──► active + candidate ─────────────────────────────► candidate is active
                                  │
                                  └── deadline passed, or its pods cannot start ──► active (Stalled)

A replica of the active revision is let go only after the gateway admitted one of the candidate in its place, so
that requests always find as many healthy replicas as before. A newer candidate replaces one that is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.api.serving import Rollout
from trimtab.api.status import WeightStatus


@dataclass(frozen=True, slots=True)
class Shares:
    """How many replicas each revision should have, and what share of the traffic."""

    active: int
    candidate: int
    done: bool
    """Whether the candidate has taken over."""


def canary_weights(candidate: str, weight: int, active: str, others: Mapping[str, int]) -> tuple[WeightStatus, ...]:
    """Return the traffic split of a canary: the candidate gets `weight` percent, whatever its replicas.

    `others` are the replicas of those that share the rest: the active revision's, and those of a candidate that was
    overtaken, whose place the active one has not taken again yet.
    """
    total = sum(others.values())
    overtaken = {
        name: (100 - weight) * count // total for name, count in others.items() if name != active and count and total
    }
    rest = 100 - weight - sum(overtaken.values())
    split = {active: rest, candidate: weight, **overtaken}
    return tuple(WeightStatus(revision=name, weight=share) for name, share in split.items())


def weights(replicas: Mapping[str, int]) -> tuple[WeightStatus, ...]:
    """Return the traffic split in whole percent: by replicas, so that each gets the same load whatever it runs.

    Every revision with replicas gets at least 1; the sum is 100. A replica that the gateway has not admitted gets
    nothing whatever its revision's weight.
    """
    total = sum(replicas.values())
    if total == 0:
        return tuple(WeightStatus(revision=name, weight=0) for name in replicas)
    split = {name: max(1, round(100 * count / total)) if count else 0 for name, count in replicas.items()}
    largest = max(split, key=lambda name: split[name])
    split[largest] += 100 - sum(split.values())
    return tuple(WeightStatus(revision=name, weight=weight) for name, weight in split.items())


def shares(
    wanted: int, *, healthy: int, floor: int, old_left: int | None, limits: Rollout, most: int | None = None
) -> Shares:
    """Decide the replicas of active revision and candidate.

    Args:
        wanted: Replicas that the load asks for.
        healthy: Replicas of the candidate that the gateway has admitted.
        floor: Replicas that are enough to take over where nothing serves yet.
        old_left: Pods of the active revision that still exist; None when there is no active revision.
        limits: maxSurge and maxUnavailable.
        most: Replicas that the candidate may have for now (a canary's step, a pause); None when it may take over.

    Active and admitted replicas together never fall below `wanted - maxUnavailable`, and all replicas together
    never exceed `wanted + maxSurge` (rounded up to one that can move).
    """
    if old_left is None:
        return Shares(active=0, candidate=wanted, done=healthy >= min(wanted, floor))
    surge, unavailable = limits.max_surge, limits.max_unavailable
    keep = max(0, wanted - unavailable - healthy)
    if most is not None:
        # What the candidate may not have, the active revision keeps.
        most = min(most, wanted)
        keep = max(keep, min(wanted, wanted + surge - most))
        return Shares(active=keep, candidate=min(most, max(healthy, wanted + surge - keep)), done=False)
    new = min(wanted, max(healthy, wanted + surge - keep))
    # However many may be missing, one has to show that the candidate works: there is no way back from taking over.
    enough = healthy >= max(wanted - unavailable, min(wanted, 1))
    return Shares(active=keep, candidate=new, done=keep == 0 and old_left == 0 and enough)
