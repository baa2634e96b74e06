"""Baseline and candidate as serving runs them: their outputs on the same samples, and their latencies in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Array, Samples
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.serve.engine import load_runner

REPEATS = 200
_WARM_UP = 20
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Latency:
    """Times in milliseconds of single-sample requests that were made in turns."""

    baseline: tuple[float, ...]
    candidate: tuple[float, ...]

    @property
    def baseline_ms(self) -> float:
        """Their median."""
        return statistics.median(self.baseline)

    @property
    def candidate_ms(self) -> float:
        """Their median."""
        return statistics.median(self.candidate)


class Served:
    """A model file as serving runs it; its first output is what it says."""

    def __init__(self, path: Path, threads: int, samples: Samples, field: str, device: Device = Device.CPU) -> None:
        """Load a file that shall take such samples; `field` begins messages about it.

        Raises:
            Stalled: It cannot be loaded, or takes other inputs.
        """
        self._runner = load_runner(path, threads, device)
        self._names = [form.name for form in self._runner.inputs]
        given = list(samples.inputs)
        if len(given) != len(self._names) or (len(given) > 1 and set(given) != set(self._names)):
            raise Stalled(
                Reason.DATASET_INVALID,
                f"{field}: the model takes {', '.join(self._names)}, but the data set has {', '.join(given)}; "
                "store one array per input, named as the input",
            )
        sizes = {form.batch for form in self._runner.inputs} - {None}
        self._fixed = next(iter(sizes), None)

    def answer(self, samples: Samples, field: str = "spec.guardrail.dataset.uri") -> Array:
        """Answer up to a batch; a graph that is fixed to a batch size gets it, filled up with the last sample.

        `field` names the samples in messages.

        Raises:
            Stalled: DatasetInvalid, the model does not take such samples.
        """
        count = len(samples)
        if self._fixed is not None and count < self._fixed:
            samples = samples.take(np.minimum(np.arange(self._fixed), count - 1))
        try:
            output = self._runner.run(list(self._runner.outputs[:1]), samples.feeds(self._names))[0]
        except Exception as error:
            raise Stalled(
                Reason.DATASET_INVALID,
                f"{field}: the model does not take samples of {samples.form()} "
                f"({str(error).splitlines()[0][:200]}); store them as it expects them",
            ) from error
        return np.asarray(output)[:count]

    def outputs(self, samples: Samples, stop: Stop, tick: Callable[[float], None]) -> Array:
        """Return the first output for every sample [N, ...]."""
        found, size = [], self._fixed or _BATCH
        for start in range(0, len(samples), size):
            stop.check()
            tick(start / len(samples))
            found.append(self.answer(samples.take(np.arange(start, min(start + size, len(samples))))))
        return np.concatenate(found)


def reference_device(target: Device) -> Device:
    """Return what the original, which is for ONNX Runtime, is asked on."""
    return Device.GPU if target is Device.GPU else Device.CPU


def interleaved_latency(
    baseline: Served, candidate: Served, samples: Samples, clock: Callable[[], float], stop: Stop
) -> Latency:
    """Time single-sample requests in turns, so that whatever else the machine does hits both alike."""
    times: dict[str, list[float]] = {"baseline": [], "candidate": []}
    pair = {"baseline": baseline, "candidate": candidate}
    for repeat in range(_WARM_UP + REPEATS):
        stop.check()
        sample = samples.take(np.array([repeat % len(samples)]))
        for name, model in pair.items():
            began = clock()
            model.answer(sample)
            if repeat >= _WARM_UP:
                times[name].append(clock() - began)
    return Latency(*(tuple(time * 1000 for time in times[name]) for name in pair))
