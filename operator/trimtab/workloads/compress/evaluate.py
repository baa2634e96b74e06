"""Baseline against candidate, through the session that serving uses."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.planning.guardrail import PairedCounts
from trimtab.workloads.compress.datasets import Array, Samples
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.serve.engine import load_session

REPEATS = 200
_WARM_UP = 20
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians in milliseconds of one single-sample request each."""

    baseline_ms: float
    candidate_ms: float


class Classifier:
    """An ONNX file as serving runs it."""

    def __init__(self, path: Path, threads: int, field: str) -> None:
        """Load a file; `field` begins messages about what it gives.

        Raises:
            Stalled: It cannot be loaded, or takes more than one input.
        """
        self._session = load_session(path, threads)
        self._field = field
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"{field}: the model takes {len(inputs)} inputs ({', '.join(i.name for i in inputs)}); this version "
                "handles models with one",
            )
        self._name: str = inputs[0].name
        first = inputs[0].shape[0] if inputs[0].shape else None
        self._free = not isinstance(first, int)
        self._batch = first if isinstance(first, int) else _BATCH

    def _answer(self, x: Array) -> Array:
        """Return the first output for some samples.

        Raises:
            Stalled: DatasetInvalid, the model does not take such samples.
        """
        try:
            output = np.asarray(self._session.run(None, {self._name: x})[0])
        except Exception as error:
            raise Stalled(
                Reason.DATASET_INVALID,
                f"spec.guardrail.dataset.uri: the model does not take samples of {x.dtype} {list(x.shape[1:])} "
                f"({str(error).splitlines()[0][:200]}); store them as it expects them",
            ) from error
        return output

    def answer_one(self, x: Array) -> Array:
        """Answer one sample, as a request of one does."""
        return self._answered(x)

    def classes(self, samples: Samples) -> int:
        """Return how many classes it scores; 0 when it gives classes instead of scores."""
        output = self._answered(samples.x[:1])
        return int(output.shape[1]) if output.ndim == 2 else 0

    def predictions(self, x: Array, stop: Stop, tick: Callable[[float], None]) -> Array:
        """Return a class per sample: int64 [N]."""
        found = []
        for start in range(0, len(x), self._batch):
            stop.check()
            tick(start / len(x))
            found.append(self._classes(x[start : start + self._batch]))
        return np.concatenate(found)

    def _answered(self, x: Array) -> Array:
        """Answer up to a batch; a graph that is fixed to a batch size gets it, filled up with the last sample."""
        missing = 0 if self._free else self._batch - len(x)
        padded = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) if missing > 0 else x
        return self._answer(padded)[: len(x)]

    def _classes(self, x: Array) -> Array:
        output = self._answered(x)
        if output.ndim == 2 and output.shape[1] > 1:
            classes: Array = output.argmax(axis=1)
            return classes
        if output.ndim == 1 and np.issubdtype(output.dtype, np.integer):
            return output
        raise Stalled(
            Reason.SOURCE_INVALID,
            f"{self._field}: for {len(x)} samples the model gives {output.dtype} {list(output.shape)}; accuracy needs "
            "scores [samples, classes] or classes [samples] as its first output",
        )


def paired_counts(baseline: Array, candidate: Array, labels: Array) -> PairedCounts:
    """Count who was right, sample by sample; all are int64 [N]."""
    first, second = baseline == labels, candidate == labels
    return PairedCounts(
        both=int((first & second).sum()),
        lost=int((first & ~second).sum()),
        gained=int((~first & second).sum()),
        neither=int((~first & ~second).sum()),
    )


def interleaved_latency(
    baseline: Classifier, candidate: Classifier, samples: Samples, clock: Callable[[], float], stop: Stop
) -> Latency:
    """Time single-sample requests in turns, so that whatever else the machine does hits both alike."""
    times: dict[str, list[float]] = {"baseline": [], "candidate": []}
    pair: dict[str, Any] = {"baseline": baseline, "candidate": candidate}
    for repeat in range(_WARM_UP + REPEATS):
        stop.check()
        index = repeat % len(samples)
        x = samples.x[index : index + 1]
        for name, classifier in pair.items():
            began = clock()
            classifier.answer_one(x)
            if repeat >= _WARM_UP:
                times[name].append(clock() - began)
    return Latency(statistics.median(times["baseline"]) * 1000, statistics.median(times["candidate"]) * 1000)
