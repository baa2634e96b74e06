"""How fast a candidate is against candidate 0, in the objective's batch, within a few seconds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.evaluate import Served
from trimtab.workloads.compress.stopping import Stop

THROUGHPUT_BATCH = 32
_WARM_UP = 5
_ROUNDS = (15, 200)
_SECONDS = 3.0
_Z = 1.96  # two-sided, 95 %


@dataclass(frozen=True, slots=True)
class Pace:
    """Of requests that were made in turns."""

    ratio: float
    """Median of the candidate's time in that of candidate 0, turn by turn."""
    low: float
    """Lower end of the median's 95 % interval."""
    high: float
    """Upper end of it."""
    latency_ms: float
    """The candidate's median."""


def paced(first: Served, second: Served, samples: Samples, batch: int, clock: Callable[[], float], stop: Stop) -> Pace:
    """Time requests of `batch` samples in turns: whatever else the machine does hits both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    began = clock()
    least, most = _ROUNDS
    for turn in range(_WARM_UP + most):
        stop.check()
        if turn >= _WARM_UP + least and clock() - began > _SECONDS:
            break
        some = samples.take((np.arange(batch) + turn * batch) % len(samples))
        for model, found in zip((first, second), times, strict=True):
            started = clock()
            model.answer(some)
            if turn >= _WARM_UP:
                found.append(clock() - started)
    ratios = [other / max(one, 1e-9) for one, other in zip(*times, strict=True)]
    low, high = median_interval(ratios)
    return Pace(statistics.median(ratios), low, high, statistics.median(times[1]) * 1000)


def median_interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a median, from the order of the values alone: their form does not matter.

    Source: Conover, "Practical Nonparametric Statistics", 3rd edition, section 3.2.
    """
    ordered, count = sorted(values), len(values)
    half = _Z * math.sqrt(count) / 2
    return ordered[max(math.floor(count / 2 - half), 0)], ordered[min(math.ceil(count / 2 + half), count - 1)]
