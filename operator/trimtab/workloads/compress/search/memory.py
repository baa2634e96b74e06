"""Whether a source has seen its training split: there it answers better than it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trimtab.api.guardrail import Guardrail
from trimtab.api.quantities import drop_limit
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.evaluate import Served
from trimtab.workloads.compress.metrics import UnscorableError, score
from trimtab.workloads.compress.stopping import Stop

MOST = 2000
"""Samples of each split that are asked."""
TOLERATED = 0.25
"""Of the allowed drop: a gap beyond that hides recipes that hold the guardrail."""


def remembers(
    graph: Path, threads: int, guardrail: Guardrail, stop: Stop, train: Samples, judged: Samples, most: int = MOST
) -> bool:
    """Ask the source about samples of both splits. It only ever tells how to compare; no recipe is looked at here."""
    if not guardrail.metric.needs_labels:
        return False  # the original's own answers are what is compared with, on whatever samples
    limit = drop_limit(guardrail.max_drop)
    try:
        seen, unseen = (_score(graph, threads, guardrail, stop, _some(samples, most)) for samples in (train, judged))
    except UnscorableError:
        return False  # the guardrail tells it in full
    gap = unseen - seen if guardrail.metric.is_error else seen - unseen
    return gap > TOLERATED * limit.absolute(abs(unseen))


def _score(graph: Path, threads: int, guardrail: Guardrail, stop: Stop, samples: Samples) -> float:
    said = Served(graph, threads, samples, "spec.source.uri").outputs(samples, stop, lambda _done: None)
    return score(guardrail.metric, said, said, samples.y, guardrail.top_k)


def _some(samples: Samples, most: int) -> Samples:
    return samples.take(np.unique(np.linspace(0, len(samples) - 1, most).astype(int)))
