"""How often the guardrail lets a model pass that it should not, over simulated models whose true drop is known.

    python tests/bench/guardrail.py --runs 1000

Prints the tables of docs/guardrail.md: wrong passes, where the true drop is just above the limit, and right ones, where
nothing was lost. The runs are seeded, so that the numbers come out the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.api.guardrail import Metric, Verdict
from trimtab.api.quantities import drop_limit
from trimtab.planning.guardrail import PairedCounts, accuracy_judgement
from trimtab.workloads.compress.metrics import judgement

Array = NDArray[np.float64]
World = Callable[[np.random.Generator, int, float], tuple[Array, Array, NDArray[Any] | None]]
"""Draws outputs of baseline and candidate, and labels, for so many samples and a true drop."""
CONFIDENCE = 0.95
LEAST_SAMPLES = 50
WRONG_BOTH = 0.05
ABOVE = 1e-6  # the limit itself may pass
_BOOTSTRAP_RUNS = 10  # times fewer: each of them resamples thousands of times


def counted(runs: int) -> None:
    """Accuracy, top-k and exact match: counts of samples on which the two differ."""
    print("| limit | samples | the candidate is right where the original is not | wrong passes | right passes |")
    print("|---|---|---|---|---|")
    for limit in (0.01, 0.03):
        for samples in (100, 400, 1500):
            for gained in (0.0, 0.01, 0.05):
                wrong = _counted_passes(samples, limit, limit + ABOVE, gained, runs)
                right = _counted_passes(samples, limit, 0.0, gained, runs)
                print(f"| {limit * 100:g}pp | {samples:,} | {gained:.0%} | {wrong:.1%} | {right:.1%} |")


def _counted_passes(samples: int, limit: float, drop: float, gained: float, runs: int) -> float:
    draw = np.random.default_rng(1)
    lost = gained + drop
    shares = [1 - WRONG_BOTH - lost - gained, lost, gained, WRONG_BOTH]
    drawn, times = np.unique(draw.multinomial(samples, shares, runs), axis=0, return_counts=True)
    allowed = drop_limit(f"{limit * 100:g}pp")
    passed = 0
    for cells, count in zip(drawn, times, strict=True):
        found = accuracy_judgement(PairedCounts(*map(float, cells)), allowed, CONFIDENCE, LEAST_SAMPLES)
        passed += int(count) * (found.verdict is Verdict.PASSED)
    return passed / runs


def resampled(runs: int) -> None:
    """The other metrics: intervals by bootstrap."""
    worlds: tuple[tuple[Metric, World, float], ...] = (
        (Metric.F1, _classes, 0.03),
        (Metric.AUROC, _scores, 0.03),
        (Metric.ROOT_MEAN_SQUARED_ERROR, _numbers, 0.1),
        (Metric.MEAN_ABSOLUTE_ERROR, _numbers, 0.1),
        (Metric.COSINE_SIMILARITY, _embeddings, 0.02),
    )
    print("| metric | limit | samples | wrong passes |")
    print("|---|---|---|---|")
    for metric, world, limit in worlds:
        for samples in (100, 400):
            text = f"{limit * 100:g}{'%' if metric.is_error else 'pp'}"
            passed = 0
            for run in range(runs):
                draw = np.random.default_rng(run)
                base, candidate, labels = world(draw, samples, limit + ABOVE)
                found = judgement(metric, base, candidate, labels, drop_limit(text), CONFIDENCE, LEAST_SAMPLES, top_k=2)
                passed += found.verdict is Verdict.PASSED
            print(f"| {metric} | {text} | {samples} | {passed / runs:.1%} |", flush=True)


def _classes(draw: np.random.Generator, samples: int, drop: float) -> tuple[Array, Array, NDArray[Any]]:
    """Three classes, a tenth of them wrong before; right answers become wrong at random."""
    labels = draw.integers(0, 3, samples)
    said = np.where(draw.random(samples) < 0.1, (labels + draw.integers(1, 3, samples)) % 3, labels)
    worse = np.where((draw.random(samples) < drop / 0.9) & (said == labels), (said + 1) % 3, said)
    return np.eye(3)[said], np.eye(3)[worse], labels


def _scores(draw: np.random.Generator, samples: int, drop: float) -> tuple[Array, Array, NDArray[Any]]:
    """Scores of two classes whose distance, and with it the area under the curve, shrinks by a known amount."""
    normal, before = NormalDist(), 0.9
    labels = np.arange(samples) % 2
    noise = draw.normal(size=(2, samples))
    both = []
    for area, own in ((before, noise[0]), (before - drop, 0.8 * noise[0] + 0.6 * noise[1])):
        score = own + labels * normal.inv_cdf(area) * np.sqrt(2)
        both.append(np.column_stack([-score, score]) / 2)
    return both[0], both[1], labels


def _numbers(draw: np.random.Generator, samples: int, drop: float) -> tuple[Array, Array, NDArray[Any]]:
    """Errors with heavy tails, correlated between the models, that are larger by a known share."""
    labels = draw.normal(size=samples)
    errors = draw.standard_normal((2, samples)) * np.sqrt(5 / draw.chisquare(5, samples))
    mixed = 0.8 * errors[0] + 0.6 * errors[1]
    return labels + errors[0], labels + mixed * (1 + drop), labels


def _embeddings(draw: np.random.Generator, samples: int, drop: float) -> tuple[Array, Array, None]:
    """Embeddings turned by random angles whose mean cosine is 1 - drop."""
    angles = np.arccos(np.clip(1 - draw.exponential(drop, samples), -1, 1))
    return np.tile([[1.0, 0.0]], (samples, 1)), np.column_stack([np.cos(angles), np.sin(angles)]), None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    counted(runs)
    print()
    resampled(max(1, runs // _BOOTSTRAP_RUNS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
