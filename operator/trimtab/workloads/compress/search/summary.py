"""What a search tells: its trials, the front, what was chosen and why, and the recipe to paste back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import yaml

from trimtab.api.compression import Search, Strategy
from trimtab.api.quantities import fraction
from trimtab.api.status import GuardrailStatus
from trimtab.workloads.compress.search.pareto import closest, front
from trimtab.workloads.compress.search.trials import Trial

RECIPE = "recipe.yaml"
LOOKS = 3
"""Candidates at most that are judged on the guardrail's samples; the last is candidate 0."""
_CLOSEST = 3


@dataclass(frozen=True, slots=True)
class Look:
    """One candidate judged on the guardrail's samples."""

    title: str
    verdict: str
    message: str


def looks_for(order: Sequence[Trial], samples: int, widened: float = 1.0) -> list[Trial]:
    """Return the trials to judge in turn until one passes, on so many samples: two compressed ones, and candidate 0.

    First the best of those that are expected to be proven there, then the best of those with more room; where none is
    expected to be, those that are closest to it. `widened` is as `Trial.margin` takes it.
    """
    zero = [trial for trial in order if not trial.recipe]
    better = order[: order.index(zero[0])] if zero else list(order)
    if not better:
        return zero[:1]
    hopeful = [trial for trial in better if trial.margin(samples, widened) >= 0]
    if not hopeful:
        hopeful = sorted(better, key=lambda trial: -trial.margin(samples, widened))
    first = hopeful[0]
    room = first.margin(samples, widened)
    safer = [trial for trial in hopeful if trial.margin(samples, widened) > room]
    others = [trial for trial in (*safer, *hopeful) if trial is not first]
    return [first, *others[: LOOKS - 2], *zero]


def widening(confidence: str) -> float:
    """Return by how much the correction for every look widens an interval."""
    plain, strict = (
        NormalDist().inv_cdf((1 + fraction(one)) / 2) for one in (confidence, corrected(confidence, LOOKS))
    )
    return strict / plain


def corrected(confidence: str, looks: int) -> str:
    """Return the confidence of each of several looks that keeps the chance of any wrong pass (Bonferroni)."""
    share = 1 - (1 - fraction(confidence)) / looks
    return f"{min(share * 100 + (0.00005 if looks > 1 else 0), 99.9999):.4f}".rstrip("0").rstrip(".") + "%"


def told(status: GuardrailStatus, number: int, looks: int, confidence: str) -> GuardrailStatus:
    """Return a verdict that says how many looks the confidence was corrected for."""
    if looks == 1:
        return status
    sentence = (
        f"candidate {number} of at most {looks} that are judged on these samples, so each at {status.confidence} "
        f"confidence to keep {confidence} for all (Bonferroni)"
    )
    return status.model_copy(update={"message": f"{status.message}; {sentence}"})


def nothing_held(trials: Sequence[Trial]) -> str:
    """Return which recipes came closest when none held the guardrail on the validation samples."""
    near = [
        f"{trial.title}: fell {_points(trial.drop)}, limit {_points(trial.limit)}"
        for trial in closest(trials, _CLOSEST)
    ]
    failed = [trial for trial in trials if trial.message and trial.drop is None]
    why = f"; {failed[0].title}: {failed[0].message}" if failed else ""
    return (
        "no recipe was better than the original in this engine within the guardrail, on validation samples; closest: "
        f"{'; '.join(near) or 'none could be measured'}{why}"
    )


def recipe_yaml(steps: list[dict[str, Any]]) -> str:
    """Return what can be pasted as spec.compression.steps."""
    if not steps:
        return "[]  # no steps: write preset: None instead\n"
    return str(yaml.safe_dump(steps, sort_keys=False, allow_unicode=True))


def document(
    search: Search, trials: Sequence[Trial], order: Sequence[Trial], chosen: Trial, looks: Sequence[Look]
) -> dict[str, Any]:
    """Return the search's part of the report, plain JSON; `order` are the feasible trials.

    `front` and `chosen` are indices of `trials`.
    """
    feasible = {trial.key for trial in order}
    return {
        "objective": search.objective.value,
        "strategy": (search.strategy or Strategy.BAYESIAN).value,
        "seconds": round(sum(trial.seconds for trial in trials), 1),
        "trials": [_wire(trial, trial.key in feasible) for trial in trials],
        "front": [trials.index(trial) for trial in front(trials)],
        "chosen": trials.index(chosen),
        "looks": [{"title": look.title, "verdict": look.verdict, "message": look.message} for look in looks],
        "steps": recipe_yaml(chosen.recipe),
    }


def _wire(trial: Trial, feasible: bool) -> dict[str, Any]:
    names = {"latency_ms": "latencyMs", "ratio_low": "ratioLow", "ratio_high": "ratioHigh"}
    facts = {names.get(name, name): value for name, value in trial.wire().items() if name != "key"}
    return {"title": trial.title, "feasible": feasible} | facts


def _points(share: float | None) -> str:
    return "unknown" if share is None else f"{share * 100:.2g}pp"
