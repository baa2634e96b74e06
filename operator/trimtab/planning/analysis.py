"""A canary's analysis: whether a revision does worse than the one that it is to replace, under the same traffic.

Both are compared part by part of a step's time, so that what ails everybody (a bad client, a busy machine) is not held
against the candidate. A quantile is judged as a share: the p95 is above a limit when more than 5 % of the answers are.
A verdict against the candidate is one that counts prove, at whichever look (`evidence`). Answers that stand in line
behind each other are slow together, and no count tells them from as many that are slow by themselves: so a p95 has to
be too high in several parts, one after the other, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trimtab.api.gateway import BUCKETS, RevisionStats, bucket_bound_ms
from trimtab.api.guardrail import Verdict
from trimtab.api.quantities import fraction, seconds
from trimtab.api.serving import CanaryStep
from trimtab.planning.evidence import Excess

_SLOW = 0.05
_SLOWER = 1.5
_LEAST_MS = 5.0  # a thread waits for a busy core as long as that: several times a fast model's p95
_COMPARED = f"{_SLOWER:g} times the active revision's (at least {_LEAST_MS:g} ms more)"
_LASTING = 4
"""Parts, one after the other, in each of which the p95 has to be too high."""
_FOR_A_QUANTILE = 19
"""Of so many answers and another one, one in twenty is the largest: fewer have no p95."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a candidate: `why` is a stable sentence, `figures` those that it rests on."""

    verdict: Verdict
    why: str
    figures: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What the parts of a step come to."""

    failures: Excess = field(default_factory=Excess)
    slow: Excess = field(default_factory=Excess)
    """Answers above the step's limit, or that the active revision sets in each part."""
    slow_parts: int = 0
    """The latest parts, one after the other, in which the candidate's p95 was above the limit."""


def added(
    tally: Tally, step: CanaryStep, candidate: RevisionStats, stable: RevisionStats, whole: RevisionStats
) -> Tally:
    """Return the tally with another part of the step.

    Args:
        tally: That of the parts before.
        step: Its limits.
        candidate: What became of the candidate's requests in this part; without latencies while it warms up.
        stable: What became of the active revision's.
        whole: The active revision's in all of the step, for parts in which it answered too little for a p95.
    """
    failures = tally.failures.plus(candidate.errors, candidate.requests, stable.errors, stable.requests)
    answers, others = _answers(candidate), _answers(stable)
    slow_others = _SLOW * others
    if step.max_p95_latency is not None:
        limit_ms = 1000 * seconds(step.max_p95_latency)
        slow_others = slower(stable.latencies, limit_ms)
    elif (typical := _p95_ms(stable) or _p95_ms(whole)) is not None:
        limit_ms = max(_SLOWER * typical, typical + _LEAST_MS)
    else:
        answers = 0  # nothing to compare them with
    if not answers:
        return replace(tally, failures=failures)
    slow = slower(candidate.latencies, limit_ms)
    parts = tally.slow_parts + 1 if slow > _SLOW * answers else 0
    return Tally(failures, tally.slow.plus(slow, answers, slow_others, others), parts)


def _p95_ms(stats: RevisionStats) -> float | None:
    """Return a time that a twentieth of other such answers exceeds, on average; None where they are too few."""
    answers = _answers(stats)
    if answers < _FOR_A_QUANTILE:
        return None
    return quantile_ms(stats.latencies, (1 - _SLOW) * (answers + 1) / answers)


def judge(step: CanaryStep, candidate: RevisionStats, stable: RevisionStats, tally: Tally, min_samples: int) -> Finding:
    """Judge what both revisions did in the same time.

    Failed: beyond chance above the step's limit and worse than the stable revision. Passed: within the limits.
    Inconclusive: otherwise, or with fewer than `min_samples`. Where the stable revision had fewer, the step's own
    limits alone count.
    """
    figures = f"{_told(candidate)}; the active revision: {_told(stable)}"
    compared = stable.requests >= min_samples
    if tally.failures.total < min_samples:
        return Finding(Verdict.INCONCLUSIVE, f"it has had fewer than minSamples ({min_samples}) requests", figures)
    found = [_errors(step, tally.failures, compared)]
    if step.max_p95_latency is None and not compared:
        found.append((Verdict.PASSED, "there is nothing to compare its p95 with"))
    elif tally.failures.hits + tally.slow.total < min_samples:
        found.append((Verdict.INCONCLUSIVE, f"fewer than minSamples ({min_samples}) of its answers were compared"))
    else:
        found.append(_latency(step, tally, compared))
    verdicts = [verdict for verdict, _ in found]
    worst = next(v for v in (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.PASSED) if v in verdicts)
    why = "; ".join(text for verdict, text in found if verdict is worst)
    return Finding(worst, why, figures)


def difference(now: RevisionStats, then: RevisionStats) -> RevisionStats | None:
    """Return what was counted between two looks; None when the counters started anew in between."""
    latencies = {bucket: count - then.latencies.get(bucket, 0) for bucket, count in now.latencies.items()}
    counts = (now.requests - then.requests, now.errors - then.errors, *latencies.values())
    if min(counts) < 0 or then.latencies.keys() - now.latencies.keys():
        return None
    return RevisionStats(requests=counts[0], errors=counts[1], latencies=latencies)


def _errors(step: CanaryStep, failures: Excess, compared: bool) -> tuple[Verdict, str]:
    if step.max_error_rate is None:
        if not compared or not failures.is_worse:
            return Verdict.PASSED, "no more of its requests fail than of the active revision's"
        return Verdict.FAILED, f"more of its requests fail than of the active revision's{_bound(failures)}"
    said = f"maxErrorRate ({step.max_error_rate})"
    limit = fraction(step.max_error_rate)
    if failures.share <= limit:
        return Verdict.PASSED, f"its failures are within {said}"
    if failures.least > limit and (failures.is_worse or not compared):
        return Verdict.FAILED, f"its failures are above {said}{_bound(failures)}"
    return Verdict.INCONCLUSIVE, f"its failures are above {said}, but not beyond chance or the active revision's"


def _latency(step: CanaryStep, tally: Tally, compared: bool) -> tuple[Verdict, str]:
    said = _COMPARED if step.max_p95_latency is None else f"maxP95Latency ({step.max_p95_latency})"
    slow = tally.slow
    if slow.share <= _SLOW:
        return Verdict.PASSED, f"its p95 is within {said}"
    if tally.slow_parts >= _LASTING and slow.least > _SLOW and (slow.is_worse or not compared):
        return (
            Verdict.FAILED,
            f"its p95 is above {said}: {slow.share:.1%} of its answers are{_bound(slow)}, where 5% may be",
        )
    return Verdict.INCONCLUSIVE, f"its p95 is above {said}, but not beyond chance, for long, or the active revision's"


def _bound(excess: Excess) -> str:
    return f", surely more than {excess.least:.2%}"


def _answers(stats: RevisionStats) -> int:
    return sum(stats.latencies.values())


def quantile_ms(latencies: Mapping[int, int], share: float) -> float | None:
    """Return the time, in ms, below which `share` of the answers are; None where there are none."""
    total = sum(latencies.values())
    if not total:
        return None
    left = share * total
    for bucket in sorted(latencies):
        count = latencies[bucket]
        if left <= count:
            low = bucket_bound_ms(bucket - 1) if bucket else 0.0
            return low + (bucket_bound_ms(bucket) - low) * left / count
        left -= count
    return bucket_bound_ms(BUCKETS - 1)


def slower(latencies: Mapping[int, int], limit_ms: float) -> float:
    """Return how many answers took longer than `limit_ms`; those of the limit's own bucket count in part."""
    found = 0.0
    for bucket, count in latencies.items():
        low, high = (bucket_bound_ms(bucket - 1) if bucket else 0.0), bucket_bound_ms(bucket)
        found += count * min(1.0, max(0.0, (high - limit_ms) / (high - low)))
    return found


def _told(stats: RevisionStats) -> str:
    p95 = quantile_ms(stats.latencies, 1 - _SLOW)
    time = f", p95 {p95:.3g} ms" if p95 is not None else ""
    rate = f" ({100 * stats.errors / stats.requests:.2f}%)" if stats.requests else ""
    return f"{stats.errors} of {stats.requests:,} requests failed{rate}{time}"
