"""Metrics agree with scikit-learn's, and a guardrail of any metric rarely passes what it should not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from trimtab.api.guardrail import Metric, Verdict
from trimtab.api.quantities import drop_limit
from trimtab.workloads.compress.bootstrap import bootstrap_interval
from trimtab.workloads.compress.metrics import UnscorableError, judgement, score


def outputs_of(labels, classes, error, draw):
    """Scores whose best class is the label, but for a share of the samples."""
    scores = draw.normal(size=(len(labels), classes))
    right = draw.random(len(labels)) >= error
    scores[right, labels[right]] += 9
    wrong = np.flatnonzero(~right)
    scores[wrong, (labels[wrong] + 1 + draw.integers(0, classes - 1, len(wrong))) % classes] += 9
    return scores.astype(np.float32)


@given(st.integers(0, 2**31), st.integers(2, 6), st.floats(0.0, 0.8))
@settings(max_examples=50, deadline=None)
def test_scores_agree_with_scikit_learn(seed, classes, error):
    """Accuracy, top-k, F1, AUROC and errors are the reference's, on any outputs."""
    draw = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), draw.integers(0, classes, 60)])
    scores = outputs_of(labels, classes, error, draw)
    answers = scores.argmax(1)
    numbers, guesses = draw.normal(size=80), draw.normal(size=(80, 1)).astype(np.float32)
    expected = {
        Metric.ACCURACY: reference.accuracy_score(labels, answers),
        Metric.F1: reference.f1_score(labels, answers, average="macro"),
        Metric.MEAN_ABSOLUTE_ERROR: reference.mean_absolute_error(numbers, guesses),
        Metric.ROOT_MEAN_SQUARED_ERROR: reference.root_mean_squared_error(numbers, guesses),
    }
    if classes > 2:
        expected[Metric.TOP_K_ACCURACY] = reference.top_k_accuracy_score(labels, scores, k=2)
        areas = [reference.roc_auc_score(labels == c, scores[:, c]) for c in range(classes)]
        expected[Metric.AUROC] = np.mean(areas)
    else:
        expected[Metric.AUROC] = reference.roc_auc_score(labels, scores[:, 1] - scores[:, 0])
    for metric, value in expected.items():
        given_outputs, given_labels = (guesses, numbers) if metric.is_error else (scores, labels)
        assert score(metric, given_outputs, given_outputs, given_labels, 2) == pytest.approx(value, abs=1e-6), metric


def test_ties_count_half_in_auroc():
    """Equal scores are half right, as in the rank statistic."""
    scores, labels = np.array([0.1, 0.5, 0.5, 0.5, 0.9, 0.1], np.float32), np.array([0, 1, 0, 1, 1, 1])
    assert score(Metric.AUROC, scores, scores, labels, 5) == pytest.approx(reference.roc_auc_score(labels, scores))


def test_exact_match_wants_every_element():
    """One wrong token makes a sequence wrong; scores, rounded numbers and tokens are compared alike."""
    labels = np.array([[1, 2], [0, 2], [1, 0]])
    scores = np.eye(3, dtype=np.float32)[np.array([[1, 2], [0, 1], [1, 0]])]
    for answers in (scores, scores.argmax(-1), scores.argmax(-1) + 0.2):
        assert score(Metric.EXACT_MATCH, answers, answers, labels, 5) == pytest.approx(2 / 3)


def test_cosine_compares_with_the_original():
    """Scaled answers are the same direction, opposite ones are -1, and zeros agree with zeros."""
    original = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert score(Metric.COSINE_SIMILARITY, original, original * 3, None, 5) == pytest.approx(1)
    assert score(Metric.COSINE_SIMILARITY, original, -original, None, 5) == pytest.approx(-1 / 3)


def classified(metric):
    """A world of samples for which the candidate is worse by a known drop: (base error, more errors) → outputs."""

    def world(draw, samples, true_drop):
        labels = draw.integers(0, 3, samples)
        base = outputs_of(labels, 3, 0.1, draw)
        worse = base.copy()
        flipped = draw.random(samples) < true_drop / 0.9  # only right answers can become wrong
        right = base.argmax(1) == labels
        hit = flipped & right
        worse[hit] = np.roll(worse[hit], 1, axis=1)
        return metric, base, worse, labels

    return world


def regressed(metric):
    """Errors that are larger by a known share."""

    def world(draw, samples, true_drop):
        labels = draw.normal(size=samples)
        errors = draw.standard_t(5, size=samples)
        other = draw.standard_t(5, size=samples)
        mixed = 0.8 * errors + 0.6 * other  # correlated with the original's, as large on average as they are
        size = np.sqrt(0.8**2 + 0.6**2)
        return metric, labels + errors, labels + mixed / size * (1 + true_drop), labels

    return world


def embedded(draw, samples, true_drop):
    """Embeddings turned by random angles whose mean cosine is 1 - drop."""
    angles = np.arccos(np.clip(1 - draw.exponential(true_drop, samples), -1, 1))
    base = np.tile([[1.0, 0.0]], (samples, 1))
    return Metric.COSINE_SIMILARITY, base, np.column_stack([np.cos(angles), np.sin(angles)]), None


def wrong_passes(world, samples, limit, runs):
    """The share of runs that pass though the true drop is just above the limit."""
    passed = 0
    for run in range(runs):
        draw = np.random.default_rng(run)
        metric, base, candidate, labels = world(draw, samples, limit + 1e-6)
        text = f"{limit * 100:g}%" if metric.is_error else f"{limit * 100:g}pp"
        found = judgement(metric, base, candidate, labels, drop_limit(text), 0.95, 50, 2)
        passed += found.verdict is Verdict.PASSED
    return passed / runs


@pytest.mark.parametrize("samples", [100, 400])
@pytest.mark.parametrize(
    ("world", "limit"),
    [
        pytest.param(classified(Metric.ACCURACY), 0.03, id="Accuracy"),
        pytest.param(classified(Metric.F1), 0.03, id="F1"),
        pytest.param(regressed(Metric.ROOT_MEAN_SQUARED_ERROR), 0.1, id="RootMeanSquaredError"),
        pytest.param(embedded, 0.02, id="CosineSimilarity"),
    ],
)
def test_wrong_passes_are_rare(world, limit, samples):
    """A model whose true drop is the limit passes in at most 1 - confidence of all cases."""
    assert wrong_passes(world, samples, limit, 100) <= 0.05


@pytest.mark.parametrize("metric", [Metric.COSINE_SIMILARITY, Metric.AUROC, Metric.ROOT_MEAN_SQUARED_ERROR])
def test_the_same_model_passes(metric):
    """Equal numbers for every sample are the same model: it passes any limit, at a drop of zero."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 200)
    outputs = labels + draw.normal(size=200) if metric.is_error else outputs_of(labels, 3, 0.2, draw)
    found = judgement(metric, outputs, outputs, labels, drop_limit("1%"), 0.95, 100, 5)
    assert (found.verdict, found.drop, found.lower, found.upper) == (Verdict.PASSED, 0, 0, 0)


def test_agreeing_on_few_samples_is_no_proof():
    """Two classifiers that agree on every one of 100 samples may still differ on the 101st: F1 says so, as accuracy."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 100)
    outputs = outputs_of(labels, 3, 0.2, draw)
    found = judgement(Metric.F1, outputs, outputs, labels, drop_limit("3pp"), 0.95, 100, 5)
    assert (found.verdict, found.drop) == (Verdict.INCONCLUSIVE, 0)
    assert found.upper == pytest.approx(0.037, abs=5e-4)


def test_a_worse_candidate_fails_with_a_sentence():
    """Errors that doubled fail, and the sentence says by how much in the words of the metric."""
    draw = np.random.default_rng(0)
    labels, noise = draw.normal(size=500), draw.normal(size=500)
    found = judgement(
        Metric.MEAN_ABSOLUTE_ERROR, labels + noise, labels + 2 * noise, labels, drop_limit("5%"), 0.95, 100, 5
    )
    assert found.verdict is Verdict.FAILED
    assert found.message == (
        "mean absolute error grew 100.0% (95% interval 100.0..100.0%, n=500), limit 5% of the original's error"
    )


def test_more_samples_are_named_and_settle_it():
    """An inconclusive bootstrap says how many samples would do, and about as many do."""
    draw = np.random.default_rng(3)

    def judge(samples):
        _, base, worse, labels = classified(Metric.F1)(draw, samples, 0.005)
        return judgement(Metric.F1, base, worse, labels, drop_limit("1pp"), 0.95, 100, 5)

    first = judge(300)
    assert first.verdict is Verdict.INCONCLUSIVE
    assert f"about {first.required_samples:,} samples would settle it" in first.message
    assert judge(6 * first.required_samples).verdict is Verdict.PASSED


def test_interval_of_a_mean_is_the_normal_one():
    """For the mean of many samples, the bootstrap gives what the formula gives."""
    values = np.random.default_rng(0).normal(3, 2, size=2000)
    low, high = bootstrap_interval(lambda weights: weights @ values / weights.sum(axis=1), 2000, 0.95, seed=1)
    arm = 1.96 * values.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - arm, values.mean() + arm), abs=arm / 10)


SCORES, CLASSES = np.zeros((4, 3), np.float32), np.zeros(4, np.int64)


@pytest.mark.parametrize(
    ("metric", "outputs", "labels", "says"),
    [
        (Metric.ACCURACY, SCORES, None, "no labels; add them, or use metric CosineSimilarity"),
        (Metric.ACCURACY, SCORES, np.zeros(4), "one integer class per sample is needed"),
        (Metric.ACCURACY, SCORES[:, :1], CLASSES, "scores [samples, classes] or classes [samples] are needed"),
        (Metric.TOP_K_ACCURACY, SCORES, CLASSES, "needs scores [samples, classes] of more than 5 classes"),
        (Metric.AUROC, CLASSES, CLASSES, "AUROC needs scores"),
        (Metric.AUROC, SCORES[:, :2], CLASSES, "AUROC is not defined on these samples; it needs at least two classes"),
        (Metric.EXACT_MATCH, SCORES, CLASSES[:, None], "ExactMatch compares them element by element"),
        (Metric.MEAN_ABSOLUTE_ERROR, SCORES, np.zeros(4), "an error needs one number per label"),
        (Metric.MEAN_ABSOLUTE_ERROR, np.full(4, np.nan), np.zeros(4), "answers are NaN or infinite (the original's"),
    ],
)
def test_what_cannot_be_scored_is_said(metric, outputs, labels, says):
    """A metric that does not fit the outputs or labels says what it needs."""
    with pytest.raises(UnscorableError) as raised:
        judgement(metric, outputs, outputs, labels, drop_limit("1%"), 0.95, 1, 5)
    assert says in str(raised.value)


@pytest.mark.parametrize("metric", [Metric.ACCURACY, Metric.TOP_K_ACCURACY, Metric.F1])
def test_an_answer_of_nan_is_never_right(metric):
    """What overflowed says nothing, though to numpy a NaN is the highest score: nearly all labels are class 0 here."""
    draw = np.random.default_rng(0)
    labels = (draw.random(2000) < 0.02).astype(np.int64) * draw.integers(1, 4, 2000)
    good = outputs_of(labels, 4, 0.01, draw)
    broken = np.where(draw.random((2000, 1)) < 0.9, np.float32("nan"), good)
    limit = drop_limit("3pp")
    assert judgement(metric, good, good, labels, limit, 0.95, 100, 2).verdict is Verdict.PASSED
    assert judgement(metric, good, broken, labels, limit, 0.95, 100, 2).verdict is Verdict.FAILED


def test_auroc_of_nan_is_refused():
    """Scores that overflowed have no order."""
    labels, scores = np.array([0, 1] * 100), np.linspace(0, 1, 200, dtype=np.float32)
    broken = np.where(labels == 1, np.float32("nan"), scores)
    with pytest.raises(UnscorableError, match="100 of 200 answers are NaN"):
        judgement(Metric.AUROC, scores, broken, labels, drop_limit("1pp"), 0.95, 100, 5)
