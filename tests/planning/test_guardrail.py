import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.api.guardrail import Verdict
from trimtab.api.quantities import drop_limit
from trimtab.planning.guardrail import PairedCounts, accuracy_judgement, drop_interval

counts = st.builds(PairedCounts, st.integers(0, 2000), st.integers(0, 200), st.integers(0, 200), st.integers(1, 500))


@pytest.mark.parametrize(
    ("cells", "interval"),
    [
        # No disagreement: the largest drop at which none in 54 is still likely is Wilson's bound, z² / (n + z²).
        pytest.param((54, 0, 0, 0), (-0.0664, 0.0664), id="identical"),
        # Whom both models get right or wrong says nothing about the drop.
        pytest.param((30, 0, 0, 24), (-0.0664, 0.0664), id="identical and often wrong"),
        # Nothing gained: the interval is Wilson's of 30 lost in 54.
        pytest.param((0, 30, 0, 24), (0.4238, 0.6800), id="candidate always wrong"),
        pytest.param((36, 12, 2, 0), (0.0611, 0.3447), id="some of each"),
    ],
)
def test_interval_is_the_score_interval(cells, interval):
    """The interval holds the drops that the score test of the paper does not reject."""
    assert drop_interval(PairedCounts(*cells), 0.95) == pytest.approx(interval, abs=5e-5)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(100, 2000))
def test_no_drop_is_left_out_when_mcnemar_says_so(lost, gained, both):
    """Zero is outside the interval exactly when McNemar's test finds a difference."""
    lower, upper = drop_interval(PairedCounts(both, lost, gained, 10), 0.95)
    different = lost + gained > 0 and (lost - gained) ** 2 / (lost + gained) > 1.959964**2
    assert (lower > 1e-9 or upper < -1e-9) == different


@pytest.mark.parametrize("neither", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("gained", [0.0, 0.01, 0.05])
@pytest.mark.parametrize(("samples", "limit"), [(100, 0.03), (200, 0.01), (400, 0.01), (400, 0.03)])
def test_wrong_passes_are_rare(samples, limit, gained, neither):
    """Of models whose true drop is the limit, at most half of 5 % pass, computed exactly over all outcomes."""
    lost = gained + limit
    passed = 0.0
    for hits in range(samples + 1):
        for misses in range(samples + 1 - hits):
            chance = trinomial(samples, misses, hits, lost, gained)
            if chance < 1e-9:
                continue
            rest = samples - hits - misses
            beyond = round(rest * neither / (1 - lost - gained))
            counted = PairedCounts(rest - beyond, misses, hits, beyond)
            passed += chance * (drop_interval(counted, 0.95)[1] <= limit)
    assert passed <= 0.025


def trinomial(samples, misses, hits, lost, gained):
    """The probability of so many lost and gained answers."""
    rest = samples - misses - hits
    if (gained == 0 and hits) or (lost == 0 and misses):
        return 0.0
    logs = math.lgamma(samples + 1) - math.lgamma(misses + 1) - math.lgamma(hits + 1) - math.lgamma(rest + 1)
    logs += misses * math.log(lost) + (hits * math.log(gained) if hits else 0) + rest * math.log(1 - lost - gained)
    return math.exp(logs)


@given(counts)
def test_swapping_the_models_mirrors_the_interval(paired):
    """What one model loses, the other gains."""
    lower, upper = drop_interval(paired, 0.95)
    assert drop_interval(paired.swapped(), 0.95) == pytest.approx((-upper, -lower), abs=1e-12)


@given(counts)
def test_interval_holds_the_drop_and_widens_with_confidence(paired):
    """An interval contains its estimate, stays within -1..1, and more certainty costs width."""
    lower, upper = drop_interval(paired, 0.95)
    wider = drop_interval(paired, 0.99)
    assert -1 <= lower <= paired.drop + 1e-12
    assert paired.drop - 1e-12 <= upper <= 1
    assert wider[0] <= lower + 1e-12
    assert wider[1] >= upper - 1e-12


@pytest.mark.parametrize(
    ("samples", "lost", "gained", "both"),
    [
        (100, 0.05, 0.05, 0.85),
        (300, 0.03, 0.01, 0.92),
        (800, 0.02, 0.01, 0.95),
        (800, 0.1, 0.02, 0.7),
        (50, 0.1, 0.1, 0.5),
    ],
)
def test_interval_covers_the_true_drop(samples, lost, gained, both):
    """Of 95 % intervals at least 93 % contain the true drop, also with few disagreements."""
    draw = random.Random(7)
    shares = [both, lost, gained, 1 - both - lost - gained]
    hits, runs = 0, 600
    for _ in range(runs):
        drawn = draw.choices(range(4), weights=shares, k=samples)
        lower, upper = drop_interval(PairedCounts(*(drawn.count(cell) for cell in range(4))), 0.95)
        hits += lower <= lost - gained <= upper
    assert hits / runs >= 0.93


@pytest.mark.parametrize(
    ("cells", "limit", "verdict", "message"),
    [
        pytest.param(
            (790, 0, 0, 10),
            "1pp",
            Verdict.PASSED,
            "accuracy did not change (95% interval of the drop -0.5..0.5pp, n=800), limit 1pp",
            id="passed",
        ),
        pytest.param(
            (850, 40, 5, 5),
            "1pp",
            Verdict.FAILED,
            "accuracy fell 3.9pp (95% interval 2.6..5.5pp, n=900), limit 1pp",
            id="failed",
        ),
        pytest.param(
            (780, 5, 3, 12),
            "1pp",
            Verdict.INCONCLUSIVE,
            "accuracy fell 0.2pp (95% interval -0.5..1.1pp, n=800), limit 1pp; about 1,016 samples would settle it",
            id="too few",
        ),
        pytest.param(
            (780, 9, 1, 10),
            "1pp",
            Verdict.INCONCLUSIVE,
            "accuracy fell 1.0pp (95% interval 0.3..2.0pp, n=800), limit 1pp; no number of samples settles it: the "
            "drop is the limit itself",
            id="drop is the limit",
        ),
        pytest.param(
            (50, 0, 0, 0),
            "20pp",
            Verdict.INCONCLUSIVE,
            "accuracy did not change (95% interval of the drop -7.1..7.1pp, n=50), limit 20pp; 50 samples are fewer "
            "than minSamples 100: add 50",
            id="below the minimum",
        ),
        pytest.param(
            (700, 10, 60, 30),
            "1%",
            Verdict.PASSED,
            "accuracy rose 6.2pp (95% interval of the drop -8.4..-4.3pp, n=800), limit 1% of the original's score "
            "(0.89pp)",
            id="relative limit",
        ),
    ],
)
def test_verdicts(cells, limit, verdict, message):
    """Each verdict comes with a sentence that says what, how sure, and what would help."""
    judgement = accuracy_judgement(PairedCounts(*cells), drop_limit(limit), 0.95, 100)
    assert (judgement.verdict, judgement.message) == (verdict, message)


@given(counts.filter(lambda paired: paired.samples >= 20))
def test_the_required_samples_are_enough_and_not_too_many(paired):
    """With the shares unchanged, the number named settles the verdict and one less does not."""
    judgement = accuracy_judgement(paired, drop_limit("1pp"), 0.95, 1)
    if judgement.required_samples is None:
        return
    assert judgement.verdict is Verdict.INCONCLUSIVE

    def verdict(samples):
        return accuracy_judgement(paired.scaled(samples), drop_limit("1pp"), 0.95, 1).verdict

    assert verdict(judgement.required_samples) is not Verdict.INCONCLUSIVE
    assert judgement.required_samples == 1 or verdict(judgement.required_samples - 1) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_certainty_has_no_interval(confidence):
    """A confidence that no interval has is refused."""
    with pytest.raises(ValueError, match="use one between 0% and 100%"):
        accuracy_judgement(PairedCounts(90, 5, 4, 1), drop_limit("1pp"), confidence, 1)
