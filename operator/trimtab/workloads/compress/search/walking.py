"""What a search has tried so far, and what its budget still has room for."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from trimtab.api.compression import Objective, Strategy
from trimtab.workloads.compress.search.pareto import is_feasible, ranked, value_of
from trimtab.workloads.compress.search.space import Choice, Space, shortened
from trimtab.workloads.compress.search.trials import Outcome, Proposal, Trial

Measure = Callable[[Proposal, float], Trial]
"""Measures a proposal within so many seconds."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a search is given."""

    objective: Objective
    strategy: Strategy
    trials: int
    """Recipes to try besides candidate 0; short trials of a recipe count with it."""
    seconds: float
    """Time for the trials, and for making the best of them again."""
    remake: float = 0.0
    """Time for making a candidate again, in that of its trial: 0 where the trial's own model is delivered."""
    judges: int = 10**9
    """Samples that the chosen recipe will be judged on."""
    widened: float = 1.0
    """By how much the confidence there widens an interval."""
    max_ms: float | None = None
    """Median latency that is allowed, of one sample."""
    seed: int = 0


@dataclass(slots=True)
class Walk:
    """What was tried so far."""

    space: Space
    settings: Settings
    measure: Measure
    found: list[Trial] = field(default_factory=list)
    whole: dict[Choice, Trial] = field(default_factory=dict)
    """The last trial of each choice."""
    choice_of: dict[str, Choice] = field(default_factory=dict)
    """By the key of a trial."""
    _training: dict[Choice, float] = field(default_factory=dict)
    """Seconds that all epochs would take, by what changes the network."""

    @property
    def left(self) -> float:
        """Return the seconds left for trials, after what it takes to make the best of them again."""
        spent = sum(trial.seconds for trial in self.found)
        order = self.ranked() if self.settings.remake else []
        kept = order[0].seconds * self.settings.remake if order and order[0].recipe else 0.0
        return self.settings.seconds - spent - kept

    def may(self, choice: Choice) -> bool:
        """Whether the budget has room for a choice."""
        return self.left > 0 and (choice in self.whole or len(self.whole) <= self.settings.trials)

    @property
    def is_over(self) -> bool:
        return self.left <= 0 or len(self.whole) > self.settings.trials

    def affords(self, choice: Choice, share: float) -> bool:
        """Whether so many epochs of a choice are expected to end in time; what is not known yet is tried."""
        if not self.space.trained(choice):
            return True
        known = self._training.get(self.space.split(choice)[0])
        if known is None and self._training:
            known = statistics.median(self._training.values())
        return known is None or known * share + self._besides() < self.left

    def _besides(self) -> float:
        """Return the seconds that a trial takes without training."""
        times = [trial.seconds for trial in self.found if not self.space.trained(self.choice_of[trial.key])]
        return statistics.median(times) if times else 0.0

    def affordable(self, choice: Choice, shares: Sequence[float]) -> float | None:
        """Return the largest share of a choice's epochs that takes no more than half of the time left, or the least."""
        if self.space.recipe(choice) is None or not self.space.trained(choice):
            return 1.0
        if self.settings.strategy is not Strategy.BAYESIAN:
            return 1.0 if self.affords(choice, 1.0) else None
        return next((share for share in reversed(shares) if self.affords(choice, 2 * share)), None)

    def attempt(self, choice: Choice, share: float = 1.0) -> Trial:
        """Try a choice with a share of its epochs, unless that was tried before."""
        steps = tuple(shortened(option.step, share) for option in self.space.recipe(choice) or ())
        proposal = Proposal(steps, share if self.space.trained(choice) else 1.0)
        if proposal.key in self.choice_of:
            self.whole[choice] = next(trial for trial in self.found if trial.key == proposal.key)
            return self.whole[choice]
        trial = self.measure(proposal, self.left)
        self.found.append(trial)
        self.whole[choice] = trial
        self.choice_of[trial.key] = choice
        stem = self.space.split(choice)[0]
        if self.space.trained(choice) and trial.outcome is Outcome.MEASURED and stem not in self._training:
            self._training[stem] = max(trial.seconds - self._besides(), 0.0) / share
        return trial

    def margin(self, trial: Trial) -> float:
        """Return by how much a trial is expected to be proven to hold; below 0 it is not."""
        return trial.margin(self.settings.judges, self.settings.widened)

    def holds(self, trial: Trial) -> bool:
        """Whether a trial is feasible, and so clearly that this is expected to be proven in the end."""
        return is_feasible(trial, self.settings.max_ms) and self.margin(trial) >= 0

    def ranked(self) -> list[Trial]:
        """Return the trials that hold, best first."""
        return ranked([t for t in self.found if self.holds(t)], self.settings.objective, self.settings.max_ms)

    @property
    def best(self) -> float:
        """Return what the best trial that holds reached; infinite while there is none."""
        order = self.ranked()
        return value_of(order[0], self.settings.objective) if order else float("inf")

    def cost(self, choice: Choice) -> tuple[bool, bool, int, int]:
        """Order recipes that do not train: presets, then what changes the network last, fewer steps, as listed."""
        stem, _ = self.space.split(choice)
        return choice not in self.space.starters, any(stem), sum(map(bool, choice)), max(choice)

    def untried(self) -> Iterator[Choice]:
        return (choice for choice in self.space.choices() if choice not in self.whole)
