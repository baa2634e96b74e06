"""The best of many tries is judged as if it had been the only one: no verdict is bought by trying often."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trimtab.api.compression import Objective, Step
from trimtab.api.guardrail import Guardrail, Metric, Verdict
from trimtab.api.quantities import fraction
from trimtab.api.status import GuardrailStatus
from trimtab.planning.guardrail import PairedCounts, drop_interval
from trimtab.workloads.compress.evaluate import Latency
from trimtab.workloads.compress.judging import Finding
from trimtab.workloads.compress.search import finals
from trimtab.workloads.compress.search.finals import Finals
from trimtab.workloads.compress.search.pareto import ranked
from trimtab.workloads.compress.search.summary import corrected, looks_for, widening
from trimtab.workloads.compress.search.trials import Outcome, Trial
from trimtab.workloads.compress.stopping import Interrupted, OutOfTime, Stop

LIMIT = 0.01
INT8 = {"quantize": {"scheme": "INT8"}}
FP16 = {"quantize": {"scheme": "FP16"}}


@cache
def interval(lost, gained, samples, confidence):
    """Return the drop's interval of two classifiers; what both get right or wrong does not change it."""
    return drop_interval(PairedCounts(both=samples - lost - gained, lost=lost, gained=gained, neither=0), confidence)


def drawn(draw, drop, samples, confidence=0.95, apart=0.04):
    """Draw what two classifiers say that differ on so many samples, one worse by `drop`: (drop, its upper end)."""
    lost, gained, _ = draw.multinomial(samples, [(apart + drop) / 2, (apart - drop) / 2, 1 - apart]).tolist()
    return (lost - gained) / samples, interval(lost, gained, samples, confidence)[1]


def searched(draw, drop, recipes, samples, judges):
    """Search among recipes that all lose as much; return (whether one passed, the smallest upper end that chose)."""
    trials = []
    for number in range(recipes):
        fell, upper = drawn(draw, drop, samples)
        told = {"drop": fell, "upper": upper, "limit": LIMIT, "ratio": 0.3 + 0.4 * number / recipes, "bytes": 1}
        recipe = [{"name": f"r{number}", **INT8}]
        trials.append(Trial(str(number), recipe, 1.0, Outcome.MEASURED, 1.0, samples=samples, **told))
    looks = looks_for(ranked(trials, Objective.LATENCY), judges, widening("95%"))
    strict = fraction(corrected("95%", max(len(looks), 1)))
    passed = any(drawn(draw, drop, judges, strict)[1] <= LIMIT for _ in looks)
    return passed, min(trial.upper for trial in trials)


@pytest.mark.parametrize("recipes", [3, 24])
def test_a_wrong_model_passes_no_more_often_for_being_the_best_of_many(recipes):
    """All recipes lose more than they may: a pass is wrong, and as rare as promised. On the samples that chose, not."""
    draw = np.random.default_rng(recipes)
    found = [searched(draw, LIMIT + 0.0005, recipes, 400, 1200) for _ in range(200)]
    assert sum(passed for passed, _ in found) / len(found) <= 0.05
    if recipes == 24:
        bought = sum(smallest <= LIMIT for _, smallest in found) / len(found)
        assert bought > 0.15, "the samples that chose would have passed many"


def test_a_good_model_is_found_and_proven():
    """Nothing is lost by the recipes: nearly every search ends with one of them proven."""
    draw = np.random.default_rng(1)
    assert sum(searched(draw, 0.0, 12, 600, 6000)[0] for _ in range(60)) >= 54


class Line:
    """Checkpoints in memory."""

    due = True

    def __init__(self):
        self.state = None

    def load(self):
        return self if self.state is not None else None

    def save(self, state, fill):
        del fill
        self.state = state


def status(verdict):
    told = dict.fromkeys(("baseline", "candidate", "drop", "lower", "upper", "limit"), "0.1")
    return GuardrailStatus(verdict=verdict, metric=Metric.ACCURACY, confidence="98%", samples=9, message="m", **told)


@pytest.fixture
def finals_of(monkeypatch):
    """Build finals on fakes: `verdicts` in order of being judged, `makes` may refuse to make a candidate."""
    monkeypatch.setattr(finals, "gather_data", lambda *_given: SimpleNamespace())

    def build(line, verdicts, make=lambda _index: None):
        told = iter(verdicts)

        def judge(*_given):
            return Finding(status(next(told)), Latency((1.0,), (0.5,)), 2, {"scores": None})

        monkeypatch.setattr(finals, "judge", judge)

        def made(_steps, _data, index, _reporter, _stop):
            make(index)
            return Path(str(index)), ()

        return Finals(
            guardrail=Guardrail.model_validate({"dataset": {"uri": "s3://a/b"}, "maxDrop": "1pp"}),
            spec=SimpleNamespace(model_copy=lambda update: update),
            machine=None,
            baseline=Path(),
            place=tuple,
            make=made,
            line=line,
            seconds=lambda _trial: 10.0,
            inside=lambda *_given: SimpleNamespace(tick=None),
            stop=Stop(),
            clock=lambda: 0.0,
        )

    return build


def candidates():
    recipes = [[INT8], [FP16], []]
    assert all(Step.model_validate(step) for recipe in recipes for step in recipe)
    return [Trial(str(recipe), recipe, 1.0, Outcome.MEASURED, 1.0) for recipe in recipes]


def test_the_dice_are_not_thrown_again(finals_of):
    """Killed after a verdict, the next pod keeps it, though it would find another; what passed first is delivered."""

    def killed(index):
        if index == 1:
            raise Interrupted

    line = Line()
    with pytest.raises(Interrupted):
        finals_of(line, [Verdict.INCONCLUSIVE], killed).judged(candidates(), None)
    best, looks = finals_of(line, [Verdict.PASSED]).judged(candidates(), None)
    assert best.index == 1
    assert [look.verdict for look in looks] == ["Inconclusive", "Passed"]
    again, remembered = finals_of(line, []).judged(candidates(), None)
    assert again.finding == best.finding
    assert remembered == looks
    assert "candidate 2 of at most 3" in best.finding.guardrail.message


def test_what_cannot_be_made_again_in_time_is_passed_over(finals_of):
    """And not tried again in the next pod; candidate 0 is always there."""

    def late(index):
        if index < 2:
            raise OutOfTime

    line = Line()
    best, looks = finals_of(line, [Verdict.INCONCLUSIVE], late).judged(candidates(), None)
    assert best.index == 2
    assert [look.message for look in looks[:2]] == ["not made again within 10 s"] * 2
    assert finals_of(line, []).judged(candidates(), None)[1] == looks
