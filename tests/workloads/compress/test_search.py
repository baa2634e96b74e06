"""The search's own logic, on a fake bench: what it never does, and that it is walked again to the same choice."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.api.compression import CompileEngine, Objective, Step, Strategy
from trimtab.api.guardrail import Guardrail, GuardrailMode
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.planning.support import refusals
from trimtab.workloads.compress.search.exploring import explore
from trimtab.workloads.compress.search.journal import Journal
from trimtab.workloads.compress.search.pareto import closest, front, is_feasible, ranked
from trimtab.workloads.compress.search.space import our_space, shortened, strength, users_space
from trimtab.workloads.compress.search.summary import corrected, looks_for, nothing_held, recipe_yaml, widening
from trimtab.workloads.compress.search.timing import ratio_interval
from trimtab.workloads.compress.search.trials import Outcome, Proposal, Trial
from trimtab.workloads.compress.search.walking import Settings
from trimtab.workloads.compress.stopping import Interrupted, OutOfTime, Stop, TimeLimit

LIMIT = 0.01
PRUNE = {"prune": {"sparsity": "40%"}}
DISTILL = {"distill": {"epochs": 8}}
INT8 = {"quantize": {"scheme": "INT8"}}


def space_of(*steps):
    return users_space([Step.model_validate(step) for step in steps])


def trial(title="a", drop=0.0, ratio=1.0, size=100, steps=1, **more):
    recipe = [{"name": f"{title}{index}", **INT8} for index in range(steps)]
    return Trial(title, recipe, 1.0, Outcome.MEASURED, 1.0, drop=drop, limit=LIMIT, ratio=ratio, bytes=size, **more)


def without_epochs(recipe):
    """Tell recipes apart as the budget does: trainings of several lengths are one."""
    return str(
        [{name: {**what, "epochs": 0} if "epochs" in what else what for name, what in s.items()} for s in recipe]
    )


class FakeBench:
    """Measures by dice that are thrown per proposal, and counts."""

    def __init__(self, seed):
        self.seed, self.measured, self.allowed = seed, [], []

    def measure(self, proposal: Proposal, seconds: float) -> Trial:
        self.measured.append(proposal)
        self.allowed.append(seconds)
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

    due = True

    def __init__(self, dies_after=None, state=None):
        self.state, self.saves, self.dies_after = state, 0, dies_after

    def load(self):
        return self if self.state is not None else None

    def save(self, state, fill):
        del fill
        self.state, self.saves = state, self.saves + 1
        if self.saves == self.dies_after:
            raise KeyboardInterrupt


def searched(objective=Objective.LATENCY, strategy=Strategy.BAYESIAN, trials=12, seconds=1e9, **more):
    return Settings(objective=objective, strategy=strategy, trials=trials, seconds=seconds, **more)


@given(st.integers(0, 10_000), st.sampled_from(list(Strategy)), st.sampled_from(list(Objective)), st.integers(1, 25))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_infeasible_is_ever_chosen(seed, strategy, objective, trials):
    """Whatever the trials say: what is judged held the limit, on all samples and with all epochs; the budget holds."""
    bench = FakeBench(seed)
    found = explore(space_of(PRUNE, DISTILL, INT8), searched(objective, strategy, trials), bench.measure)
    for chosen in looks_for(ranked(found, objective), 1000):
        assert chosen.outcome is Outcome.MEASURED
        assert chosen.drop <= LIMIT
    assert found[0].recipe == [], "candidate 0 comes first"
    assert len({without_epochs(trial.recipe) for trial in found}) <= trials + 1
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
    """A tenth of the epochs, then three tenths for half of them, then all; each is a recipe that says its epochs."""
    bench = FakeBench(1)
    space = space_of({"prune": {"sparsity": "40%"}}, {"finetune": {"epochs": 20}}, {"distill": {"epochs": 20}})
    explore(space, searched(trials=100), bench.measure)
    shares = [proposal.epochs for proposal in bench.measured]
    assert shares.count(0.1) > shares.count(0.3) > 0
    assert shares.index(0.1) < shares.index(0.3)
    told = {(p.epochs, step.finetune.epochs) for p in bench.measured for step in p.steps if step.finetune}
    assert told == {(0.1, 2), (0.3, 6), (1.0, 20)}
    assert shortened(Step.model_validate({"finetune": {}}), 1 / 2).finetune.epochs == 3


def test_the_timeout_ends_a_search():
    """Each fake trial takes a second: candidate 0 and four more, each with what is left."""
    bench = FakeBench(2)
    explore(space_of(PRUNE, DISTILL, INT8), searched(strategy=Strategy.GRID, trials=100, seconds=5), bench.measure)
    assert bench.allowed == [5, 4, 3, 2, 1]


def test_time_is_kept_for_making_the_best_again():
    """Where the best learns more in the end, its trial's time and a third are not for other trials."""

    def measure(proposal, seconds):
        del seconds
        recipe = [step.wire() for step in proposal.steps]
        facts = {"drop": 0.0, "limit": LIMIT, "ratio": 1 - len(recipe) / 10, "bytes": 1000}
        return Trial(proposal.key, recipe, 1.0, Outcome.MEASURED, 1.0, **facts)

    wanted = searched(strategy=Strategy.GRID, trials=100, seconds=5)
    assert len(explore(space_of(PRUNE, DISTILL, INT8), wanted, measure)) == 5
    kept = replace(wanted, remake=4 / 3)
    assert len(explore(space_of(PRUNE, DISTILL, INT8), kept, measure)) == 4


def test_a_training_that_would_not_end_in_time_is_not_begun():
    """A second per epoch, 40 of them for a whole training: the search ends in time, and its last trials are short."""
    begun = []

    def measure(proposal, seconds):
        trained = [step.distill.epochs for step in proposal.steps if step.distill]
        begun.append((sum(trained), seconds))
        facts = {"drop": 0.0, "limit": LIMIT, "ratio": 1 - len(proposal.steps) / 10, "bytes": 1000}
        recipe = [step.wire() for step in proposal.steps]
        return Trial(proposal.key, recipe, proposal.epochs, Outcome.MEASURED, 1.0 + sum(trained), **facts)

    found = explore(space_of(PRUNE, {"distill": {"epochs": 40}}, INT8), searched(seconds=60, trials=50), measure)
    assert sum(trial.seconds for trial in found) <= 60
    assert max(epochs for epochs, _ in begun) < 40
    assert all(epochs < seconds for epochs, seconds in begun)


def test_a_time_limit_looks_at_the_time_and_at_the_stop_behind_it():
    """In time nothing happens; then, and when the run is to end, what goes on is ended."""
    now, outer = [0.0], Stop()
    limit = TimeLimit(outer, lambda: now[0], 5.0)
    limit.check()
    now[0] = 5.0
    with pytest.raises(OutOfTime):
        limit.check()
    outer.ask()
    assert limit.asked
    with pytest.raises(Interrupted):
        limit.check()


def test_a_trial_that_kills_the_process_twice_has_failed():
    """A killed process leaves no word: the next one tries again, the third does not."""

    class KilledError(Exception):
        pass

    def measure(proposal, seconds):
        if proposal.steps:
            raise KilledError
        return FakeBench(1).measure(proposal, seconds)

    line, wanted, deaths = Line(), searched(strategy=Strategy.GRID), 0
    while deaths < 10:
        journal = Journal(line, measure)
        journal.resume()
        try:
            found = explore(space_of(INT8), wanted, journal.result)
            break
        except KilledError:
            deaths += 1
    assert deaths == 2
    assert found[1].outcome is Outcome.FAILED
    assert found[1].message.startswith("the process died 2 times while it tried this, most often for want of memory")


def test_a_trial_in_flight_keeps_its_time():
    """Told to stop in a trial, the next pod has only what is left for it, and no death is counted."""
    now, line, given = [0.0], Line(), []

    def stopped(proposal, seconds):
        given.append(seconds)
        now[0] += 7.0
        raise Interrupted

    proposal = Proposal(tuple(Step.model_validate(step) for step in [INT8]))
    for _ in range(4):
        journal = Journal(line, stopped, clock=lambda: now[0])
        journal.resume()
        with pytest.raises(Interrupted):
            journal.result(proposal, 100.0)
    assert given == [100.0, 93.0, 86.0, 79.0]
    journal = Journal(line, FakeBench(1).measure)
    journal.resume()
    assert journal.result(proposal, 100.0).seconds == 29.0


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
    """No step that is refused elsewhere; what is pruned or smaller learns; nothing that trains where nothing can."""
    space = our_space(objective, trainable=True)
    for choice in space.choices():
        steps = [option.step for option in space.recipe(choice)]
        smaller = [step for step in steps if step.prune or (step.distill and step.distill.student)]
        assert len(smaller) == sum(step.distill is not None for step in steps) <= 1
    assert any(space.trained(choice) for choice in space.choices())
    engines = {o.step.compile.engine for c in space.choices() for o in space.recipe(c) if o.step.compile}
    assert engines == {CompileEngine.OPEN_VINO}, "and OnnxRuntime, which is none"
    fixed = our_space(objective, trainable=False)
    assert not any(option.needs_network for slot in fixed.slots for option in slot)


def test_presets_are_tried_first():
    """What our presets do is in the space, before what else is of its kind; what does not fit a source is not."""
    odd = [PRUNE, {"finetune": {"epochs": 7}}, {"quantize": {"scheme": "INT8", "keep": ["head"]}}]
    presets = [tuple(Step.model_validate(step) for step in steps) for steps in ([INT8], odd, [INT8, DISTILL])]
    space = our_space(Objective.LATENCY, trainable=True, presets=presets)
    tried = [[option.step.wire() for option in space.recipe(choice)] for choice in space.starters]
    assert tried == [[INT8], odd], "the third has training after quantizing"
    bench = FakeBench(5)
    explore(space, searched(trials=30), bench.measure)
    assert [step.wire() for step in bench.measured[1].steps] == [INT8]
    first = next(proposal for proposal in bench.measured if proposal.epochs < 1)
    assert [step.technique for step in first.steps][:2] == ["prune", "finetune"]
    assert our_space(Objective.LATENCY, trainable=False, presets=presets).starters == ((1, 0),)


def test_the_share_is_looked_for_between_what_holds_and_what_does_not():
    """Up to 64 % can be pruned here: of 12.5 % steps, 62.5 % is found."""

    def measure(proposal, seconds):
        del seconds
        share = sum(strength(step) for step in proposal.steps if step.prune and step.prune.method != "Layers")
        facts = {"drop": 0.0 if share < 0.64 else 0.3, "limit": LIMIT, "ratio": 1.0 - share, "bytes": 1000}
        recipe = [step.wire() for step in proposal.steps]
        return Trial(proposal.key, recipe, proposal.epochs, Outcome.MEASURED, 1.0, **facts)

    found = explore(our_space(Objective.LATENCY, trainable=True), searched(trials=20), measure)
    best = ranked(found, Objective.LATENCY)[0]
    assert best.recipe[0]["prune"]["sparsity"] == "62.5%"
    assert best.ratio == 0.375


def test_what_would_be_refused_is_no_recipe():
    """A search asks as a run of just these steps would be."""
    accepted = our_space(Objective.LATENCY, trainable=False, accepts=lambda steps: len(steps) < 2)
    assert {len(accepted.recipe(choice)) for choice in accepted.choices()} == {0, 1}


def test_ties_go_to_the_smaller_and_then_to_the_more_accurate():
    """Latencies whose intervals overlap are alike, however far apart their medians are; bytes have no noise."""
    fast, small, slow = trial("fast", ratio=0.50, size=90), trial("small", ratio=0.505, size=40), trial("s", ratio=0.9)
    assert [t.key for t in ranked([slow, fast, small], Objective.LATENCY)] == ["small", "fast", "s"]
    assert [t.key for t in ranked([slow, fast, small], Objective.SIZE)] == ["small", "fast", "s"]
    noisy = trial("noisy", ratio=0.6, ratio_low=0.45, ratio_high=0.8, size=40)
    sure = trial("sure", ratio=0.6, ratio_low=0.59, ratio_high=0.61, size=40)
    assert [t.key for t in ranked([fast, noisy], Objective.LATENCY)] == ["noisy", "fast"]
    assert [t.key for t in ranked([fast, sure], Objective.LATENCY)] == ["fast", "sure"]
    better = trial("better", ratio=0.5, size=90, drop=-0.001)
    assert [t.key for t in ranked([fast, better], Objective.LATENCY)] == ["better", "fast"]
    assert ranked([trial("late", latency_ms=9.0)], Objective.LATENCY, max_ms=5.0) == []
    assert is_feasible(trial(latency_ms=4.0), max_ms=5.0)


def test_the_ratio_of_two_latencies_on_a_busy_machine():
    """Two of three requests are disturbed for five times as long as they take: the ratio of the others is found."""
    draw = random.Random(0)
    held = 0
    for _ in range(30):
        one, other = ([t * draw.uniform(0.98, 1.02) + (draw.random() < 0.66) * 5 for _ in range(200)] for t in (1, 0.6))
        ratio, low, high = ratio_interval(one, other)
        assert low <= ratio <= high
        assert abs(ratio - 0.6) < 0.02
        held += low <= 0.6 <= high
    assert held >= 24


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
    """The best that can be proven, one with more room, and candidate 0, each at a third of the risk."""
    zero = trial("zero", steps=0, drop=0.0, upper=0.0, samples=400)
    hazy = trial("hazy", drop=0.009, upper=0.02, samples=400)
    sound = trial("sound", drop=0.002, upper=0.006, samples=400)
    safe = trial("safe", drop=0.0, upper=0.002, samples=400)
    assert [t.key for t in looks_for([hazy, sound, safe, zero], 400)] == ["sound", "safe", "zero"]
    assert [t.key for t in looks_for([hazy, zero], 400)] == ["hazy", "zero"], "nothing else to try"
    assert [t.key for t in looks_for([hazy, sound, zero], 10**9)] == ["hazy", "sound", "zero"], "enough for any"
    assert looks_for([zero, sound], 400) == [zero], "nothing better than the original is worth a look"
    assert corrected("95%", 1) == "95%"
    assert corrected("95%", 3) == "98.3334%"
    assert corrected("99.9999%", 3) == "99.9999%"
    assert 1.21 < widening("95%") < 1.23


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
