"""Jobs that run together: their inputs stacked, and the outputs cut apart again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab.workloads.serve.artifact import ModelSpec
from trimtab.workloads.serve.datatypes import Array, Outcome, Run
from trimtab.workloads.serve.padding import lengths_of, stacked, unpadded
from trimtab.workloads.serve.waiting import Job


def run_together(run: Run, jobs: Sequence[Job], largest: int | None, spec: ModelSpec | None = None) -> list[Outcome]:
    """Return one outcome per job, in order; a job that fails fails alone.

    `largest` is the number of rows that one run may have; None runs every job as it is. With a spec, inputs of
    different length are filled up.
    """
    if len(jobs) > 1:
        try:
            outputs = run(stacked([job.feeds for job in jobs], spec))
        except Exception:  # noqa: BLE001 - whatever it was, it belongs to one of the jobs: run each to see
            return [_run_alone(run, job, largest) for job in jobs]
        return _cut(outputs, jobs, spec)
    return [_run_alone(run, job, largest) for job in jobs]


def _run_alone(run: Run, job: Job, largest: int | None) -> Outcome:
    try:
        if largest is None or job.rows <= largest:
            return run(job.feeds)
        pieces = [
            run({name: array[start : start + largest] for name, array in job.feeds.items()})
            for start in range(0, job.rows, largest)
        ]
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    except Exception as error:  # noqa: BLE001 - the engine's errors have no common base; the client hears of it
        return error


def _cut(outputs: list[Array], jobs: Sequence[Job], spec: ModelSpec | None) -> list[Outcome]:
    total = sum(job.rows for job in jobs)
    odd = next((output for output in outputs if output.shape[:1] != (total,)), None)
    if odd is not None:
        error = ValueError(f"the model answered {total} rows with shape {list(odd.shape)}; set batching.maxSize to 1")
        return [error for _ in jobs]
    outcomes: list[Outcome] = []
    start = 0
    for job in jobs:
        own = [output[start : start + job.rows] for output in outputs]
        if spec is not None:
            lengths = lengths_of(job.feeds, spec)
            own = [unpadded(output, tensor, lengths) for output, tensor in zip(own, spec.outputs, strict=True)]
        outcomes.append(own)
        start += job.rows
    return outcomes
