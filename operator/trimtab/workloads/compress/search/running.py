"""A search as part of a run: trials on carved samples, then the best judged on the guardrail's until one passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from trimtab.api.compression import Objective, Preset, Search, Step, Strategy
from trimtab.api.conditions import Reason
from trimtab.api.guardrail import Verdict
from trimtab.api.quantities import seconds
from trimtab.api.runs import RunSpec
from trimtab.errors import Stalled
from trimtab.store import bytes_digest
from trimtab.workloads.compress.carrying import Boundaries, Carrier, Start
from trimtab.workloads.compress.checkpoints import Checkpoints
from trimtab.workloads.compress.compiled import size_of
from trimtab.workloads.compress.data import RunData, gather_data
from trimtab.workloads.compress.judging import Finding, judge
from trimtab.workloads.compress.machine import Machine
from trimtab.workloads.compress.progress import Reporter
from trimtab.workloads.compress.recipe import PlacedStep, recipe
from trimtab.workloads.compress.search.exploring import Settings, explore
from trimtab.workloads.compress.search.holdout import Holdout
from trimtab.workloads.compress.search.journal import Journal
from trimtab.workloads.compress.search.measuring import Bench
from trimtab.workloads.compress.search.pareto import ranked
from trimtab.workloads.compress.search.prefixes import Prefixes, prefix_keys
from trimtab.workloads.compress.search.space import SEARCH_FIELD, Space, our_space, users_space
from trimtab.workloads.compress.search.summary import (
    LOOKS,
    Look,
    corrected,
    document,
    looks_for,
    nothing_held,
    told,
)
from trimtab.workloads.compress.search.trials import Proposal, Trial
from trimtab.workloads.compress.stopping import Stop

if TYPE_CHECKING:
    from trimtab.workloads.compress.techniques import Model, StepReport

TRIALS = 24
TIMEOUT_S = 25 * 60.0
_FINAL = 0.95  # of the search's stage goes to trials, the rest to the candidates made anew
log = structlog.get_logger()


class Within(Reporter):
    """Reports the steps of a trial as a part of the search's own stage."""

    def __init__(self, outer: Reporter, title: str, low: float, high: float, steps: int) -> None:
        self._outer, self._title, self._low, self._steps = outer, title, low, max(steps, 1)
        self._width, self._step, self._share = high - low, 0, 0.0

    def begin(self, index: int) -> None:
        self._step = index - 1
        self.tick(0.0, "")

    def resumed(self, done: float) -> None:
        self.tick(done, "resumed")

    def tick(self, done: float, detail: str) -> None:
        self._share = min(max((self._step + done) / self._steps, self._share), 1.0)
        self._outer.tick(self._low + self._width * self._share, f"{self._title}: {detail}" if detail else self._title)


@dataclass(frozen=True, slots=True)
class Found:
    """The candidate that is delivered, with everything that is told about it."""

    candidate: Path
    recipe: tuple[PlacedStep, ...]
    reports: tuple[StepReport, ...]
    data: RunData
    finding: Finding
    document: dict[str, Any]


MakeCarrier = Callable[[tuple[PlacedStep, ...], RunData, Path, Boundaries, Checkpoints, Reporter], Carrier]


@dataclass(slots=True)
class SearchRun:
    """What a search needs of its run."""

    spec: RunSpec
    search: Search
    start: Start
    holdout: Holdout
    machine: Machine
    origin: str
    """Digest of source, data and tools."""
    folder: Path
    """Scratch space."""
    checkpoints: Callable[[str], Checkpoints]
    """Lines of checkpoints by name."""
    carrier: MakeCarrier
    write: Callable[[Model, Start, RunData, Path], Path]
    """Writes a model's file into a folder."""
    reporter: Reporter
    stop: Stop
    clock: Callable[[], float]
    _inside: Reporter | None = None

    def find(self) -> Found:
        """Try recipes, then judge the best; deliver the first that passes.

        Raises:
            Stalled: The space does not fit the source. NotYet, Interrupted: As a run's steps do.
        """
        trials, settings = self._trials()
        order = ranked(trials, settings.objective, settings.max_ms)
        candidates = looks_for(order) or trials[:1]  # candidate 0 is the first of all trials
        found, looks = self._judged(candidates, len(candidates))
        chosen = candidates[found[0]]
        warnings = () if any(trial.recipe for trial in order) else (nothing_held(trials),)
        _, candidate, steps, reports, data, finding = found
        data = replace(data, warnings=(*data.warnings, *warnings))
        log.info("recipe.chosen", recipe=chosen.title, trials=len(trials), looks=len(looks))
        return Found(candidate, steps, reports, data, finding, document(self.search, trials, order, chosen, looks))

    def _trials(self) -> tuple[list[Trial], Settings]:
        search, guardrail = self.search, self.spec.guardrail
        space = self._space()
        single = search.objective is not Objective.THROUGHPUT  # whose batches the promise is not about
        bench = Bench(
            guardrail=guardrail,
            objective=search.objective,
            holdout=self.holdout,
            baseline=self.start.graph,
            threads=self.machine.threads,
            build=self._build,
            place=lambda proposal: self._placed(list(proposal.steps)),
            size=size_of,
            stop=self.stop,
            clock=self.clock,
        )
        settings = Settings(
            objective=search.objective,
            strategy=search.strategy or Strategy.BAYESIAN,
            trials=search.trials or TRIALS,
            seconds=seconds(search.timeout) if search.timeout else TIMEOUT_S,
            max_ms=seconds(guardrail.max_latency) * 1000 if guardrail.max_latency and single else None,
        )

        reached = 0.0

        def begun(proposal: Proposal, done: int, spent: float) -> None:
            nonlocal reached
            self.stop.check()
            share = 1 / (settings.trials + 1)
            reached = min(max(reached, done * share, spent / max(settings.seconds, 1e-9)), _FINAL)
            high = min(reached + share, _FINAL)
            self._inside = Within(
                self.reporter, f"trial {done + 1}, {proposal.title}", reached, high, len(proposal.steps)
            )
            reached = high

        journal = Journal(self.checkpoints("search"), bench.measure, begun)
        journal.resume()
        return explore(space, settings, journal.result), settings

    def _space(self) -> Space:
        graph = self.start.network is None
        if self.search.space is None:
            return our_space(self.search.objective, trainable=self.holdout.trainable and not graph)
        space = users_space(self.search.space)
        for option in (option for slot in space.slots for option in slot):
            if graph and option.needs_network:
                raise Stalled(
                    Reason.NOT_SUPPORTED,
                    f"{option.field}: an ONNX source cannot be pruned or trained; leave it out of {SEARCH_FIELD}.space",
                )
        return space

    def _placed(self, steps: list[Step]) -> tuple[PlacedStep, ...]:
        """Return steps as a run of just these places them, so that pasting them back makes the same artifact."""
        choice = {"steps": steps, "preset": None} if steps else {"steps": None, "preset": Preset.NONE}
        compression = self.spec.compression.model_copy(update={"search": None, **choice})
        return recipe(self.spec.model_copy(update={"compression": compression}), self.start.network is None)

    def _build(self, steps: tuple[PlacedStep, ...], data: RunData, fold: int) -> Path:
        origin = bytes_digest(f"{self.origin} {fold} of {len(self.holdout.folds)}".encode())
        keys = prefix_keys(origin, steps) or ["none"]
        model, _ = self._carried(steps, data, keys, Prefixes(self.folder / "prefixes", keys), self._inside)
        return self.write(model, self.start, data, _fresh(self.folder / "trials" / keys[-1]))

    def _carried(
        self,
        steps: tuple[PlacedStep, ...],
        data: RunData,
        keys: list[str],
        boundaries: Boundaries,
        reporter: Reporter | None,
    ) -> tuple[Model, tuple[StepReport, ...]]:
        training = self.checkpoints(f"training-{keys[-1]}")
        scratch = _fresh(self.folder / "steps" / keys[-1])
        return self.carrier(steps, data, scratch, boundaries, training, reporter or self.reporter).carry(self.start)

    def _judged(self, candidates: list[Trial], looks: int) -> tuple[_Judged, list[Look]]:
        """Make each candidate anew from the whole training split and judge it, until one passes."""
        guardrail = self.spec.guardrail
        confidence = corrected(guardrail.confidence, looks)
        strict = guardrail.model_copy(update={"confidence": confidence})
        spec = self.spec.model_copy(update={"guardrail": strict})
        seen: list[Look] = []
        best: _Judged | None = None
        for index, trial in enumerate(candidates):
            made = self._made_anew(trial, index, spec)
            if made is None:
                seen.append(Look(trial.title, Verdict.FAILED.value, "a step failed on the whole training split"))
                continue
            status = made[-1].guardrail
            if status is None:
                raise TypeError("a search needs a guardrail")
            status = told(status, index + 1, looks, guardrail.confidence)
            made = (*made[:-1], replace(made[-1], guardrail=status))
            seen.append(Look(trial.title, status.verdict.value, status.message))
            if best is None or status.verdict is Verdict.PASSED:
                best = made
            if status.verdict is Verdict.PASSED:
                break
        if best is None:
            raise Stalled(Reason.STEP_FAILED, f"{SEARCH_FIELD}: no candidate could be made again; run it again")
        return best, seen

    def _made_anew(self, trial: Trial, index: int, spec: RunSpec) -> _Judged | None:
        steps = self._placed([Step.model_validate(step) for step in trial.recipe])
        data = gather_data(self.spec.guardrail, steps, self.holdout.final)
        keys = prefix_keys(f"{self.origin} final", steps) or ["none"]
        low, high = (_FINAL + (1 - _FINAL) * part / LOOKS for part in (index, index + 1))
        inside = Within(self.reporter, f"final {trial.title}", low, high, len(steps))
        boundaries = self.checkpoints(f"final-{keys[-1]}")
        try:
            model, reports = self._carried(steps, data, keys, boundaries, inside)
            candidate = self.write(model, self.start, data, _fresh(self.folder / "final" / str(index)))
        except Stalled as error:
            log.warning("candidate.failed", recipe=trial.title, message=error.message)
            return None
        finding = judge(spec, self.machine, self.start.graph, candidate, data, self.stop, inside.tick)
        return index, candidate, steps, reports, data, finding


_Judged = tuple[int, Path, tuple[PlacedStep, ...], "tuple[StepReport, ...]", RunData, Finding]


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
