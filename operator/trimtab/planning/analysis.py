"""A canary's analysis: whether a revision does worse than the one that it is to replace, under the same traffic.

Both are looked at over the same time, so that what ails everybody (a bad client, a busy machine) is not held against
the candidate. A quantile is judged as a share: the p95 is above a limit when more than 5 % of the answers are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from trimtab.api.gateway import BUCKETS, RevisionStats, bucket_bound_ms
from trimtab.api.guardrail import Verdict
from trimtab.api.quantities import fraction, seconds
from trimtab.api.serving import CanaryStep

# The candidate is looked at each second for as long as a step holds: at 95 % a good one would be rolled back often.
_Z = NormalDist().inv_cdf(0.9999)
_SLOW = 0.05
_SLOWER = 1.5


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of a candidate: `why` is a stable sentence, `figures` those that it rests on."""

    verdict: Verdict
    why: str
    figures: str


def judge(step: CanaryStep, candidate: RevisionStats, stable: RevisionStats, min_samples: int) -> Finding:
    """Judge what both revisions did in the same time.

    Failed: beyond chance above the step's limit and worse than the stable revision. Passed: within the limits.
    Inconclusive: otherwise, or with fewer than `min_samples`. Where the stable revision had fewer, the step's own
    limits alone count.
    """
    figures = f"{_told(candidate)}; the active revision: {_told(stable)}"
    if candidate.requests < min_samples:
        return Finding(Verdict.INCONCLUSIVE, f"it has had fewer than minSamples ({min_samples}) requests", figures)
    compared = stable if stable.requests >= min_samples else None
    found = (_errors(step, candidate, compared), _latency(step, candidate, compared))
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


def _errors(step: CanaryStep, candidate: RevisionStats, stable: RevisionStats | None) -> tuple[Verdict, str]:
    limit = fraction(step.max_error_rate) if step.max_error_rate is not None else None
    rate = candidate.errors / candidate.requests
    worse = stable is None or _higher(candidate.errors, candidate.requests, stable.errors, stable.requests)
    if limit is None:
        if stable is not None and worse:
            return Verdict.FAILED, "more of its requests fail than of the active revision's"
        return Verdict.PASSED, "no more of its requests fail than of the active revision's"
    said = f"maxErrorRate ({step.max_error_rate})"
    if rate <= limit:
        return Verdict.PASSED, f"its failures are within {said}"
    if worse and _lower(candidate.errors, candidate.requests) > limit:
        return Verdict.FAILED, f"its failures are above {said}"
    return Verdict.INCONCLUSIVE, f"its failures are above {said}, but not beyond chance or the active revision's"


def _latency(step: CanaryStep, candidate: RevisionStats, stable: RevisionStats | None) -> tuple[Verdict, str]:
    if step.max_p95_latency is not None:
        limit_ms, said = 1000 * seconds(step.max_p95_latency), f"maxP95Latency ({step.max_p95_latency})"
    elif stable is not None and (typical := quantile_ms(stable.latencies, 1 - _SLOW)) is not None:
        limit_ms, said = _SLOWER * typical, f"{_SLOWER:g} times the active revision's"
    else:
        return Verdict.PASSED, "there is nothing to compare its p95 with"
    answers = sum(candidate.latencies.values())
    slow = slower(candidate.latencies, limit_ms)
    if slow <= _SLOW * answers:
        return Verdict.PASSED, f"its p95 is within {said}"
    others = sum(stable.latencies.values()) if stable is not None else 0
    worse = stable is None or not others or _higher(slow, answers, slower(stable.latencies, limit_ms), others)
    if worse and _lower(slow, answers) > _SLOW:
        return Verdict.FAILED, f"its p95 is above {said}"
    return Verdict.INCONCLUSIVE, f"its p95 is above {said}, but not beyond chance or the active revision's"


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


def _interval(count: float, total: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share."""
    share, z2 = count / total, _Z * _Z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    arm = _Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return centre - arm, centre + arm


def _lower(count: float, total: float) -> float:
    return _interval(count, total)[0]


def _higher(count: float, total: float, other: float, other_total: float) -> bool:
    """Whether one share is above another one beyond chance.

    Source: Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17 (1998) 873, method 10.
    """
    share, other_share = count / total, other / other_total
    low, high = _interval(count, total)[0], _interval(other, other_total)[1]
    return share - other_share > math.hypot(share - low, high - other_share)


def _told(stats: RevisionStats) -> str:
    p95 = quantile_ms(stats.latencies, 1 - _SLOW)
    time = f", p95 {p95:.3g} ms" if p95 is not None else ""
    rate = f" ({100 * stats.errors / stats.requests:.2f}%)" if stats.requests else ""
    return f"{stats.errors} of {stats.requests:,} requests failed{rate}{time}"
