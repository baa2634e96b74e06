"""The best of a search judged on the guardrail's samples, in turn, until one passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from trimtab.api.compression import Step
from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Guardrail, Verdict
from trimtab.api.runs import RunSpec
from trimtab.api.status import GuardrailStatus
from trimtab.errors import Stalled
from trimtab.workloads.compress.checkpoints import Line
from trimtab.workloads.compress.data import Library, RunData, gather_data
from trimtab.workloads.compress.evaluate import Latency
from trimtab.workloads.compress.judging import Finding, judge
from trimtab.workloads.compress.machine import Machine
from trimtab.workloads.compress.progress import Reporter
from trimtab.workloads.compress.recipe import PlacedStep
from trimtab.workloads.compress.search.space import SEARCH_FIELD
from trimtab.workloads.compress.search.summary import Look, corrected, told
from trimtab.workloads.compress.search.trials import Trial
from trimtab.workloads.compress.stopping import OutOfTime, Stop, TimeLimit

if TYPE_CHECKING:
    from trimtab.workloads.compress.techniques import StepReport

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate with its verdict."""

    index: int
    """Among the candidates."""
    candidate: Path
    steps: tuple[PlacedStep, ...]
    reports: tuple[StepReport, ...]
    data: RunData
    finding: Finding


Make = Callable[[tuple[PlacedStep, ...], RunData, int, Reporter, Stop], "tuple[Path, tuple[StepReport, ...]]"]


@dataclass(slots=True)
class Finals:
    """Judges candidates; what was judged is remembered, so that a killed run does not throw the dice again."""

    guardrail: Guardrail
    spec: RunSpec
    machine: Machine
    baseline: Path
    place: Callable[[list[Step]], tuple[PlacedStep, ...]]
    make: Make
    """Makes a candidate from all training data: its file, and what the steps did."""
    line: Line
    seconds: Callable[[Trial], float | None]
    """Time for making a compressed candidate; None where it is made already."""
    inside: Callable[[str, int, int, int], Reporter]
    """Makes a reporter of title, index, number of candidates and number of steps."""
    stop: Stop
    clock: Callable[[], float]

    def judged(self, candidates: list[Trial], library: Library) -> tuple[Judged, list[Look]]:
        """Judge until one passes; without any, the first that could be made is taken.

        Raises:
            Stalled: Not even candidate 0 could be made. NotYet, Interrupted: As a run's steps do.
        """
        kept = self._kept()
        confidence = corrected(self.guardrail.confidence, len(candidates))
        strict = self.guardrail.model_copy(update={"confidence": confidence})
        spec = self.spec.model_copy(update={"guardrail": strict})
        seen: list[Look] = []
        best: Judged | None = None
        for index, trial in enumerate(candidates):
            found = self._judge(trial, index, len(candidates), spec, library, kept)
            if isinstance(found, str):
                seen.append(Look(trial.title, Verdict.FAILED.value, found))
                continue
            status = found.finding.guardrail
            if status is None:
                raise TypeError("a search needs a guardrail")
            seen.append(Look(trial.title, status.verdict.value, status.message))
            if best is None or status.verdict is Verdict.PASSED:
                best = found
            if status.verdict is Verdict.PASSED:
                break
        if best is None:
            raise Stalled(Reason.STEP_FAILED, f"{SEARCH_FIELD}: no candidate could be made again; run it again")
        return best, seen

    def _judge(
        self, trial: Trial, index: int, of: int, spec: RunSpec, library: Library, kept: dict[str, dict[str, Any]]
    ) -> Judged | str:
        """Return a candidate with its verdict, or why it could not be made."""
        if isinstance(kept.get(trial.key, {}).get("message"), str):
            return str(kept[trial.key]["message"])
        steps = self.place([Step.model_validate(step) for step in trial.recipe])
        data = gather_data(self.guardrail, steps, library)
        reporter = self.inside(trial.title, index, of, len(steps))
        seconds = self.seconds(trial) if trial.recipe else None
        stop = self.stop if seconds is None else TimeLimit(self.stop, self.clock, seconds)
        try:
            candidate, reports = self.make(steps, data, index, reporter, stop)
        except (Stalled, OutOfTime) as error:
            why = error.message if isinstance(error, Stalled) else f"not made again within {seconds:.0f} s"
            log.warning("candidate.failed", recipe=trial.title, message=why)
            self._keep(kept, trial, {"message": why})
            return why
        if trial.key in kept:
            log.info("verdict.remembered", recipe=trial.title)
            return Judged(index, candidate, steps, reports, data, _read(kept[trial.key]))
        finding = judge(spec, self.machine, self.baseline, candidate, data, self.stop, reporter.tick)
        if finding.guardrail is not None:
            status = told(finding.guardrail, index + 1, of, self.guardrail.confidence)
            finding = replace(finding, guardrail=status)
        self._keep(kept, trial, _wire(finding))
        return Judged(index, candidate, steps, reports, data, finding)

    def _kept(self) -> dict[str, dict[str, Any]]:
        saved = self.line.load()
        return dict(saved.state["looks"]) if saved is not None else {}

    def _keep(self, kept: dict[str, dict[str, Any]], trial: Trial, what: dict[str, Any]) -> None:
        kept[trial.key] = what
        self.line.save({"looks": kept}, _nothing_more)


def _wire(finding: Finding) -> dict[str, Any]:
    return {
        "guardrail": finding.guardrail.wire() if finding.guardrail else None,
        "latency": asdict(finding.latency),
        "classes": finding.classes,
        "evidence": finding.evidence,
    }


def _read(document: dict[str, Any]) -> Finding:
    status, times = document["guardrail"], document["latency"]
    return Finding(
        guardrail=GuardrailStatus.model_validate(status) if status else None,
        latency=Latency(tuple(times["baseline"]), tuple(times["candidate"])),
        classes=document["classes"],
        evidence=document["evidence"],
    )


def _nothing_more(folder: Path) -> None:
    """Verdicts have no files besides their state."""
    del folder
