"""Intervals of statistics that have no formula: the samples drawn again and again, baseline and candidate together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np

from trimtab.workloads.compress.datasets import Array

RESAMPLES = 4000
_CHUNK = 2_000_000  # draws at a time: about 100 MB
_GROUPS = 400  # of the jackknife, at most: leaving out single samples of many costs more than it tells
_NORMAL = NormalDist()

Statistic = Callable[[Array], Array]
"""Takes how often each sample counts [B, N]; returns the statistic of each row [B]."""


def bootstrap_interval(statistic: Statistic, samples: int, confidence: float, seed: int) -> tuple[float, float]:
    """Return the two-sided interval of a statistic: from the lower of two lower ends to the higher of two upper ends.

    The two are the percentile interval and the one corrected for bias and skewness (BCa). Each alone passes more wrong
    candidates than it should for some metric: heavy-tailed errors, or few disagreements. Rows for which the statistic
    is undefined (NaN: a resample without a class) are left out.

    Source: Efron, "Better bootstrap confidence intervals", JASA 82 (1987) 171; the acceleration is from the jackknife
    over groups of samples.
    """
    estimate = float(statistic(np.ones((1, samples)))[0])
    values = np.concatenate([statistic(weights) for weights in _resampled(samples, seed)])
    values = np.sort(values[np.isfinite(values)])
    if len(values) == 0 or values[0] == values[-1]:
        return estimate, estimate
    # Half of the ties count as below: a statistic of few values, such as a share, has many.
    below = (np.sum(values < estimate) + np.sum(values <= estimate)) / 2 / len(values)
    bias = _NORMAL.inv_cdf(float(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values))))
    acceleration = _acceleration(statistic, samples)
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    low, high = (_corrected(tail, bias, acceleration) for tail in tails)
    return float(np.quantile(values, min(low, tails[0]))), float(np.quantile(values, max(high, tails[1])))


def _corrected(tail: float, bias: float, acceleration: float) -> float:
    shifted = bias + _NORMAL.inv_cdf(tail)
    return _NORMAL.cdf(bias + shifted / max(1 - acceleration * shifted, 1e-6))


def _resampled(samples: int, seed: int) -> Iterator[Array]:
    draw = np.random.default_rng(seed)
    rows = max(_CHUNK // samples, 1)
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        chosen = draw.integers(0, samples, size=(count, samples))
        offsets = np.arange(count)[:, None] * samples
        weights = np.bincount((chosen + offsets).ravel(), minlength=count * samples)
        yield weights.reshape(count, samples).astype(np.float64)


def _acceleration(statistic: Statistic, samples: int) -> float:
    groups = np.array_split(np.arange(samples), min(samples, _GROUPS))
    found = []
    for start in range(0, len(groups), max(_CHUNK // samples, 1)):
        some = groups[start : start + max(_CHUNK // samples, 1)]
        weights = np.ones((len(some), samples))
        for row, group in enumerate(some):
            weights[row, group] = 0
        found.append(statistic(weights))
    values = np.concatenate(found)
    away = values[np.isfinite(values)].mean() - values[np.isfinite(values)]
    spread = float((away**2).sum())
    return float((away**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0
