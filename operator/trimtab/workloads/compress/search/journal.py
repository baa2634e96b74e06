"""What a search found so far outlives its pod: every finished trial is in a checkpoint before the next one begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from trimtab.workloads.compress.checkpoints import Checkpoints
from trimtab.workloads.compress.search.trials import Proposal, Trial

log = structlog.get_logger()


@dataclass(slots=True)
class Journal:
    """Finished trials by the key of their proposal."""

    line: Checkpoints
    measure: Callable[[Proposal], Trial]
    begun: Callable[[Proposal, int, float], None] = lambda _proposal, _done, _seconds: None
    """Told of each trial that begins, how many are done and what they took."""
    trials: dict[str, Trial] = field(default_factory=dict)

    def resume(self) -> None:
        """Take over what an earlier pod found."""
        saved = self.line.load()
        if saved is None:
            return
        self.trials = {document["key"]: Trial.read(document) for document in saved.state["trials"]}
        log.info("search.resumed", trials=len(self.trials))

    def result(self, proposal: Proposal) -> Trial:
        """Return what is known of a proposal; measure it, and remember that, when nothing is."""
        if proposal.key not in self.trials:
            self.begun(proposal, len(self.trials), sum(trial.seconds for trial in self.trials.values()))
            self.trials[proposal.key] = self.measure(proposal)
            self.line.save({"trials": [trial.wire() for trial in self.trials.values()]}, _nothing_more)
        return self.trials[proposal.key]


def _nothing_more(folder: Path) -> None:
    """A journal has no files besides its state."""
    del folder
