"""The order in which recipes are tried.

Everything here follows from what the trials measured: asked again with the same measurements, it makes the same
proposals. That is how a search goes on in another pod: it is walked again, and what the journal has is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from trimtab.api.compression import Objective, Strategy
from trimtab.workloads.compress.search.pareto import ranked, value_of
from trimtab.workloads.compress.search.space import Choice, Space, merged
from trimtab.workloads.compress.search.trials import Outcome, Proposal, Trial

if TYPE_CHECKING:
    import optuna

RUNGS = (1 / 8, 1 / 2, 1.0)  # shares of the epochs; after each but the last, the better half goes on
_MOST_STEMS = 8
_CHEAP_SHARE = 0.5  # of the trials at most go to recipes that do not train
_ASKED_IN_VAIN = 30  # samples in a row that were tried before: then the rest is walked in order
_STARTUP = 5  # random trials before the sampler models what it saw

Measure = Callable[[Proposal], Trial]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a search is given."""

    objective: Objective
    strategy: Strategy
    trials: int
    """Recipes to try besides candidate 0; short trials of a recipe count with it."""
    seconds: float
    """Time for the trials."""
    max_ms: float | None = None
    """Median latency that is allowed, of one sample."""
    seed: int = 0


def explore(space: Space, settings: Settings, measure: Measure) -> list[Trial]:
    """Try recipes until the budget or the space is at its end; candidate 0 comes first."""
    walk = _Walk(space, settings, measure)
    walk.attempt(tuple(0 for _ in space.slots))
    match settings.strategy:
        case Strategy.GRID:
            _in_order(walk)
        case Strategy.RANDOM:
            _sampled(walk)
        case Strategy.BAYESIAN:
            _cheap(walk)
            _halved(walk)
            _sampled(walk)
    return walk.found


@dataclass(slots=True)
class _Walk:
    """What was tried so far."""

    space: Space
    settings: Settings
    measure: Measure
    found: list[Trial] = field(default_factory=list)
    whole: dict[Choice, Trial] = field(default_factory=dict)
    """The last trial of each choice that will not be tried again."""
    begun: set[Choice] = field(default_factory=set)

    def may(self, choice: Choice) -> bool:
        """Whether the budget has room for a choice."""
        if sum(trial.seconds for trial in self.found) >= self.settings.seconds:
            return False
        return choice in self.begun or len(self.begun) <= self.settings.trials

    @property
    def is_over(self) -> bool:
        return sum(t.seconds for t in self.found) >= self.settings.seconds or len(self.begun) > self.settings.trials

    def attempt(self, choice: Choice, epochs: float = 1.0) -> Trial:
        steps = tuple(option.step for option in self.space.recipe(choice) or ())
        trial = self.measure(Proposal(steps, epochs))
        self.begun.add(choice)
        self.found.append(trial)
        if epochs >= 1 or trial.outcome is Outcome.FAILED:
            self.whole[choice] = trial
        return trial

    @property
    def best(self) -> float:
        """Return what the best feasible trial reached; infinite while there is none."""
        order = ranked(self.found, self.settings.objective, self.settings.max_ms)
        return value_of(order[0], self.settings.objective) if order else float("inf")

    def cost(self, choice: Choice) -> tuple[bool, int, int]:
        """Order recipes that do not train: what changes the network last, fewer steps first, then as listed."""
        stem, _ = self.space.split(choice)
        return any(stem), sum(map(bool, choice)), max(choice)

    def untried(self) -> Iterator[Choice]:
        return (choice for choice in self.space.choices() if choice not in self.whole)


def _in_order(walk: _Walk) -> None:
    for choice in walk.untried():
        if not walk.may(choice):
            return
        walk.attempt(choice)


def _cheap(walk: _Walk) -> None:
    """Try recipes that do not train, those of fewer steps first."""
    cheap = [choice for choice in islice(walk.untried(), 4096) if not walk.space.trained(choice)]
    trains = any(option.trains for slot in walk.space.slots for option in slot)
    most = max(int(walk.settings.trials * _CHEAP_SHARE), 1) if trains else len(cheap)
    for choice in sorted(cheap, key=walk.cost)[:most]:
        if not walk.may(choice):
            return
        walk.attempt(choice)


def _halved(walk: _Walk) -> None:
    """Try what changes the network with a few epochs, then the better half with more.

    The rest of the recipe is the best that was found without training.

    Source: Jamieson, Talwalkar, "Non-stochastic Best Arm Identification", AISTATS 2016.
    """
    tail = _best_tail(walk)
    trained = (choice for choice in islice(walk.untried(), 65_536) if walk.space.trained(choice))
    stems = dict.fromkeys(walk.space.split(choice)[0] for choice in trained)
    joined = (merged(stem, tail) for stem in stems)
    left = list(islice((c for c in joined if walk.space.recipe(c) is not None and c not in walk.whole), _MOST_STEMS))
    for rung in RUNGS:
        results = []
        for choice in left:
            if not walk.may(choice):
                continue
            trial = walk.attempt(choice, rung)
            # Size and speed follow from the structure: what is no better now will not be after more epochs.
            if trial.outcome is Outcome.MEASURED and value_of(trial, walk.settings.objective) < walk.best:
                results.append((choice, trial))
        results.sort(key=lambda pair: _promise(pair[1], walk.settings))
        left = [choice for choice, _ in results[: (len(results) + 1) // 2]]


def _promise(trial: Trial, settings: Settings) -> tuple[bool, float]:
    """Order trials that may not be trained to the end: within the limit by what is made least, beyond it by drop."""
    return (False, value_of(trial, settings.objective)) if trial.excess <= 0 else (True, trial.excess)


def _best_tail(walk: _Walk) -> Choice:
    order = ranked(walk.found, walk.settings.objective, walk.settings.max_ms)
    by_key = {trial.key: choice for choice, trial in walk.whole.items()}
    return walk.space.split(by_key[order[0].key])[1] if order else tuple(0 for _ in walk.space.slots)


def _sampled(walk: _Walk) -> None:
    """Let Optuna propose: what it asks for and was tried is answered from memory."""
    study = _study(walk)
    for choice, trial in walk.whole.items():
        _tell_of(study, walk, choice, trial)
    vain = 0
    while not walk.is_over:
        asked = study.ask()
        choice = tuple(asked.suggest_categorical(str(slot), range(n)) for slot, n in enumerate(walk.space.sizes()))
        if walk.space.recipe(choice) is None or choice in walk.whole:
            vain += 1
            _tell(study, walk, asked, walk.whole.get(choice))
            if vain < _ASKED_IN_VAIN:
                continue
            following = next(walk.untried(), None)
            if following is None:
                return
            _tell_of(study, walk, following, walk.attempt(following))
        else:
            _tell(study, walk, asked, walk.attempt(choice))
        vain = 0


def _study(walk: _Walk) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = walk.settings.seed
    sampler = (
        optuna.samplers.RandomSampler(seed=seed)
        if walk.settings.strategy is Strategy.RANDOM
        else optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
    )
    return optuna.create_study(sampler=sampler, direction="minimize")


def _tell_of(study: optuna.Study, walk: _Walk, choice: Choice, trial: Trial) -> None:
    study.enqueue_trial({str(slot): index for slot, index in enumerate(choice)})
    asked = study.ask()
    for slot, size in enumerate(walk.space.sizes()):
        asked.suggest_categorical(str(slot), range(size))
    _tell(study, walk, asked, trial)


def _tell(study: Any, walk: _Walk, asked: Any, trial: Trial | None) -> None:
    """Answer with the objective, and the drop as a constraint: at most 0 is feasible."""
    import optuna

    if trial is None or trial.drop is None:
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
        return
    asked.set_constraint("drop", trial.excess)
    if walk.settings.max_ms is not None and trial.latency_ms is not None:
        asked.set_constraint("latency", trial.latency_ms - walk.settings.max_ms)
    value = value_of(trial, walk.settings.objective)
    study.tell(asked, value if value != float("inf") else 1e18)
