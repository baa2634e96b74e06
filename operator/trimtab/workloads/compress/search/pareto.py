"""Which trials are worth having, and which of them is the best: pure."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.api.compression import Objective
from trimtab.workloads.compress.search.trials import Outcome, Trial

LOADED_AGAIN = 0.02
"""Two loads of one file differ by so much in their median latency, whatever the interval of each says."""
_SAME_SIZE = 0.02


def value_of(trial: Trial, objective: Objective) -> float:
    """Return what is made least: bytes, or time against candidate 0. Infinite where it was not measured."""
    found = trial.bytes if objective is Objective.SIZE else trial.ratio
    return float("inf") if found is None else float(found)


def is_feasible(trial: Trial, max_ms: float | None = None) -> bool:
    """Whether a trial held the guardrail on all validation samples."""
    if trial.outcome is not Outcome.MEASURED or trial.excess > 0:
        return False
    return max_ms is None or (trial.latency_ms is not None and trial.latency_ms <= max_ms)


def ranked(trials: Sequence[Trial], objective: Objective, max_ms: float | None = None) -> list[Trial]:
    """Return the feasible trials, best first.

    Those that cannot be told from the best of the rest go by size, and those of one size by how little they lose.
    """
    left = [trial for trial in trials if is_feasible(trial, max_ms)]
    order: list[Trial] = []
    while left:
        best = min(left, key=lambda trial: value_of(trial, objective))
        alike = [trial for trial in left if _is_alike(trial, best, objective)]
        least = min(trial.bytes or 0 for trial in alike)
        small = [trial for trial in alike if (trial.bytes or 0) <= least * (1 + _SAME_SIZE)]
        chosen = min(small, key=lambda t: (t.excess, len(t.recipe), value_of(t, objective), t.key))
        order.append(chosen)
        left.remove(chosen)
    return order


def _is_alike(trial: Trial, best: Trial, objective: Objective) -> bool:
    """Whether a trial may be as good as the best: bytes have no noise, the intervals of latencies overlap."""
    value, least = value_of(trial, objective), value_of(best, objective)
    if objective is Objective.SIZE:
        return value <= least
    low = trial.ratio_low if trial.ratio_low is not None else value
    high = best.ratio_high if best.ratio_high is not None else least
    return value <= least * (1 + LOADED_AGAIN) or low <= high


def closest(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Return the compressed trials that missed the guardrail by least."""
    missed = [trial for trial in trials if trial.recipe and trial.drop is not None]
    return sorted(missed, key=lambda trial: (trial.excess, trial.key))[:count]


def front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats in latency, bytes and drop at once, by latency."""
    whole = [trial for trial in trials if trial.outcome is Outcome.MEASURED]
    best = [trial for trial in whole if not any(_dominates(_costs(other), _costs(trial)) for other in whole)]
    return sorted(best, key=_costs)


def _costs(trial: Trial) -> tuple[float, float, float]:
    costs = (trial.ratio, trial.bytes, trial.drop)
    first, second, third = (float("inf") if cost is None else float(cost) for cost in costs)
    return first, second, third


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(one <= other for one, other in zip(first, second, strict=True))
