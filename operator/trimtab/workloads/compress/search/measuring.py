"""One trial: a recipe carried out on the folds, and what came of it in the serving engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

import numpy as np
import structlog

from trimtab.api.compression import Objective
from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Guardrail, Verdict
from trimtab.api.quantities import drop_limit, fraction
from trimtab.errors import NotYet, Stalled
from trimtab.workloads.compress.data import RunData, gather_data
from trimtab.workloads.compress.datasets import Array
from trimtab.workloads.compress.evaluate import Served
from trimtab.workloads.compress.exhaustion import exhaustion
from trimtab.workloads.compress.metrics import judgement
from trimtab.workloads.compress.recipe import PlacedStep
from trimtab.workloads.compress.search.holdout import Holdout
from trimtab.workloads.compress.search.timing import THROUGHPUT_BATCH, paced
from trimtab.workloads.compress.search.trials import Outcome, Proposal, Trial
from trimtab.workloads.compress.stopping import OutOfTime, Stop, TimeLimit

if TYPE_CHECKING:
    from trimtab.planning.guardrail import Judgement

SLICE = 0.2
"""Of the first fold's samples: a drop that is beyond the limit there ends the trial."""
_FEWEST = 20  # of a slice: fewer tell nothing
log = structlog.get_logger()

Build = Callable[[tuple[PlacedStep, ...], RunData, int, Stop], Path]
"""Carries out steps on a fold's data, looking at a Stop on the way; returns the model file."""


@dataclass(slots=True)
class Bench:
    """Measures proposals."""

    guardrail: Guardrail
    objective: Objective
    holdout: Holdout
    baseline: Path
    """Candidate 0: the source's weights in the serving engine."""
    threads: int
    build: Build
    place: Callable[[Proposal], tuple[PlacedStep, ...]]
    size: Callable[[Path], int]
    stop: Stop
    clock: Callable[[], float]
    _said: dict[int, Array] = field(default_factory=dict)
    """What candidate 0 says, by fold."""

    def measure(self, proposal: Proposal, seconds: float) -> Trial:
        """Carry out a recipe and compare it with candidate 0; what cannot be done, or not in time, is told as such.

        Raises:
            NotYet: A store is away. Interrupted: The run was asked to end. Stalled: Candidate 0 cannot be measured, or
                the disk is full.
        """
        began = self.clock()
        trial = Trial(proposal.key, [step.wire() for step in proposal.steps], proposal.epochs, Outcome.MEASURED, 0.0)
        try:
            found = self._measured(proposal, TimeLimit(self.stop, self.clock, seconds))
        except OutOfTime:
            found = {"outcome": Outcome.CUT_OFF, "message": f"the search's time was up after {seconds:.0f} s of this"}
        except Stalled as error:
            if not proposal.steps:
                raise
            found = {"outcome": Outcome.FAILED, "message": error.message}
        except NotYet:
            raise
        except Exception as error:  # noqa: BLE001 - one recipe that breaks a library costs no search
            found = {"outcome": Outcome.FAILED, "message": _fault(proposal, error)}
        found["seconds"] = round(self.clock() - began, 3)
        log.info("trial.finished", recipe=proposal.title, epochs=proposal.epochs, **found)
        return Trial.read(trial.wire() | found)

    def _measured(self, proposal: Proposal, stop: Stop) -> dict[str, object]:
        steps = self.place(proposal)
        before: list[Array] = []
        after: list[Array] = []
        labels: list[Array | None] = []
        found: dict[str, object] = {}
        for fold, library in enumerate(self.holdout.folds):
            data = gather_data(self._every_sample(), steps, library)
            path = self.build(steps, data, fold, stop)
            second = Served(path, self.threads, data.evaluation, "the candidate")
            if fold == 0:
                found["bytes"] = self.size(path)
            for part in self._parts(len(data.evaluation), fold):
                before.append(self._baseline(fold, data)[part])
                after.append(second.outputs(data.evaluation.take(part), stop, lambda _done: None))
                labels.append(None if data.evaluation.y is None else data.evaluation.y[part])
                judged = self._judged(before, after, labels)
                found |= {name: getattr(judged, name) for name in ("drop", "lower", "upper", "limit", "samples")}
                # A short training that misses the limit tells nothing of a whole one.
                if judged.verdict is Verdict.FAILED and len(before) == 1 and proposal.epochs >= 1:
                    sentence = f"ended after {judged.samples} samples: {judged.message}"
                    return found | {"outcome": Outcome.HOPELESS, "message": sentence}
            if fold == 0:
                found |= self._pace(second, data, stop)
        return found

    def _pace(self, second: Served, data: RunData, stop: Stop) -> dict[str, object]:
        first = Served(self.baseline, self.threads, data.evaluation, "spec.source.uri")
        batch = THROUGHPUT_BATCH if self.objective is Objective.THROUGHPUT else 1
        pace = paced(first, second, data.evaluation, batch, self.clock, stop)
        shares = {"ratio": pace.ratio, "ratio_low": pace.low, "ratio_high": pace.high, "latency_ms": pace.latency_ms}
        return {name: round(value, 4) for name, value in shares.items()}

    def _baseline(self, fold: int, data: RunData) -> Array:
        if fold not in self._said:
            first = Served(self.baseline, self.threads, data.evaluation, "spec.source.uri")
            self._said[fold] = first.outputs(data.evaluation, self.stop, lambda _done: None)
        return self._said[fold]

    def _judged(self, before: list[Array], after: list[Array], labels: Sequence[Array | None]) -> Judgement:
        guardrail = self.guardrail
        known = [part for part in labels if part is not None]
        y = np.concatenate(known) if known else None
        limit, confidence = drop_limit(guardrail.max_drop), fraction(guardrail.confidence)
        first, second = np.concatenate(before), np.concatenate(after)
        return judgement(guardrail.metric, first, second, y, limit, confidence, 1, guardrail.top_k)

    def _parts(self, count: int, fold: int) -> Iterator[Array]:
        """Yield the first fifth of the first fold, then the rest."""
        few = int(count * SLICE) if fold == 0 else 0
        if few >= _FEWEST:
            yield np.arange(few)
            yield np.arange(few, count)
        else:
            yield np.arange(count)

    def _every_sample(self) -> Guardrail:
        """Return the guardrail without the bound on what it judges on: these are other samples."""
        dataset = self.guardrail.dataset.model_copy(update={"samples": None})
        return self.guardrail.model_copy(update={"dataset": dataset})


def _fault(proposal: Proposal, error: Exception) -> str:
    """Return what a library said; a full disk, and whatever keeps candidate 0 from being measured, is raised again."""
    told = exhaustion(error, gettempdir())
    if told is not None and told.reason == Reason.DISK_FULL:
        raise told from error
    if not proposal.steps:
        raise error
    log.error("trial.broke", recipe=proposal.title, exc_info=error)
    return told.message if told is not None else f"{type(error).__name__}: {str(error)[:500]}"
