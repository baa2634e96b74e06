"""A candidate against the active revision: worse, good enough, or not known yet."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.gateway import BUCKETS, RevisionStats, bucket_bound_ms
from trimtab.api.guardrail import Verdict
from trimtab.api.serving import CanaryStep
from trimtab.planning.analysis import difference, judge, quantile_ms, slower


def step(**limits: Any) -> CanaryStep:
    return CanaryStep.model_validate({"weight": "10%", **limits})


def bucket(milliseconds: float) -> int:
    return next(b for b in range(BUCKETS) if milliseconds <= bucket_bound_ms(b))


def stats(requests: int, errors: int = 0, ms: float = 10, slow: int = 0, slow_ms: float = 500) -> RevisionStats:
    answers = {bucket(ms): requests - slow, bucket(slow_ms): slow}
    return RevisionStats(requests=requests, errors=errors, latencies={b: n for b, n in answers.items() if n})


GOOD = stats(10_000)


@pytest.mark.parametrize(
    ("limits", "candidate", "stable", "verdict", "why"),
    [
        pytest.param({}, stats(500), GOOD, "Passed", "within 1.5 times", id="as good"),
        pytest.param({}, stats(99), GOOD, "Inconclusive", "fewer than minSamples (100)", id="too few"),
        pytest.param({}, stats(99, errors=99), GOOD, "Inconclusive", "fewer", id="too few, all failed"),
        pytest.param({}, stats(500, errors=50), GOOD, "Failed", "more of its requests fail", id="more errors"),
        pytest.param({}, stats(500, errors=50), stats(5000, errors=500), "Passed", "no more", id="everybody fails"),
        pytest.param({}, stats(500, errors=1), GOOD, "Passed", "no more", id="one error is chance"),
        pytest.param({"maxErrorRate": "5%"}, stats(500, errors=15), GOOD, "Passed", "within", id="allowed errors"),
        pytest.param({"maxErrorRate": "1%"}, stats(500, errors=60), GOOD, "Failed", "maxErrorRate (1%)", id="above"),
        pytest.param(
            {"maxErrorRate": "1%"}, stats(500, errors=7), GOOD, "Inconclusive", "not beyond chance", id="not sure"
        ),
        pytest.param(
            {"maxErrorRate": "1%"},
            stats(500, errors=60),
            stats(5000, errors=600),
            "Inconclusive",
            "or the active revision's",
            id="above, as everybody",
        ),
        pytest.param({"maxErrorRate": "1%"}, stats(500, errors=60), stats(3), "Failed", "1%", id="nobody to compare"),
        pytest.param({}, stats(500, errors=60), stats(3), "Passed", "", id="neither limit nor anybody to compare"),
        pytest.param({}, stats(500, ms=40), GOOD, "Failed", "p95 is above 1.5 times", id="slower"),
        pytest.param({}, stats(500, slow=100), GOOD, "Failed", "p95", id="a slow fifth"),
        pytest.param({}, stats(500, slow=15), GOOD, "Passed", "p95 is within", id="a slow thirtieth"),
        pytest.param({"maxP95Latency": "100ms"}, stats(500, ms=40), GOOD, "Passed", "100ms", id="allowed to be slow"),
        pytest.param({"maxP95Latency": "20ms"}, stats(500, ms=40), GOOD, "Failed", "(20ms)", id="slower than allowed"),
        pytest.param(
            {"maxP95Latency": "20ms"}, stats(500, ms=40), stats(900, ms=40), "Inconclusive", "20ms", id="all slow"
        ),
        pytest.param({"maxP95Latency": "100ms"}, stats(200, slow=12), GOOD, "Inconclusive", "p95", id="nearly slow"),
    ],
)
def test_verdicts(limits: Any, candidate: RevisionStats, stable: RevisionStats, verdict: str, why: str) -> None:
    """Each verdict says which limit it rests on."""
    found = judge(step(**limits), candidate, stable, 100)
    assert found.verdict.value == verdict, found
    assert why in found.why


def test_the_figures_are_told() -> None:
    """A person who reads of a rollback sees what happened to how many requests of whom."""
    found = judge(step(), stats(500, errors=50), GOOD, 100)
    assert found.figures.startswith("50 of 500 requests failed (10.00%), p95 ")
    assert "; the active revision: 0 of 10,000 requests failed (0.00%), p95 " in found.figures


def test_good_candidates_are_rarely_rolled_back() -> None:
    """The same error rate on both sides, looked at each second for two minutes: at most 2 of 200 fail by chance."""
    rng = random.Random(5)
    failed = 0
    for _ in range(200):
        counts = [0, 0, 0, 0]
        for _ in range(120):
            for side, n in ((0, 5), (2, 45)):
                counts[side] += n
                counts[side + 1] += sum(rng.random() < 0.02 for _ in range(n))
            found = judge(step(), stats(counts[0], counts[1]), stats(counts[2], counts[3]), 100)
            if found.verdict is Verdict.FAILED:
                failed += 1
                break
    assert failed <= 2


histograms = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 1000), min_size=1)


@given(histograms, st.floats(0.01, 0.99))
def test_a_quantile_splits_the_answers(latencies: dict[int, int], share: float) -> None:
    """As many answers are slower than the quantile as its share says."""
    limit = quantile_ms(latencies, share)
    assert limit is not None
    total = sum(latencies.values())
    assert slower(latencies, limit) == pytest.approx((1 - share) * total, abs=1e-6 * total)


counts = st.builds(
    lambda requests, errors, latencies: RevisionStats(
        requests=requests, errors=min(errors, requests), latencies=latencies
    ),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    histograms,
)


@given(counts, counts, st.sampled_from([{}, {"maxErrorRate": "1%", "maxP95Latency": "50ms"}]))
def test_nobody_fails_for_nothing(candidate: RevisionStats, stable: RevisionStats, limits: dict[str, str]) -> None:
    """Any counts give a verdict; a candidate never fails against its equal."""
    assert judge(step(**limits), candidate, stable, 100).verdict in Verdict
    if stable.requests >= 100:
        assert judge(step(**limits), stable, stable, 100).verdict is not Verdict.FAILED


@given(counts, counts)
def test_what_was_counted_in_between(then: RevisionStats, more: RevisionStats) -> None:
    """Two looks differ by what came in between; counters that fell were started anew."""
    merged = {b: then.latencies.get(b, 0) + more.latencies.get(b, 0) for b in {*then.latencies, *more.latencies}}
    now = RevisionStats(requests=then.requests + more.requests, errors=then.errors + more.errors, latencies=merged)
    found = difference(now, then)
    assert found is not None
    assert (found.requests, found.errors) == (more.requests, more.errors)
    assert {b: n for b, n in found.latencies.items() if n} == more.latencies
    assert difference(RevisionStats(), now) is None
