"""What a search found so far outlives its pod: every finished trial is in a checkpoint before the next one begins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import structlog

from trimtab.workloads.compress.checkpoints import Line
from trimtab.workloads.compress.search.trials import Outcome, Proposal, Trial
from trimtab.workloads.compress.stopping import Interrupted

MOST_DEATHS = 2
"""Of the process, without a word, in one trial: then it is the trial's fault."""
log = structlog.get_logger()

Measure = Callable[[Proposal, float], Trial]
"""Measures a proposal within so many seconds."""


@dataclass(frozen=True, slots=True)
class Running:
    """The trial that was not finished when the journal was written."""

    key: str
    deaths: int
    """Times that the process died in it, counting this one: who reads this is not the process that wrote it."""
    seconds: float
    """Spent on it in pods that were told to stop."""


@dataclass(slots=True)
class Journal:
    """Finished trials by the key of their proposal."""

    line: Line
    measure: Measure
    begun: Callable[[Proposal, int, float], None] = lambda _proposal, _done, _seconds: None
    """Told of each trial that begins, how many are done and what they took."""
    clock: Callable[[], float] = time.monotonic
    trials: dict[str, Trial] = field(default_factory=dict)
    running: Running | None = None

    def resume(self) -> None:
        """Take over what an earlier pod found."""
        saved = self.line.load()
        if saved is None:
            return
        self.trials = {document["key"]: Trial.read(document) for document in saved.state["trials"]}
        running = saved.state["running"]
        self.running = Running(**running) if running else None
        log.info("search.resumed", trials=len(self.trials), in_trial=self.running is not None)

    def result(self, proposal: Proposal, seconds: float) -> Trial:
        """Return what is known of a proposal; measure it within `seconds`, and remember that, when nothing is."""
        if proposal.key not in self.trials:
            self.begun(proposal, len(self.trials), sum(trial.seconds for trial in self.trials.values()))
            self.trials[proposal.key] = self._measured(proposal, seconds)
            self._save(None)
        return self.trials[proposal.key]

    def _measured(self, proposal: Proposal, seconds: float) -> Trial:
        before = self.running if self.running is not None and self.running.key == proposal.key else None
        deaths, spent = (before.deaths, before.seconds) if before else (0, 0.0)
        if deaths >= MOST_DEATHS and proposal.steps:
            return _deadly(proposal, spent)
        self._save(Running(proposal.key, deaths + 1, spent))
        began = self.clock()
        try:
            found = self.measure(proposal, seconds - spent)
        except Interrupted:
            self._save(Running(proposal.key, deaths, spent + self.clock() - began))
            raise
        return replace(found, seconds=found.seconds + spent)

    def _save(self, running: Running | None) -> None:
        self.running = running
        trials = [trial.wire() for trial in self.trials.values()]
        told = None if running is None else asdict(running)
        self.line.save({"trials": trials, "running": told}, _nothing_more)


def _deadly(proposal: Proposal, spent: float) -> Trial:
    message = (
        f"the process died {MOST_DEATHS} times while it tried this, most often for want of memory; raise "
        "spec.compression.job.resources"
    )
    recipe = [step.wire() for step in proposal.steps]
    return Trial(proposal.key, recipe, proposal.epochs, Outcome.FAILED, spent, message)


def _nothing_more(folder: Path) -> None:
    """A journal has no files besides its state."""
    del folder
