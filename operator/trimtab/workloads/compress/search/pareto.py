"""Which trials are worth having, and which of them is the best: pure."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.api.compression import Objective
from trimtab.workloads.compress.search.trials import Outcome, Trial

NOISE = 0.05
"""Medians that differ by less are the same: among them the smaller file is the better one."""


def value_of(trial: Trial, objective: Objective) -> float:
    """Return what is made least: bytes, or time against candidate 0. Infinite where it was not measured."""
    found = trial.bytes if objective is Objective.SIZE else trial.ratio
    return float("inf") if found is None else float(found)


def is_feasible(trial: Trial, max_ms: float | None = None) -> bool:
    """Whether a trial held the guardrail on all validation samples, with all of its epochs."""
    if trial.outcome is not Outcome.MEASURED or trial.epochs < 1 or trial.excess > 0:
        return False
    return max_ms is None or (trial.latency_ms is not None and trial.latency_ms <= max_ms)


def ranked(trials: Sequence[Trial], objective: Objective, max_ms: float | None = None) -> list[Trial]:
    """Return the feasible trials, best first; those within noise of the best of the rest go by size, then steps."""
    left = [trial for trial in trials if is_feasible(trial, max_ms)]
    order: list[Trial] = []
    noise = 0.0 if objective is Objective.SIZE else NOISE
    while left:
        best = min(value_of(trial, objective) for trial in left)
        alike = [trial for trial in left if value_of(trial, objective) <= best * (1 + noise)]
        chosen = min(alike, key=lambda t: (t.bytes or 0, len(t.recipe), value_of(t, objective), t.key))
        order.append(chosen)
        left.remove(chosen)
    return order


def closest(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Return the compressed trials that missed the guardrail by least."""
    missed = [trial for trial in trials if trial.recipe and trial.drop is not None]
    return sorted(missed, key=lambda trial: (trial.excess, trial.key))[:count]


def front(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other beats in latency, bytes and drop at once, by latency."""
    whole = [trial for trial in trials if trial.outcome is Outcome.MEASURED and trial.epochs >= 1]
    best = [trial for trial in whole if not any(_dominates(_costs(other), _costs(trial)) for other in whole)]
    return sorted(best, key=_costs)


def _costs(trial: Trial) -> tuple[float, float, float]:
    costs = (trial.ratio, trial.bytes, trial.drop)
    first, second, third = (float("inf") if cost is None else float(cost) for cost in costs)
    return first, second, third


def _dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(one <= other for one, other in zip(first, second, strict=True))
