"""The guardrail: whether the score fell by more than was promised, and how sure that is.

Baseline and candidate answer the same samples, so only the samples on which they differ tell anything. The test is
paired, and its three answers are honest: passed, failed, or too few samples to know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

from trimtab.api.guardrail import Metric, Verdict
from trimtab.api.quantities import DropLimit
from trimtab.api.status import GuardrailStatus

MOST_SAMPLES = 10**9  # beyond this nobody collects them: say that no number settles it
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
class Judgement:
    """The verdict and everything it rests on; scores, drop and limit are shares of 1."""

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
            metric=Metric.ACCURACY,
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


def accuracy_judgement(counts: PairedCounts, limit: DropLimit, confidence: float, min_samples: int) -> Judgement:
    """Judge a drop in accuracy.

    Passed: the whole interval is at or below the limit. Failed: the whole interval is above it. Inconclusive:
    otherwise, or with fewer than `min_samples`. `confidence` is of the two-sided interval, between 0 and 1.

    Raises:
        ValueError: There are no samples, or the confidence is 0 or 1 and more.
    """
    allowed = limit.absolute(counts.baseline)
    lower, upper = drop_interval(counts, confidence)
    samples = round(counts.samples)
    verdict = _verdict(lower, upper, allowed) if samples >= min_samples else Verdict.INCONCLUSIVE
    settled = required_samples(counts, limit, confidence) if verdict is Verdict.INCONCLUSIVE else None
    required = max(settled, min_samples) if settled is not None else None
    message = _change(counts.drop, lower, upper, confidence, samples) + f", limit {_limit(limit, allowed)}"
    if verdict is Verdict.INCONCLUSIVE:
        message += _what_settles_it(samples, min_samples, required)
    return Judgement(
        verdict=verdict,
        baseline=counts.baseline,
        candidate=counts.candidate,
        drop=counts.drop,
        lower=lower,
        upper=upper,
        limit=allowed,
        confidence=confidence,
        samples=samples,
        required_samples=required,
        message=message,
    )


def drop_interval(counts: PairedCounts, confidence: float) -> tuple[float, float]:
    """Return the interval of the drop between two paired proportions.

    Source: Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired
    data", Statistics in Medicine 17 (1998) 2635, method 10: Wilson's score intervals, joined through the correlation.
    """
    if counts.samples <= 0:
        raise ValueError("an interval needs samples")
    first, second = counts.baseline, counts.candidate
    low1, high1 = wilson_interval(first, counts.samples, confidence)
    low2, high2 = wilson_interval(second, counts.samples, confidence)
    phi = _correlation(counts)
    below = _joined(first - low1, high2 - second, phi)
    above = _joined(high1 - first, second - low2, phi)
    return max(counts.drop - below, -1.0), min(counts.drop + above, 1.0)


def wilson_interval(share: float, samples: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (JASA 22 (1927) 209), without continuity correction."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence:.0%} has no interval; use one between 0% and 100%, such as 95%")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z * z / (2 * samples)
    half = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


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


def _verdict(lower: float, upper: float, allowed: float) -> Verdict:
    if upper <= allowed:
        return Verdict.PASSED
    return Verdict.FAILED if lower > allowed else Verdict.INCONCLUSIVE


def _correlation(counts: PairedCounts) -> float:
    """Return phi, its numerator corrected for continuity when positive, as method 10 has it."""
    both, lost, gained, neither = counts.both, counts.lost, counts.gained, counts.neither
    product = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    if product == 0:
        return 0.0
    numerator = both * neither - lost * gained
    if numerator > 0:
        numerator = max(numerator - counts.samples / 2, 0.0)
    return numerator / math.sqrt(product)


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))


def _change(drop: float, lower: float, upper: float, confidence: float, samples: int) -> str:
    interval = f"{_points(lower)}..{_points(upper)}pp"
    certainty = f"{confidence * 100:g}% interval"
    if drop > 0:
        return f"accuracy fell {drop * 100:.1f}pp ({certainty} {interval}, n={samples:,})"
    change = "did not change" if drop == 0 else f"rose {-drop * 100:.1f}pp"
    return f"accuracy {change} ({certainty} of the drop {interval}, n={samples:,})"


def _points(share: float) -> str:
    return f"{round(share * 100, 1) + 0.0:.1f}"  # adding 0.0 turns -0.0 into 0.0


def _limit(limit: DropLimit, allowed: float) -> str:
    if not limit.relative:
        return f"{allowed * 100:g}pp"
    return f"{limit.value * 100:g}% of the original's score ({allowed * 100:.2f}pp)"


def _what_settles_it(samples: int, min_samples: int, required: int | None) -> str:
    if samples < min_samples:
        return f"; {samples:,} samples are fewer than minSamples {min_samples:,}: add {min_samples - samples:,}"
    if required is None:
        return "; no number of samples settles it: the drop is the limit itself"
    return f"; about {required:,} samples would settle it"
