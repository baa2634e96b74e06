"""How fast a candidate is against candidate 0, in the objective's batch, within a few seconds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.evaluate import Served
from trimtab.workloads.compress.stopping import Stop

THROUGHPUT_BATCH = 32
QUANTILE = 0.2
"""Of the times of each: whatever else the machine does only ever adds to some of them, on a busy one to most."""
_WARM_UP = 5
_ROUNDS = (15, 1000)
_LOOK_EVERY = 50  # rounds: whether the ratio is known well enough
_WELL_ENOUGH = 0.04  # width of its interval, in the ratio
_SECONDS = (1.5, 6.0)
_RESAMPLES = 400
_SEED = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """Of requests that were made in turns."""

    ratio: float
    """The candidate's time in that of candidate 0, each undisturbed."""
    low: float
    """Lower end of the ratio's 95 % interval."""
    high: float
    """Upper end of it."""
    latency_ms: float
    """The candidate's median."""


def paced(first: Served, second: Served, samples: Samples, batch: int, clock: Callable[[], float], stop: Stop) -> Pace:
    """Time requests of `batch` samples in turns, longer while their times tell little."""
    times: tuple[list[float], list[float]] = ([], [])
    began = clock()
    for turn in range(_WARM_UP + _ROUNDS[1]):
        stop.check()
        if turn >= _WARM_UP + _ROUNDS[0] and _is_enough(times, clock() - began):
            break
        some = samples.take((np.arange(batch) + turn * batch) % len(samples))
        for model, found in zip((first, second), times, strict=True):
            started = clock()
            model.answer(some)
            if turn >= _WARM_UP:
                found.append(clock() - started)
    ratio, low, high = ratio_interval(*times)
    return Pace(ratio, low, high, statistics.median(times[1]) * 1000)


def _is_enough(times: tuple[list[float], list[float]], seconds: float) -> bool:
    least, most = _SECONDS
    if seconds >= most:
        return True
    if seconds < least or len(times[0]) % _LOOK_EVERY:
        return False
    ratio, low, high = ratio_interval(*times)
    return high - low <= _WELL_ENOUGH * ratio


def ratio_interval(reference: Sequence[float], candidate: Sequence[float]) -> tuple[float, float, float]:
    """Return the ratio of the times' quantiles with its 95 % interval, from turns that are drawn again and again."""
    pairs = np.array([reference, candidate])
    drawn = np.random.default_rng(_SEED).integers(0, pairs.shape[1], (_RESAMPLES, pairs.shape[1]))
    one, other = np.quantile(pairs[:, drawn], QUANTILE, axis=2)
    low, high = np.quantile(other / np.maximum(one, 1e-9), [0.025, 0.975])
    one, other = np.quantile(pairs, QUANTILE, axis=1)
    return float(other / max(one, 1e-9)), float(low), float(high)
