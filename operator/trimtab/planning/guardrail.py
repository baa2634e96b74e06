"""The guardrail: whether the score fell by more than was promised, and how sure that is.

Baseline and candidate answer the same samples, so only the samples on which they differ tell anything. The test is
paired, and its three answers are honest: passed, failed, or too few samples to know. Counts of right and wrong answers
get a score interval here; other metrics come with an interval that was bootstrapped from the samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Self

from trimtab.api.guardrail import Metric, Verdict
from trimtab.api.quantities import DropLimit
from trimtab.api.status import GuardrailStatus

MOST_SAMPLES = 10**9  # beyond this nobody collects them: say that no number settles it
_HALVINGS = 60  # of an interval of length 2: down to the last bit
_SAME = 1e-9  # drop and limit are equal: no interval ever leaves the limit out


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """How often two classifiers were right on the same samples. Counts may be fractional: planning scales them."""

    both: float
    """Both right."""
    lost: float
    """Only the baseline right."""
    gained: float
    """Only the candidate right."""
    neither: float
    """Both wrong."""

    @property
    def samples(self) -> float:
        return self.both + self.lost + self.gained + self.neither

    @property
    def baseline(self) -> float:
        """Accuracy of the baseline."""
        return (self.both + self.lost) / self.samples

    @property
    def candidate(self) -> float:
        """Accuracy of the candidate."""
        return (self.both + self.gained) / self.samples

    @property
    def drop(self) -> float:
        """Accuracy lost: positive when the candidate is worse."""
        return (self.lost - self.gained) / self.samples

    def swapped(self) -> Self:
        """Return the counts with baseline and candidate in each other's place."""
        return type(self)(self.both, self.gained, self.lost, self.neither)

    def scaled(self, samples: float) -> Self:
        """Return the same shares over another number of samples."""
        ratio = samples / self.samples
        return type(self)(self.both * ratio, self.lost * ratio, self.gained * ratio, self.neither * ratio)


@dataclass(frozen=True, slots=True)
class Estimate:
    """How far a score fell, and between what bounds.

    `drop`, `lower` and `upper` are in the score's own unit, or shares of the baseline's score when `relative`. They are
    positive when the candidate is worse, also where a lower score is better.
    """

    baseline: float
    candidate: float
    drop: float
    lower: float
    upper: float
    samples: int
    relative: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and everything it rests on; drop and limit are shares of 1."""

    metric: Metric
    verdict: Verdict
    baseline: float
    candidate: float
    drop: float
    lower: float
    upper: float
    limit: float
    confidence: float
    samples: int
    required_samples: int | None
    """Samples that would settle an Inconclusive verdict; None when it is settled, or when no number does."""
    message: str
    """The verdict in a sentence."""

    def status(self) -> GuardrailStatus:
        """Return the form that runs and models report."""
        return GuardrailStatus(
            verdict=self.verdict,
            metric=self.metric,
            baseline=f"{self.baseline:.6f}",
            candidate=f"{self.candidate:.6f}",
            drop=f"{self.drop:.6f}",
            lower=f"{self.lower:.6f}",
            upper=f"{self.upper:.6f}",
            limit=f"{self.limit:.6f}",
            confidence=f"{self.confidence * 100:g}%",
            samples=self.samples,
            required_samples=self.required_samples,
            message=self.message,
        )


def accuracy_judgement(
    counts: PairedCounts, limit: DropLimit, confidence: float, min_samples: int, metric: Metric = Metric.ACCURACY
) -> Judgement:
    """Judge a drop in a share of right answers: accuracy, top-k accuracy, exact matches.

    Passed: the whole interval is at or below the limit. Failed: the whole interval is above it. Inconclusive:
    otherwise, or with fewer than `min_samples`. `confidence` is of the two-sided interval, between 0 and 1.

    Raises:
        ValueError: There are no samples, or the confidence is 0 or 1 and more.
    """
    lower, upper = drop_interval(counts, confidence)
    estimate = Estimate(counts.baseline, counts.candidate, counts.drop, lower, upper, round(counts.samples), False)
    allowed = limit.absolute(counts.baseline)
    settles = partial(required_samples, counts, limit, confidence)
    return _judged(metric, estimate, limit, allowed, confidence, min_samples, settles)


def estimated_judgement(
    metric: Metric, estimate: Estimate, limit: DropLimit, confidence: float, min_samples: int
) -> Judgement:
    """Judge a drop whose interval was bootstrapped. Verdicts as in `accuracy_judgement`.

    The estimate is relative when the limit is.
    """
    settles = partial(_scaled_samples, estimate, limit.value)
    return _judged(metric, estimate, limit, limit.value, confidence, min_samples, settles)


def _judged(
    metric: Metric,
    estimate: Estimate,
    limit: DropLimit,
    allowed: float,
    confidence: float,
    min_samples: int,
    settles: Callable[[], int | None],
) -> Judgement:
    enough = estimate.samples >= min_samples
    verdict = _verdict(estimate.lower, estimate.upper, allowed) if enough else Verdict.INCONCLUSIVE
    settled = settles() if verdict is Verdict.INCONCLUSIVE else None
    required = max(settled, min_samples) if settled is not None else None
    message = _change(metric, estimate, confidence) + f", limit {_limit(metric, limit, allowed)}"
    if verdict is Verdict.INCONCLUSIVE:
        message += _what_settles_it(estimate.samples, min_samples, required)
    return Judgement(
        metric=metric,
        verdict=verdict,
        baseline=estimate.baseline,
        candidate=estimate.candidate,
        drop=estimate.drop,
        lower=estimate.lower,
        upper=estimate.upper,
        limit=allowed,
        confidence=confidence,
        samples=estimate.samples,
        required_samples=required,
        message=message,
    )


def drop_interval(counts: PairedCounts, confidence: float) -> tuple[float, float]:
    """Return the interval of the drop between two paired proportions: the drops that a score test does not reject.

    At no drop it is McNemar's test. Newcombe's method 10 was tried and let up to 9 % of models pass whose drop was the
    limit, at 95 % confidence (400 samples, 40 % of them beyond both models, nothing gained); this one at most 2.5 %.

    Source: Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998) 891.
    """
    if counts.samples <= 0:
        raise ValueError("an interval needs samples")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence:.0%} has no interval; use one between 0% and 100%, such as 95%")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return _crossing(counts, z, -1.0, counts.drop), _crossing(counts, -z, counts.drop, 1.0)


def _crossing(counts: PairedCounts, z: float, low: float, high: float) -> float:
    """Return where the score, which falls as the assumed drop grows, is `z`."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(counts, middle) > z else (low, middle)
    return (low + high) / 2


def _score(counts: PairedCounts, drop: float) -> float:
    """Return how many standard errors the counts are above an assumed drop."""
    n, lost, gained = counts.samples, counts.lost, counts.gained
    b = (2 * n - lost + gained) * drop - lost - gained
    c = -gained * drop * (1 - drop)
    most_likely_gain = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * most_likely_gain + drop * (1 - drop))
    above = lost - gained - n * drop
    if variance <= 0:
        return math.copysign(math.inf, above) if above else 0.0
    return above / math.sqrt(variance)


def required_samples(counts: PairedCounts, limit: DropLimit, confidence: float) -> int | None:
    """Return how many samples settle the verdict when the shares stay as they are; None when no number does."""
    allowed = limit.absolute(counts.baseline)
    if abs(counts.drop - allowed) < _SAME:
        return None

    def settled(samples: int) -> bool:
        return _verdict(*drop_interval(counts.scaled(samples), confidence), allowed) is not Verdict.INCONCLUSIVE

    enough = 2
    while not settled(enough):
        enough *= 2
        if enough > MOST_SAMPLES:
            return None
    few = enough // 2
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if settled(middle) else (middle, enough)
    return enough


def _scaled_samples(estimate: Estimate, allowed: float) -> int | None:
    """Return how many samples settle a bootstrapped interval, whose arms shrink with the root of their number."""
    distance = abs(estimate.drop - allowed)
    if distance < _SAME:
        return None
    arm = estimate.upper - estimate.drop if estimate.drop < allowed else estimate.drop - estimate.lower
    needed = math.ceil(estimate.samples * (arm / distance) ** 2)
    return needed if needed <= MOST_SAMPLES else None


def _verdict(lower: float, upper: float, allowed: float) -> Verdict:
    if upper <= allowed:
        return Verdict.PASSED
    return Verdict.FAILED if lower > allowed else Verdict.INCONCLUSIVE


def _change(metric: Metric, estimate: Estimate, confidence: float) -> str:
    noun, unit, drop = metric.noun, "%" if estimate.relative else "pp", estimate.drop
    interval = f"{_points(estimate.lower)}..{_points(estimate.upper)}{unit}"
    certainty = f"{confidence * 100:g}% interval"
    worse, better = ("grew", "fell") if metric.is_error else ("fell", "rose")
    if drop > 0:
        return f"{noun} {worse} {_points(drop)}{unit} ({certainty} {interval}, n={estimate.samples:,})"
    change = "did not change" if drop == 0 else f"{better} {_points(-drop)}{unit}"
    what = "growth" if metric.is_error else "drop"
    return f"{noun} {change} ({certainty} of the {what} {interval}, n={estimate.samples:,})"


def _points(share: float) -> str:
    return f"{round(share * 100, 1) + 0.0:.1f}"  # adding 0.0 turns -0.0 into 0.0


def _limit(metric: Metric, limit: DropLimit, allowed: float) -> str:
    if not limit.relative:
        return f"{allowed * 100:g}pp"
    points = f" ({allowed * 100:.2f}pp)" if allowed != limit.value else ""
    return f"{limit.value * 100:g}% of the original's {'error' if metric.is_error else 'score'}{points}"


def _what_settles_it(samples: int, min_samples: int, required: int | None) -> str:
    if samples < min_samples:
        return f"; {samples:,} samples are fewer than minSamples {min_samples:,}: add {min_samples - samples:,}"
    if required is None:
        return "; no number of samples settles it: the drop is the limit itself"
    return f"; about {required:,} samples would settle it"
