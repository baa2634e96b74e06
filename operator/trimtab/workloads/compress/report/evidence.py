"""What the report draws: counts and projections of both models' outputs, never samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trimtab.api.guardrail import Guardrail
from trimtab.api.quantities import fraction
from trimtab.workloads.compress.data import Task
from trimtab.workloads.compress.datasets import Array
from trimtab.workloads.compress.metrics import classes_of, score_intervals

MOST_CLASSES = 12  # a larger table is read by nobody
MOST_POINTS = 300  # in the projection: more blur into each other, and into a large page
_MOST_NEIGHBOURS = 200  # t-SNE takes a second for so many
_FEWEST_NEIGHBOURS = 12
_EMBEDDING = 16  # numbers per sample from which on they are one
_BINS = 24
_DIGITS = 4  # of coordinates and times


@dataclass(frozen=True, slots=True)
class Outputs:
    """What both models say about the same samples."""

    baseline: Array
    """[N, ...]."""
    candidate: Array
    """[N, ...]."""
    labels: Array | None
    """[N, ...] where there are any."""


def evidence(outputs: Outputs, guardrail: Guardrail) -> dict[str, Any]:
    """Return plain JSON: intervals of the scores, a confusion matrix or a histogram of errors, and projections.

    What cannot be told from such outputs is null.

    Raises:
        UnscorableError: The guardrail's metric cannot be told from these outputs.
    """
    before, after = score_intervals(
        guardrail.metric,
        outputs.baseline,
        outputs.candidate,
        outputs.labels,
        fraction(guardrail.confidence),
        guardrail.top_k,
    )
    confused = _confusion(outputs)
    return {
        "scores": {"baseline": list(before), "candidate": list(after)},
        "confusion": confused,
        "errors": None if confused else _errors(outputs),
        "projection": _projection(outputs),
        "neighbours": _neighbours(outputs),
    }


def _confusion(outputs: Outputs) -> dict[str, Any] | None:
    """Count answers by label; of many classes, those that are mistaken most often by either model."""
    labels = outputs.labels
    if labels is None or Task.of(labels) is not Task.CLASSES or labels.ndim != 1:
        return None
    if not all(_tells_classes(answers) for answers in (outputs.baseline, outputs.candidate)):
        return None
    answers = [classes_of(outputs.baseline), classes_of(outputs.candidate)]
    shown = _most_mistaken(labels, answers)
    return {
        "classes": shown,
        "of": len(np.unique(np.concatenate([labels, *answers]))),
        "baseline": _counts(labels, answers[0], shown),
        "candidate": _counts(labels, answers[1], shown),
    }


def _tells_classes(answers: Array) -> bool:
    return (answers.ndim == 2 and answers.shape[1] > 1) or (
        answers.ndim == 1 and np.issubdtype(answers.dtype, np.integer)
    )


def _most_mistaken(labels: Array, answers: Sequence[Array]) -> list[int]:
    classes, mistakes = np.unique(labels), {}
    for each in classes:
        mistakes[int(each)] = sum(int(((labels == each) != (one == each)).sum()) for one in answers)
    return sorted(sorted(mistakes, key=lambda each: (-mistakes[each], each))[:MOST_CLASSES])


def _counts(labels: Array, answers: Array, shown: list[int]) -> list[list[int]]:
    return [[int(((labels == label) & (answers == answer)).sum()) for answer in shown] for label in shown]


def _errors(outputs: Outputs) -> dict[str, Any] | None:
    """Return histograms on common edges: of errors, or without labels of how far the outputs turned (1 - cosine)."""
    labels = outputs.labels
    if labels is None:
        found = {"candidate": 1 - _cosines(outputs.baseline, outputs.candidate)}
        what = "1 - cosine of the outputs before and after"
    elif labels.size == outputs.baseline.size:
        pairs = {"baseline": outputs.baseline, "candidate": outputs.candidate}
        found = {name: (one.reshape(-1) - labels.reshape(-1)).astype(np.float64) for name, one in pairs.items()}
        what = "output - label"
    else:
        return None
    every = np.concatenate(list(found.values()))
    if not np.isfinite(every).all():
        return None
    edges = np.histogram_bin_edges(every, _BINS)
    counts = {name: np.histogram(values, edges)[0].tolist() for name, values in found.items()}
    return {"what": what, "edges": [float(f"{edge:.6g}") for edge in edges], **counts}


def _cosines(first: Array, second: Array) -> Array:
    one, other = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (first, second))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: Array = (one * other).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return found


def _projection(outputs: Outputs) -> dict[str, Any] | None:
    """Return both models' outputs on the two main axes of the baseline's, so that the pictures can be compared."""
    from sklearn.decomposition import PCA

    chosen = _some(outputs, MOST_POINTS)
    pair = _flat(outputs, chosen)
    if pair is None:
        return None
    before, after = pair
    axes = PCA(n_components=2, svd_solver="full").fit(before)
    return {
        "method": "PCA",
        "explained": [float(f"{share:.4g}") for share in axes.explained_variance_ratio_],
        "groups": _groups(outputs, chosen),
        "baseline": axes.transform(before).round(_DIGITS).tolist(),
        "candidate": axes.transform(after).round(_DIGITS).tolist(),
    }


def _neighbours(outputs: Outputs) -> dict[str, Any] | None:
    """Return embeddings of both models placed by t-SNE at once: what is alike is near, whichever model says it.

    Scores of a few classes are no embeddings: two axes show them well enough.

    Source: van der Maaten, Hinton, "Visualizing Data using t-SNE", JMLR 9 (2008) 2579.
    """
    from sklearn.manifold import TSNE

    chosen = _some(outputs, _MOST_NEIGHBOURS)
    pair = _flat(outputs, chosen)
    if pair is None or pair[0].shape[1] < _EMBEDDING or len(chosen) < _FEWEST_NEIGHBOURS:
        return None
    placing = TSNE(n_components=2, perplexity=min(30.0, len(chosen) / 4), init="pca", random_state=0, max_iter=500)
    places = placing.fit_transform(np.concatenate(pair)).astype(np.float64).round(_DIGITS)
    return {
        "method": "t-SNE",
        "groups": _groups(outputs, chosen),
        "baseline": places[: len(chosen)].tolist(),
        "candidate": places[len(chosen) :].tolist(),
    }


def _some(outputs: Outputs, most: int) -> Array:
    return np.unique(np.linspace(0, len(outputs.baseline) - 1, most).astype(int))


def _flat(outputs: Outputs, chosen: Array) -> tuple[Array, Array] | None:
    """Return some outputs of both as [N, numbers]; None where they do not compare or nothing varies."""
    before, after = (
        np.asarray(one[chosen], np.float64).reshape(len(chosen), -1) for one in (outputs.baseline, outputs.candidate)
    )
    if before.shape != after.shape or min(before.shape) < 3:
        return None
    if not np.isfinite(before).all() or not np.isfinite(after).all() or np.ptp(before) == 0:
        return None
    return before, after


def _groups(outputs: Outputs, chosen: Array) -> list[int] | None:
    labels = outputs.labels
    if labels is None or Task.of(labels) is not Task.CLASSES or labels.ndim != 1:
        return None
    groups: list[int] = labels[chosen].tolist()
    return groups
