"""How fast a candidate is against candidate 0, in the objective's batch, within a few seconds."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Pace:
    """Medians of requests that were made in turns."""

    ratio: float
    """The candidate's in that of candidate 0."""
    latency_ms: float
    """The candidate's."""


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
    reference, latency = (statistics.median(found) for found in times)
    return Pace(latency / max(reference, 1e-9), latency * 1000)
