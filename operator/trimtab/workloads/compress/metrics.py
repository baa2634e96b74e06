"""How well a model does, from its outputs and the labels; and how far the candidate fell behind, with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import NormalDist

import numpy as np

from trimtab.api.guardrail import Metric
from trimtab.api.quantities import DropLimit
from trimtab.planning.guardrail import (
    Estimate,
    Judgement,
    PairedCounts,
    accuracy_judgement,
    drop_interval,
    estimated_judgement,
)
from trimtab.workloads.compress.bootstrap import Statistic, bootstrap_interval
from trimtab.workloads.compress.datasets import Array

SEED = 0


class UnscorableError(ValueError):
    """Outputs and labels that a metric cannot be told from; the message says what it needs."""


def judgement(
    metric: Metric,
    baseline: Array,
    candidate: Array,
    labels: Array | None,
    limit: DropLimit,
    confidence: float,
    min_samples: int,
    top_k: int,
) -> Judgement:
    """Judge a candidate: outputs of both models [N, ...] on the same samples, labels [N, ...] where the metric has any.

    Raises:
        UnscorableError: The metric cannot be told from these outputs and labels.
        ValueError: The confidence is none.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence:.0%} has no interval; use one between 0% and 100%, such as 95%")
    if metric in _RIGHT:
        right = partial(_RIGHT[metric], labels=_given(labels), top_k=top_k)
        counts = paired_counts(right(baseline), right(candidate))
        return accuracy_judgement(counts, limit, confidence, min_samples, metric)
    first, second = _scores(metric, baseline, candidate, labels)
    ones = np.ones((1, len(baseline)))
    before, after = float(first(ones)[0]), float(second(ones)[0])
    if not np.isfinite([before, after]).all():
        why = "it needs at least two classes in the labels"
        if metric.is_error:
            why = f"answers are NaN or infinite (the original's score {before:g}, the result's {after:g})"
        raise UnscorableError(f"{metric.value} is not defined on these samples; {why}")
    drop = _drop_of(metric, first, second, relative=limit.relative)
    fell = float(drop(ones)[0])
    lower, upper = bootstrap_interval(drop, len(baseline), confidence, SEED)
    if metric is Metric.F1:
        below, above = _arms_of_accuracy(baseline, candidate, _given(labels), confidence)
        lower, upper = min(lower, fell - below), max(upper, fell + above)
    estimate = Estimate(before, after, fell, lower, upper, len(baseline), limit.relative)
    return estimated_judgement(metric, estimate, limit, confidence, min_samples)


def score(metric: Metric, baseline: Array, outputs: Array, labels: Array | None, top_k: int) -> float:
    """Return the plain score of some outputs; `baseline` is what the original says, for cosine similarity.

    Raises:
        UnscorableError: As in `judgement`.
    """
    if metric in _RIGHT:
        return float(_RIGHT[metric](outputs, labels=_given(labels), top_k=top_k).mean())
    _, second = _scores(metric, baseline, outputs, labels)
    return float(second(np.ones((1, len(outputs))))[0])


def score_intervals(
    metric: Metric, baseline: Array, candidate: Array, labels: Array | None, confidence: float, top_k: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the interval of each model's own score: Wilson's for shares of right answers, else the bootstrap's.

    Raises:
        UnscorableError: As in `judgement`.
    """
    if metric in _RIGHT:
        right = partial(_RIGHT[metric], labels=_given(labels), top_k=top_k)
        first, second = (_wilson(right(outputs), confidence) for outputs in (baseline, candidate))
        return first, second
    statistics = _scores(metric, baseline, candidate, labels)
    low, high = (bootstrap_interval(one, len(baseline), confidence, SEED) for one in statistics)
    return low, high


def paired_counts(first: Array, second: Array) -> PairedCounts:
    """Count who was right, sample by sample; both are bool [N]."""
    return PairedCounts(
        both=int((first & second).sum()),
        lost=int((first & ~second).sum()),
        gained=int((~first & second).sum()),
        neither=int((~first & ~second).sum()),
    )


def classes_of(outputs: Array) -> Array:
    """Return a class per sample, int64 [N], from scores [N, C] or from classes [N]; -1 where a score is NaN.

    Raises:
        UnscorableError: They are neither.
    """
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        classes: Array = np.where(_says_nothing(outputs), -1, outputs.argmax(axis=1))
        return classes
    if outputs.ndim == 1 and np.issubdtype(outputs.dtype, np.integer):
        return outputs
    raise UnscorableError(
        f"for {len(outputs)} samples the model gives {outputs.dtype} {list(outputs.shape)}; scores [samples, classes] "
        "or classes [samples] are needed as its first output"
    )


def _says_nothing(outputs: Array) -> Array:
    """Return which answers hold a NaN, bool [N]; to numpy it is the highest score, and class 0 seems to be meant."""
    if not np.issubdtype(outputs.dtype, np.floating):
        return np.zeros(len(outputs), bool)
    return np.asarray(np.isnan(outputs).reshape(len(outputs), -1).any(axis=1))


def _accuracy(outputs: Array, *, labels: Array, top_k: int) -> Array:
    del top_k
    right: Array = classes_of(outputs) == _class_labels(labels)
    return right


def _top_k(outputs: Array, *, labels: Array, top_k: int) -> Array:
    classes = outputs.shape[1] if outputs.ndim == 2 else 0
    if classes <= top_k:
        raise UnscorableError(
            f"the model gives {outputs.dtype} {list(outputs.shape)}; top-{top_k} accuracy needs scores "
            f"[samples, classes] of more than {top_k} classes"
        )
    best = np.argpartition(-outputs, top_k - 1, axis=1)[:, :top_k]
    right: Array = (best == _class_labels(labels)[:, None]).any(axis=1) & ~_says_nothing(outputs)
    return right


def _exact_match(outputs: Array, *, labels: Array, top_k: int) -> Array:
    """Compare every element of an answer: sequences of classes, or classes alone."""
    del top_k
    answers = outputs
    if np.issubdtype(outputs.dtype, np.floating):
        answers = outputs.argmax(axis=-1) if outputs.ndim == labels.ndim + 1 else np.rint(outputs)
    if answers.shape != labels.shape:
        raise UnscorableError(
            f"answers have shape {list(answers.shape)} and labels {list(labels.shape)}; ExactMatch compares them "
            "element by element"
        )
    right: Array = (answers == labels).reshape(len(labels), -1).all(axis=1) & ~_says_nothing(outputs)
    return right


def _wilson(right: Array, confidence: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share; it never leaves 0 to 1, and has a width where all are right."""
    z, count, share = NormalDist().inv_cdf((1 + confidence) / 2), len(right), float(right.mean())
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max((middle - spread) / scale, 0.0), min((middle + spread) / scale, 1.0)


_RIGHT: dict[Metric, Callable[..., Array]] = {
    Metric.ACCURACY: _accuracy,
    Metric.TOP_K_ACCURACY: _top_k,
    Metric.EXACT_MATCH: _exact_match,
}


def _scores(metric: Metric, baseline: Array, candidate: Array, labels: Array | None) -> tuple[Statistic, Statistic]:
    """Return the score of each model as a function of how often each sample counts."""
    if metric is Metric.COSINE_SIMILARITY:
        return partial(_mean, np.ones(len(baseline))), partial(_mean, _cosines(baseline, candidate))
    given = _given(labels)
    statistics = {
        Metric.F1: _f1,
        Metric.AUROC: _auroc,
        Metric.MEAN_ABSOLUTE_ERROR: _absolute,
        Metric.ROOT_MEAN_SQUARED_ERROR: _squared,
    }
    return statistics[metric](baseline, given), statistics[metric](candidate, given)


def _drop_of(metric: Metric, first: Statistic, second: Statistic, *, relative: bool) -> Statistic:
    def drop(weights: Array) -> Array:
        before, after = first(weights), second(weights)
        lost = after - before if metric.is_error else before - after
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Array = np.where(lost == 0, 0.0, lost / before) if relative else lost
        return found

    return drop


def _arms_of_accuracy(baseline: Array, candidate: Array, labels: Array, confidence: float) -> tuple[float, float]:
    """Return how far the interval of the drop in accuracy reaches below and above it.

    Answers are discrete: where the models agree on every sample drawn, resampling finds no spread at all, though they
    may disagree on the next one. F1 is known no better than accuracy.
    """
    given = _class_labels(labels)
    counts = paired_counts(classes_of(baseline) == given, classes_of(candidate) == given)
    lower, upper = drop_interval(counts, confidence)
    return counts.drop - lower, upper - counts.drop


def _mean(values: Array, weights: Array) -> Array:
    found: Array = weights @ values / weights.sum(axis=1)
    return found


def _cosines(baseline: Array, candidate: Array) -> Array:
    """Return the cosine per sample; two answers of nothing but zeros agree."""
    first, second = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (baseline, candidate))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    same = (first == second).all(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = (first * second).sum(axis=1) / lengths
    return np.where(same, 1.0, np.nan_to_num(cosines, nan=0.0, posinf=0.0, neginf=0.0))


def _f1(outputs: Array, labels: Array) -> Statistic:
    """Return F1 averaged over the classes that occur, in labels or answers."""
    given, answers = _class_labels(labels), classes_of(outputs)
    classes = np.unique(np.concatenate([given, answers]))
    is_label, is_answer = given[:, None] == classes, answers[:, None] == classes
    cells = np.hstack([is_label & is_answer, is_label, is_answer]).astype(np.float64)

    def statistic(weights: Array) -> Array:
        hits, wanted, said = np.split(weights @ cells, 3, axis=1)
        occurs = wanted + said > 0
        scores = np.divide(2 * hits, wanted + said, out=np.zeros_like(hits), where=occurs)
        found: Array = scores.sum(axis=1) / occurs.sum(axis=1)
        return found

    return statistic


def _auroc(outputs: Array, labels: Array) -> Statistic:
    """Return the area under the ROC curve; over several classes, each against the rest, averaged."""
    given = _class_labels(labels)
    scores = outputs.reshape(len(outputs), -1)
    if not np.issubdtype(scores.dtype, np.floating):
        raise UnscorableError(f"the model gives classes ({outputs.dtype}); AUROC needs scores")
    if unordered := int(_says_nothing(scores).sum()):
        raise UnscorableError(f"{unordered:,} of {len(scores):,} answers are NaN, which AUROC cannot put in an order")
    if scores.shape[1] == 1:
        return _area(scores[:, 0], given == 1)
    if scores.shape[1] == 2:
        return _area(scores[:, 1] - scores[:, 0], given == 1)
    areas = [_area(scores[:, column], given == column) for column in range(scores.shape[1]) if (given == column).any()]
    return lambda weights: np.mean([area(weights) for area in areas], axis=0)


def _area(scores: Array, positive: Array) -> Statistic:
    """Count pairs of a positive and a negative in the right order; ties count half."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    is_positive = positive[order].astype(np.float64)

    def statistic(weights: Array) -> Array:
        ordered = weights[:, order]
        positives = np.add.reduceat(ordered * is_positive, starts, axis=1)
        negatives = np.add.reduceat(ordered * (1 - is_positive), starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Array = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
        return found

    return statistic


def _absolute(outputs: Array, labels: Array) -> Statistic:
    return partial(_mean, np.abs(_errors(outputs, labels)).mean(axis=1))


def _squared(outputs: Array, labels: Array) -> Statistic:
    squares = (_errors(outputs, labels) ** 2).mean(axis=1)
    return lambda weights: np.sqrt(_mean(squares, weights))


def _errors(outputs: Array, labels: Array) -> Array:
    if outputs.size != labels.size:
        raise UnscorableError(
            f"the model gives {list(outputs.shape)} and the labels are {list(labels.shape)}; an error needs one number "
            "per label"
        )
    shape = (len(labels), -1)
    found: Array = outputs.reshape(shape).astype(np.float64) - labels.reshape(shape).astype(np.float64)
    return found


def _class_labels(labels: Array) -> Array:
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UnscorableError(
            f"the labels are {labels.dtype} {list(labels.shape)}; one integer class per sample is needed"
        )
    return labels


def _given(labels: Array | None) -> Array:
    if labels is None:
        raise UnscorableError("the data set has no labels; add them, or use metric CosineSimilarity, which needs none")
    return labels
