"""A candidate against the active revision: worse, good enough, or not known yet."""

import bisect
import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.gateway import BUCKETS, RevisionStats, bucket_bound_ms
from trimtab.api.guardrail import Verdict
from trimtab.api.serving import CanaryStep
from trimtab.planning.analysis import Finding, Tally, added, difference, judge, quantile_ms, slower


def step(**limits: Any) -> CanaryStep:
    return CanaryStep.model_validate({"weight": "10%", **limits})


BOUNDS = [bucket_bound_ms(bucket) for bucket in range(BUCKETS)]


def bucket(milliseconds: float) -> int:
    return bisect.bisect_left(BOUNDS, milliseconds)


def stats(requests: int, errors: int = 0, ms: float = 10, slow: int = 0, slow_ms: float = 500) -> RevisionStats:
    answers = {bucket(ms): requests - slow, bucket(slow_ms): slow}
    return RevisionStats(requests=requests, errors=errors, latencies={b: n for b, n in answers.items() if n})


def part(whole: RevisionStats, number: int, parts: int) -> RevisionStats:
    """Return one of equal parts, as nearly as counts can be divided."""

    def cut(count: int) -> int:
        return count * (number + 1) // parts - count * number // parts

    latencies = {b: cut(n) for b, n in whole.latencies.items()}
    return RevisionStats(requests=cut(whole.requests), errors=cut(whole.errors), latencies=latencies)


def found_of(limits: Any, candidate: RevisionStats, stable: RevisionStats, parts: int = 4) -> Finding:
    """Judge a step in whose parts the same happened, with minSamples 100."""
    tally = Tally()
    for number in range(parts):
        own, other = part(candidate, number, parts), part(stable, number, parts)
        tally = added(tally, step(**limits), own, other, stable)
    return judge(step(**limits), candidate, stable, tally, 100)


GOOD = stats(10_000)
SLOW_FIFTH = stats(500, slow=100)


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
        pytest.param({}, SLOW_FIFTH, GOOD, "Failed", "p95", id="a slow fifth"),
        pytest.param({}, stats(500, slow=15), GOOD, "Passed", "p95 is within", id="a slow thirtieth"),
        pytest.param({"maxP95Latency": "100ms"}, stats(500, ms=40), GOOD, "Passed", "100ms", id="allowed to be slow"),
        pytest.param({"maxP95Latency": "20ms"}, stats(500, ms=40), GOOD, "Failed", "(20ms)", id="slower than allowed"),
        pytest.param(
            {"maxP95Latency": "20ms"}, stats(500, ms=40), stats(900, ms=40), "Inconclusive", "20ms", id="all slow"
        ),
        pytest.param({}, stats(500, ms=4.7), stats(5000, ms=1.2), "Passed", "at least 5 ms more", id="both are fast"),
        pytest.param({}, stats(500, ms=9), stats(5000, ms=1.2), "Failed", "at least 5 ms more", id="fast no more"),
        pytest.param({}, stats(100, slow=9), GOOD, "Inconclusive", "beyond chance", id="slow, perhaps"),
        pytest.param({"maxP95Latency": "100ms"}, stats(200, slow=12), GOOD, "Inconclusive", "p95", id="nearly slow"),
    ],
)
def test_verdicts(limits: Any, candidate: RevisionStats, stable: RevisionStats, verdict: str, why: str) -> None:
    """Each verdict says which limit it rests on."""
    found = found_of(limits, candidate, stable)
    assert found.verdict.value == verdict, found
    assert why in found.why


def test_the_figures_are_told() -> None:
    """A person who reads of a rollback sees what happened to how many requests of whom, and what that proves."""
    found = found_of({}, stats(500, errors=50), GOOD)
    assert found.figures.startswith("50 of 500 requests failed (10.00%), p95 ")
    assert "; the active revision: 0 of 10,000 requests failed (0.00%), p95 " in found.figures
    assert "surely more than 5.02%" in found.why
    assert "20.0% of its answers are, surely more than 12.77%, where 5% may be" in found_of({}, SLOW_FIFTH, GOOD).why


def test_a_stall_is_no_slow_revision() -> None:
    """A p95 that was too high in three parts of a step, or in all but the last one, does not count yet."""
    bad, good = stats(100, ms=200), stats(100)
    for parts, verdict in (([bad] * 3, "Inconclusive"), ([bad] * 9 + [good], "Inconclusive"), ([bad] * 4, "Failed")):
        tally = Tally()
        for one in parts:
            tally = added(tally, step(), one, GOOD, GOOD)
        assert judge(step(), stats(100 * len(parts)), GOOD, tally, 100).verdict.value == verdict


def test_each_part_is_compared_with_itself() -> None:
    """What a stall of both leaves in line comes at once, and to the candidate more than its share: it is no worse."""
    crowd, tally = stats(800, errors=80, ms=40), Tally()
    for candidate, stable in ((stats(40), stats(360)), (crowd, crowd), (stats(40), stats(360)), (crowd, crowd)):
        tally = added(tally, step(), candidate, stable, GOOD)
    found = judge(step(), stats(1680, errors=160), stats(2320, errors=160), tally, 100)
    assert found.verdict is Verdict.PASSED, found


def test_a_part_without_answers_of_the_active_revision() -> None:
    """The p95 of the whole step stands in for that of a part in which few of its answers came."""
    tally = Tally()
    for number in range(1, 13):
        tally = added(tally, step(), stats(20, ms=200), stats(9), stats(9 * number))
    assert judge(step(), stats(240), stats(108), tally, 100).verdict is Verdict.FAILED
    assert tally.slow.total == 200, "the first two parts had no p95 to compare with"


histograms = st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 1000), min_size=1)
Draw = Callable[[random.Random], list[list[float]]]
"""The milliseconds of a part's answers: the candidate's, and the active revision's."""


@given(histograms.filter(lambda counts: sum(counts.values()) >= 19), histograms)
def test_only_answers_beyond_the_active_revisions_p95_are_slow(stable: dict[int, int], own: dict[int, int]) -> None:
    """However they are distributed and read from buckets: chance makes no more of them than a bound reckons with."""
    others = sum(stable.values())
    other = RevisionStats(requests=others, latencies=stable)
    slow = added(Tally(), step(), RevisionStats(requests=sum(own.values()), latencies=own), other, other).slow
    ranked = itertools.chain.from_iterable([b] * n for b, n in sorted(stable.items()))
    p95 = next(itertools.islice(ranked, -(-95 * (others + 1) // 100) - 1, None))
    assert slow.hits <= sum(n for b, n in own.items() if b > p95)
    assert slow.all_hits - slow.hits == pytest.approx(0.05 * others)


def lived(seed: int, draw: Draw, parts: int) -> Iterator[Verdict]:
    """Yield the verdicts of a step, part by part."""
    rng, tally = random.Random(seed), Tally()
    seen = [Counter[int](), Counter[int]()]
    for _ in range(parts):
        latest = [Counter(bucket(ms) for ms in times) for times in draw(rng)]
        for whole, more in zip(seen, latest, strict=True):
            whole.update(more)
        own, other, candidate, stable = (RevisionStats(requests=c.total(), latencies=c) for c in (*latest, *seen))
        tally = added(tally, step(), own, other, stable)
        yield judge(step(), candidate, stable, tally, 100).verdict


@pytest.mark.parametrize(("own", "other"), [(20, 180), (50, 50), (200, 50)])
def test_twice_as_slow_is_found(own: int, other: int) -> None:
    """Twice a p95 of 20 ms is found within 20 parts, and usually within some 400 answers or 6 parts."""

    def draw(rng: random.Random) -> list[list[float]]:
        return [[rng.lognormvariate(math.log(ms), 0.3) for _ in range(n)] for ms, n in ((24.4, own), (12.2, other))]

    verdicts = [list(lived(seed, draw, 20)) for seed in range(25)]
    found = [seen.index(Verdict.FAILED) + 1 if Verdict.FAILED in seen else math.inf for seen in verdicts]
    assert max(found) <= 20, found
    assert statistics.median(found) <= max(6, 400 / own), found


def test_stalls_do_not_add_up_to_a_slow_revision() -> None:
    """Each replica stands still now and then, and what came meanwhile is slow: many at once, and no slow revision."""

    def draw(rng: random.Random) -> list[list[float]]:
        stalled = [rng.randrange(5, n // 2) if rng.random() < 0.15 else 0 for n in (40, 160)]
        return [
            [rng.uniform(20, 300) if i < count else rng.uniform(0.7, 2) for i in range(n)]
            for count, n in zip(stalled, (40, 160), strict=True)
        ]

    for seed in range(40):
        assert Verdict.FAILED not in lived(seed, draw, 20), seed


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
    assert found_of(limits, candidate, stable).verdict in Verdict
    if stable.requests >= 100:
        assert found_of(limits, stable, stable).verdict is not Verdict.FAILED


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
