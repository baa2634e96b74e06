"""The order in which recipes are tried.

Everything here follows from what the trials measured: asked again with the same measurements, it makes the same
proposals. That is how a search goes on in another pod: it is walked again, and what the journal has is not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from trimtab.api.compression import Strategy
from trimtab.workloads.compress.search.pareto import closest, value_of
from trimtab.workloads.compress.search.space import Choice, Space, merged
from trimtab.workloads.compress.search.trials import Outcome, Trial
from trimtab.workloads.compress.search.walking import Measure, Settings, Walk

if TYPE_CHECKING:
    import optuna

RUNGS = (0.1, 0.3, 1.0)  # shares of the epochs; after each but the last, the better half goes on
_MOST_STEMS = 8
_CHEAP_SHARE = 0.5  # of the trials at most go to recipes that do not train,
_CHEAP_TIME = 0.35  # and of the time
_RUNG_TIME = 0.4  # of what is left, for each rung but the last
_LADDERS = 2  # kinds of taking away that are looked at more closely
_TAILS = 3  # ways to store a network that is found to hold
_LISTED = 8192  # choices that are looked through; a space of many slots has billions
_ASKED_IN_VAIN = 30  # samples in a row that were tried before: then the rest is walked in order
_STARTUP = 5  # random trials before the sampler models what it saw


def explore(space: Space, settings: Settings, measure: Measure) -> list[Trial]:
    """Try recipes until the budget or the space is at its end; candidate 0 comes first."""
    walk = Walk(space, settings, measure)
    walk.attempt(tuple(0 for _ in space.slots))
    match settings.strategy:
        case Strategy.GRID:
            _in_order(walk)
        case Strategy.RANDOM:
            _sampled(walk)
        case Strategy.BAYESIAN:
            _cheap(walk)
            _halved(walk)
            _bisected(walk)
            _stored(walk)
            _sampled(walk)
    return walk.found


def _in_order(walk: Walk) -> None:
    for choice in walk.untried():
        if not walk.may(choice):
            return
        walk.attempt(choice)


def _cheap(walk: Walk) -> None:
    """Try recipes that do not train: our presets, then those of fewer steps first."""
    cheap = [choice for choice in islice(walk.untried(), _LISTED) if not walk.space.trained(choice)]
    trains = any(option.trains for slot in walk.space.slots for option in slot)
    most = max(int(walk.settings.trials * _CHEAP_SHARE), 1) if trains else len(cheap)
    until = walk.left * (1 - _CHEAP_TIME) if trains else 0.0
    for choice in sorted(cheap, key=walk.cost)[:most]:
        if not walk.may(choice) or walk.left < until:
            return
        walk.attempt(choice)


def _halved(walk: Walk) -> None:
    """Try what changes the network with a few epochs, then the better half with more.

    The rest of the recipe is the best that was found without training. Each of these is a recipe of its own, with fewer
    epochs: what holds the guardrail after a few is as good as what holds it after many.

    Source: Jamieson, Talwalkar, "Non-stochastic Best Arm Identification", AISTATS 2016.
    """
    left = list(islice(_stems(walk), _MOST_STEMS))
    for share in RUNGS:
        until = walk.left * (1 - _RUNG_TIME) if share < 1 else 0.0
        results = []
        for choice in left:
            if walk.left < until or not walk.may(choice):
                break
            if not walk.affords(choice, share):
                continue
            trial = walk.attempt(choice, share)
            # Size and speed follow from the structure: what is no better now will not be after more epochs.
            if trial.outcome is Outcome.MEASURED and value_of(trial, walk.settings.objective) <= walk.best:
                results.append((choice, trial))
        results.sort(key=lambda pair: _promise(pair[1], walk))
        left = [choice for choice, _ in results[: (len(results) + 1) // 2]]


def _stems(walk: Walk) -> Iterator[Choice]:
    """Yield what changes the network, presets first, each with the best way to store it that is known."""
    tail = _best_tail(walk)
    trained = [choice for choice in islice(walk.untried(), _LISTED) if walk.space.trained(choice)]
    presets = [choice for choice in walk.space.starters if walk.space.trained(choice)]
    stems = dict.fromkeys(walk.space.split(choice)[0] for choice in [*presets, *sorted(trained, key=_listed)])
    seen = set()
    for stem in stems:
        choice = next((c for c in (merged(stem, tail), stem) if walk.space.recipe(c) is not None), None)
        if choice is not None and choice not in seen and not walk.space.is_between(choice):
            seen.add(choice)
            yield choice


def _listed(choice: Choice) -> tuple[int, Choice]:
    """Order as the options are listed, evenly over the slots."""
    return sum(choice), choice


def _promise(trial: Trial, walk: Walk) -> tuple[bool, float]:
    """Order trials that may not be trained to the end: those that hold by what is made least, others by what lacks."""
    return (False, value_of(trial, walk.settings.objective)) if walk.holds(trial) else (True, -walk.margin(trial))


def _best_tail(walk: Walk) -> Choice:
    order = walk.ranked()
    return walk.space.split(walk.choice_of[order[0].key])[1] if order else tuple(0 for _ in walk.space.slots)


def _bisected(walk: Walk) -> None:
    """Look between the most that may be taken away and the least that may not, with the epochs that were enough."""
    seen: list[list[Choice]] = []
    for choice, trial in _trained(walk) or _missed(walk):
        rungs = walk.space.ladder(choice)
        if rungs not in seen and len(seen) < _LADDERS:
            seen.append(rungs)
            _halve(walk, rungs, rungs.index(choice), trial)


def _halve(walk: Walk, rungs: list[Choice], at: int, trial: Trial) -> None:
    low, high = (at, len(rungs)) if walk.holds(trial) else (-1, at)
    too_much = [at for at in range(low + 1, high) if rungs[at] in walk.whole and not walk.holds(walk.whole[rungs[at]])]
    high = min(too_much, default=high)
    while low + 1 < high:
        middle = (low + high) // 2
        if not walk.may(rungs[middle]) or not walk.affords(rungs[middle], trial.epochs):
            return
        found = walk.attempt(rungs[middle], trial.epochs)
        low, high = (middle, high) if walk.holds(found) else (low, middle)


def _stored(walk: Walk) -> None:
    """Try the other good ways to store the best network: it is made already."""
    for choice, trial in _trained(walk)[:1]:
        stem = walk.space.split(choice)[0]
        tails = dict.fromkeys(
            walk.space.split(walk.choice_of[other.key])[1]
            for other in walk.ranked()
            if not walk.space.trained(walk.choice_of[other.key])
        )
        for tail in islice(tails, _TAILS + 1):
            other = merged(stem, tail)
            if walk.space.recipe(other) is not None and other not in walk.whole and walk.may(other):
                walk.attempt(other, trial.epochs)


def _trained(walk: Walk) -> list[tuple[Choice, Trial]]:
    """Return the recipes that train and hold, best first."""
    pairs = ((walk.choice_of[trial.key], trial) for trial in walk.ranked())
    return [(choice, trial) for choice, trial in pairs if walk.space.trained(choice)]


def _missed(walk: Walk) -> list[tuple[Choice, Trial]]:
    """Return the recipes that train and lose too much, the closest first."""
    pairs = ((walk.choice_of[trial.key], trial) for trial in closest(walk.found, len(walk.found)))
    return [(choice, trial) for choice, trial in pairs if walk.space.trained(choice)]


def _sampled(walk: Walk) -> None:
    """Let Optuna propose: what it asks for and was tried is answered from memory."""
    study = _study(walk)
    for choice, trial in walk.whole.items():
        _tell_of(study, walk, choice, trial)
    vain = 0
    while not walk.is_over:
        asked = study.ask()
        choice = tuple(asked.suggest_categorical(str(slot), range(n)) for slot, n in enumerate(walk.space.sizes()))
        share = walk.affordable(choice, RUNGS)
        if walk.space.recipe(choice) is None or choice in walk.whole or share is None:
            vain += 1
            _tell(study, walk, asked, walk.whole.get(choice))
            if vain < _ASKED_IN_VAIN:
                continue
            following = _next(walk, walk.untried())
            if following is None:
                return
            choice, share = following
            _tell_of(study, walk, choice, walk.attempt(choice, share))
        else:
            _tell(study, walk, asked, walk.attempt(choice, share))
        vain = 0


def _next(walk: Walk, choices: Iterable[Choice]) -> tuple[Choice, float] | None:
    """Return the first choice that there is time for, and the share of its epochs."""
    shares = ((choice, walk.affordable(choice, RUNGS)) for choice in islice(choices, _LISTED))
    return next(((choice, share) for choice, share in shares if share is not None), None)


def _study(walk: Walk) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = walk.settings.seed
    sampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if walk.settings.strategy is Strategy.RANDOM
        else optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
    )
    return optuna.create_study(sampler=sampler, direction="minimize")


def _tell_of(study: optuna.Study, walk: Walk, choice: Choice, trial: Trial) -> None:
    study.enqueue_trial({str(slot): index for slot, index in enumerate(choice)})
    asked = study.ask()
    for slot, size in enumerate(walk.space.sizes()):
        asked.suggest_categorical(str(slot), range(size))
    _tell(study, walk, asked, trial)


def _tell(study: Any, walk: Walk, asked: Any, trial: Trial | None) -> None:
    """Answer with the objective, and the drop as a constraint: at most 0 is feasible."""
    import optuna

    if trial is None or trial.drop is None:
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return
    asked.set_constraint("drop", -min(walk.margin(trial), 1e18))
    if walk.settings.max_ms is not None and trial.latency_ms is not None:
        asked.set_constraint("latency", trial.latency_ms - walk.settings.max_ms)
    value = value_of(trial, walk.settings.objective)
    study.tell(asked, value if value != float("inf") else 1e18)
