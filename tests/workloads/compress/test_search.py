"""The search's own logic, on a fake bench: what it never does, and that it is walked again to the same choice."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.api.compression import Objective, Step, Strategy
from trimtab.api.guardrail import Guardrail, GuardrailMode
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.planning.support import refusals
from trimtab.workloads.compress.search.exploring import Settings, explore
from trimtab.workloads.compress.search.journal import Journal
from trimtab.workloads.compress.search.pareto import closest, front, is_feasible, ranked
from trimtab.workloads.compress.search.space import our_space, shortened, users_space
from trimtab.workloads.compress.search.summary import corrected, looks_for, nothing_held, recipe_yaml
from trimtab.workloads.compress.search.trials import Outcome, Proposal, Trial

LIMIT = 0.01
PRUNE = {"prune": {"sparsity": "40%"}}
DISTILL = {"distill": {"epochs": 8}}
INT8 = {"quantize": {"scheme": "INT8"}}


def space_of(*steps):
    return users_space([Step.model_validate(step) for step in steps])


def trial(title="a", drop=0.0, ratio=1.0, size=100, steps=1, **more):
    recipe = [{"name": f"{title}{index}", **INT8} for index in range(steps)]
    return Trial(title, recipe, 1.0, Outcome.MEASURED, 1.0, drop=drop, limit=LIMIT, ratio=ratio, bytes=size, **more)


class FakeBench:
    """Measures by dice that are thrown per proposal, and counts."""

    def __init__(self, seed):
        self.seed, self.measured = seed, []

    def measure(self, proposal: Proposal) -> Trial:
        self.measured.append(proposal)
        draw = random.Random(f"{self.seed} {proposal.key}")
        recipe = [step.wire() for step in proposal.steps]
        if not recipe:
            return Trial(proposal.key, recipe, 1.0, Outcome.MEASURED, 1.0, drop=0, limit=LIMIT, ratio=1, bytes=1000)
        if draw.random() < 0.2:
            return Trial(proposal.key, recipe, proposal.epochs, Outcome.FAILED, 1.0, message="no such layer")
        outcome = Outcome.HOPELESS if proposal.epochs >= 1 and draw.random() < 0.2 else Outcome.MEASURED
        facts = {"drop": draw.uniform(-0.01, 0.05), "ratio": draw.uniform(0.1, 1.5), "bytes": draw.randrange(50, 1500)}
        return Trial(proposal.key, recipe, proposal.epochs, outcome, 1.0, limit=LIMIT, **facts)


class Line:
    """Checkpoints in memory; dies after so many saves."""

    def __init__(self, dies_after=None, state=None):
        self.state, self.saves, self.dies_after = state, 0, dies_after

    def load(self):
        return self if self.state is not None else None

    def save(self, state, fill):
        del fill
        self.state, self.saves = state, self.saves + 1
        if self.saves == self.dies_after:
            raise KeyboardInterrupt


def searched(objective=Objective.LATENCY, strategy=Strategy.BAYESIAN, trials=12, seconds=1e9):
    return Settings(objective=objective, strategy=strategy, trials=trials, seconds=seconds)


@given(st.integers(0, 10_000), st.sampled_from(list(Strategy)), st.sampled_from(list(Objective)), st.integers(1, 25))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_infeasible_is_ever_chosen(seed, strategy, objective, trials):
    """Whatever the trials say: what is judged held the limit, on all samples and with all epochs; the budget holds."""
    bench = FakeBench(seed)
    found = explore(space_of(PRUNE, DISTILL, INT8), searched(objective, strategy, trials), bench.measure)
    for chosen in looks_for(ranked(found, objective)):
        assert chosen.outcome is Outcome.MEASURED
        assert chosen.epochs == 1
        assert chosen.drop <= LIMIT
    assert found[0].recipe == [], "candidate 0 comes first"
    assert len({str(trial.recipe) for trial in found}) <= trials + 1
    keys = [proposal.key for proposal in bench.measured]
    assert len(keys) == len(set(keys)), "nothing is measured twice"


@given(st.integers(0, 10_000), st.sampled_from(list(Strategy)), st.integers(1, 14))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_killed_search_goes_on_to_the_same_choice(seed, strategy, dies_after):
    """With the journal of the killed one, the trials are those of an undisturbed search, none measured twice."""
    space, wanted = space_of(PRUNE, DISTILL, INT8), searched(strategy=strategy)
    undisturbed = explore(space, wanted, Journal(Line(), FakeBench(seed).measure).result)
    bench, line = FakeBench(seed), Line(dies_after)
    with suppress(KeyboardInterrupt):
        explore(space, wanted, Journal(line, bench.measure).result)
    journal = Journal(Line(state=line.state), bench.measure)
    journal.resume()
    assert explore(space, wanted, journal.result) == undisturbed
    keys = [proposal.key for proposal in bench.measured]
    assert len(keys) == len(set(keys))


def test_short_trainings_come_first_and_the_better_half_goes_on():
    """An eighth of the epochs, then half for half of them, then all."""
    bench = FakeBench(1)
    space = space_of({"prune": {"sparsity": "40%"}}, {"finetune": {"epochs": 16}}, {"distill": {"epochs": 16}})
    explore(space, searched(trials=100), bench.measure)
    shares = [proposal.epochs for proposal in bench.measured]
    assert shares.count(1 / 8) > shares.count(1 / 2) > 0
    assert shares.index(1 / 8) < shares.index(1 / 2)
    step = Step.model_validate({"finetune": {"epochs": 16}})
    assert [shortened(step, share).finetune.epochs for share in (1 / 8, 1 / 2, 1, 1 / 100)] == [2, 8, 16, 1]
    assert shortened(Step.model_validate({"finetune": {}}), 1 / 2).finetune.epochs == 3


def test_the_timeout_ends_a_search():
    """Each fake trial takes a second: candidate 0 and four more."""
    bench = FakeBench(2)
    explore(space_of(PRUNE, DISTILL, INT8), searched(strategy=Strategy.GRID, trials=100, seconds=5), bench.measure)
    assert len(bench.measured) == 5


def test_a_grid_tries_everything_and_ends():
    """Four sparsities with none, times distillation or not, times INT8 or not."""
    bench = FakeBench(3)
    explore(space_of(PRUNE, DISTILL, INT8), searched(strategy=Strategy.GRID, trials=1000), bench.measure)
    assert len(bench.measured) == 4 * 2 * 2
    assert {p.steps[0].prune.sparsity for p in bench.measured if p.steps and p.steps[0].prune} == {"40%", "20%", "60%"}


@pytest.mark.parametrize(
    ("steps", "recipes"),
    [
        ([INT8], ["", "quantize"]),
        ([INT8, {"quantize": {"scheme": "FP16"}}], ["", "quantize", "quantize"]),
        ([INT8, {"finetune": {}}], ["", "finetune", "quantize"]),
        ([{"prune": {"sparsity": "95%"}}], ["", "prune", "prune"]),
        ([{"cluster": {"clusters": 2}}], ["", "cluster", "cluster"]),
        ([{"distill": {"student": {"width": "80%"}}}], ["", "distill", "distill", "distill"]),
        ([{"distill": {"student": {"depth": "100%"}}}], ["", "distill", "distill"]),
    ],
)
def test_what_a_users_space_holds(steps, recipes):
    """The given steps in the given order, each or not; two of a kind and training after quantizing do not go together;
    shares stay in bounds."""
    space = space_of(*steps)
    found = [" ".join(option.step.technique for option in space.recipe(choice)) for choice in space.choices()]
    assert sorted(found) == sorted(recipes)


@pytest.mark.parametrize("objective", list(Objective))
def test_our_space_is_what_is_supported(objective):
    """No step that is refused elsewhere; pruning always with recovery; nothing that trains where nothing can."""
    space = our_space(objective, trainable=True)
    for choice in space.choices():
        techniques = [option.step.technique for option in space.recipe(choice)]
        assert ("prune" in techniques) == ("distill" in techniques)
    assert any(space.trained(choice) for choice in space.choices())
    fixed = our_space(objective, trainable=False)
    assert not any(option.needs_network for slot in fixed.slots for option in slot)


def test_ties_go_to_the_smaller():
    """Five percent of latency is noise; beyond it the faster one wins. Bytes have no noise."""
    fast, small, slow = trial("fast", ratio=0.50, size=90), trial("small", ratio=0.52, size=40), trial("s", ratio=0.9)
    assert [t.key for t in ranked([slow, fast, small], Objective.LATENCY)] == ["small", "fast", "s"]
    assert [t.key for t in ranked([slow, fast, small], Objective.SIZE)] == ["small", "fast", "s"]
    assert ranked([trial("late", latency_ms=9.0)], Objective.LATENCY, max_ms=5.0) == []
    assert is_feasible(trial(latency_ms=4.0), max_ms=5.0)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_holds_what_nothing_beats(points):
    """No trial on the front is beaten, and each off it is."""
    trials = [trial(str(i), ratio=float(r), size=s, drop=float(d)) for i, (r, s, d) in enumerate(points)]
    best = front(trials)

    def beats(one, other):
        mine, theirs = ((t.ratio, t.bytes, t.drop) for t in (one, other))
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    assert best
    assert all((t in best) != any(beats(other, t) for other in trials) for t in trials)


def test_looks_are_few_and_corrected():
    """Two compressed candidates and candidate 0, each at a third of the risk; candidate 0 alone needs no correction."""
    zero = trial("zero", steps=0)
    order = [trial(name) for name in "abcd"] + [zero]
    assert [t.key for t in looks_for(order)] == ["a", "b", "zero"]
    assert looks_for([zero, trial("a")]) == [zero], "nothing better than the original is worth a look"
    assert corrected("95%", 1) == "95%"
    assert corrected("95%", 3) == "98.3334%"
    assert corrected("99.9999%", 3) == "99.9999%"


def test_what_is_told_when_nothing_held():
    """The closest, by how far they missed, and why a step failed."""
    zero, near, far = trial("zero", steps=0), trial("near", drop=0.02), trial("far", drop=0.3)
    failed = Trial("x", [INT8], 1.0, Outcome.FAILED, 1.0, message="no layer can")
    assert [t.key for t in closest([zero, far, near], 2)] == ["near", "far"]
    message = nothing_held([zero, far, near, failed])
    assert "closest: near0 INT8: fell 2pp, limit 1pp; far0 INT8: fell 30pp" in message
    assert message.endswith("quantize INT8: no layer can")
    assert recipe_yaml([]).startswith("[]")
    assert recipe_yaml([INT8]) == "- quantize:\n    scheme: INT8\n"


def test_a_search_needs_a_guardrail():
    """Disabled, there would be nothing to hold."""
    spec = OptimizedModelSpec.model_validate(
        {
            "source": {"uri": "s3://a/b"},
            "compression": {"search": {"objective": "Size"}},
            "guardrail": Guardrail.model_validate({"dataset": {"uri": "s3://a/c"}, "mode": GuardrailMode.DISABLED}),
        }
    )
    (refusal,) = refusals(spec)
    assert str(refusal).startswith("spec.guardrail.mode: Disabled with a search, which needs one to hold")
    assert str(refusal).endswith("use Enforce or Report")
