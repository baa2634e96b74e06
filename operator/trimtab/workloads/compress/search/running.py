"""A search as part of a run: trials on carved samples, then the best judged on the guardrail's until one passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from trimtab.api.compression import CompileEngine, Objective, Preset, Search, Step, Strategy
from trimtab.api.conditions import Reason
from trimtab.api.quantities import seconds
from trimtab.api.runs import RunSpec
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.store import bytes_digest
from trimtab.workloads.compress.carrying import Carrier, Start
from trimtab.workloads.compress.checkpoints import Checkpoints, Line
from trimtab.workloads.compress.compiled import size_of
from trimtab.workloads.compress.data import RunData
from trimtab.workloads.compress.judging import Finding
from trimtab.workloads.compress.machine import Machine
from trimtab.workloads.compress.progress import Reporter
from trimtab.workloads.compress.recipe import PlacedStep, recipe
from trimtab.workloads.compress.search.exploring import explore
from trimtab.workloads.compress.search.finals import Finals
from trimtab.workloads.compress.search.holdout import Holdout
from trimtab.workloads.compress.search.journal import Journal
from trimtab.workloads.compress.search.measuring import Bench
from trimtab.workloads.compress.search.pareto import ranked
from trimtab.workloads.compress.search.prefixes import Prefixes, prefix_keys
from trimtab.workloads.compress.search.space import SEARCH_FIELD, Option, Space, our_space, users_space
from trimtab.workloads.compress.search.summary import document, looks_for, nothing_held, widening
from trimtab.workloads.compress.search.trials import Outcome, Proposal, Trial
from trimtab.workloads.compress.search.walking import Settings
from trimtab.workloads.compress.stopping import Stop

if TYPE_CHECKING:
    from trimtab.workloads.compress.techniques import Model, StepReport

TRIALS = 24
TIMEOUT_S = 25 * 60.0
_FINAL = 0.95  # of the search's stage goes to trials, the rest to the candidates made anew
_MORE_TO_LEARN = 4 / 3  # times that the whole training split takes, in that of the part without the validation samples
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


MakeCarrier = Callable[[tuple[PlacedStep, ...], RunData, Path, Line, Line, Reporter, Stop], Carrier]


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
    presets: tuple[tuple[Step, ...], ...]
    """What our presets would do with this source: tried first."""
    reporter: Reporter
    stop: Stop
    clock: Callable[[], float]
    _inside: Reporter | None = None

    def find(self) -> Found:
        """Try recipes, then judge the best; deliver the first that passes.

        Raises:
            Stalled: The space does not fit the source. NotYet, Interrupted: As a run's steps do.
        """
        began = self.clock()
        settings = self._settings()
        trials = self._trials(settings)
        order = ranked(trials, settings.objective, settings.max_ms)
        candidates = (
            looks_for(order, settings.judges, settings.widened) or trials[:1]
        )  # of all trials the first is number 0
        late = began + settings.seconds - self.clock()
        finals = Finals(
            guardrail=self.spec.guardrail,
            spec=self.spec,
            machine=self.machine,
            baseline=self.start.graph,
            place=self._placed,
            make=self._made_anew,
            line=self.checkpoints("looks"),
            seconds=lambda trial: max(late, trial.seconds * 2 * settings.remake) if settings.remake else None,
            inside=self._final_reporter,
            stop=self.stop,
            clock=self.clock,
        )
        best, looks = finals.judged(candidates, self.holdout.final)
        chosen = candidates[best.index]
        data = replace(best.data, warnings=(*best.data.warnings, *self._warnings(trials, order)))
        log.info("recipe.chosen", recipe=chosen.title, trials=len(trials), looks=len(looks))
        told = document(self.search, trials, order, chosen, looks) | {"compared": self.holdout.source}
        return Found(best.candidate, best.steps, best.reports, data, best.finding, told)

    def _warnings(self, trials: list[Trial], order: list[Trial]) -> tuple[str, ...]:
        found = () if any(trial.recipe for trial in order) else (nothing_held(trials),)
        cut = [trial.title for trial in trials if trial.outcome is Outcome.CUT_OFF]
        if cut:
            limit = self.search.timeout or f"{TIMEOUT_S / 60:.0f}m"
            sentence = (
                f"{SEARCH_FIELD}.timeout: {limit} was up after {len(trials)} trials, in the middle of one "
                f"({cut[0]}), which was stopped; the best of the others was taken"
            )
            found = (*found, sentence)
        return found

    def _settings(self) -> Settings:
        search, guardrail = self.search, self.spec.guardrail
        single = search.objective is not Objective.THROUGHPUT  # whose batches the promise is not about
        return Settings(
            objective=search.objective,
            strategy=search.strategy or Strategy.BAYESIAN,
            trials=search.trials or TRIALS,
            seconds=seconds(search.timeout) if search.timeout else TIMEOUT_S,
            remake=_MORE_TO_LEARN if self.holdout.remade else 0.0,
            judges=self.holdout.judges,
            widened=widening(guardrail.confidence),
            max_ms=seconds(guardrail.max_latency) * 1000 if guardrail.max_latency and single else None,
        )

    def _trials(self, settings: Settings) -> list[Trial]:
        space = self._space()
        bench = Bench(
            guardrail=self.spec.guardrail,
            objective=settings.objective,
            holdout=self.holdout,
            baseline=self.start.graph,
            threads=self.machine.threads,
            build=self._build,
            place=lambda proposal: self._placed(list(proposal.steps)),
            size=size_of,
            stop=self.stop,
            clock=self.clock,
        )
        expected = space.count(settings.trials + 1)
        reached = 0.0

        def begun(proposal: Proposal, done: int, spent: float) -> None:
            nonlocal reached
            self.stop.check()
            share = 1 / (max(expected, done) + 1)
            reached = min(max(reached, done * share, spent / max(settings.seconds, 1e-9)), _FINAL)
            high = min(reached + share, _FINAL)
            title = f"trial {done + 1}, {proposal.title}"
            self._inside = Within(self.reporter, title, reached, high, len(proposal.steps))
            reached = high

        journal = Journal(self.checkpoints("search"), bench.measure, begun, self.clock)
        journal.resume()
        return explore(space, settings, journal.result)

    def _space(self) -> Space:
        graph = self.start.network is None
        if self.search.space is None:
            trainable = self.holdout.trainable and not graph
            return our_space(self.search.objective, trainable=trainable, presets=self.presets, accepts=self._accepts)
        space = users_space(self.search.space, self._accepts)
        for option in (option for slot in space.slots for option in slot):
            if graph and option.needs_network:
                raise Stalled(
                    Reason.NOT_SUPPORTED,
                    f"{option.field}: an ONNX source cannot be pruned or trained; leave it out of {SEARCH_FIELD}.space",
                )
        return space

    def _accepts(self, options: tuple[Option, ...]) -> bool:
        try:
            placed = self._placed([option.step for option in options])
        except Stalled:
            return False
        return self.spec.engine is Engine.AUTO or all(one.engine is CompileEngine.ONNX_RUNTIME for one in placed)

    def _placed(self, steps: list[Step]) -> tuple[PlacedStep, ...]:
        """Return steps as a run of just these places them, so that pasting them back makes the same artifact."""
        choice = {"steps": steps, "preset": None} if steps else {"steps": None, "preset": Preset.NONE}
        compression = self.spec.compression.model_copy(update={"search": None, **choice})
        return recipe(self.spec.model_copy(update={"compression": compression}), self.start.network is None)

    def _build(self, steps: tuple[PlacedStep, ...], data: RunData, fold: int, stop: Stop) -> Path:
        keys = self._keys(steps, fold)
        model, _ = self._carried(steps, data, keys, self._prefixes(keys), self._inside or self.reporter, stop)
        return self.write(model, self.start, data, _fresh(self.folder / "trials" / keys[-1]))

    def _keys(self, steps: tuple[PlacedStep, ...], fold: int) -> list[str]:
        origin = bytes_digest(f"{self.origin} {fold} of {len(self.holdout.folds)}".encode())
        return prefix_keys(origin, steps) or ["none"]

    def _prefixes(self, keys: list[str]) -> Prefixes:
        return Prefixes(self.folder / "prefixes", keys)

    def _carried(
        self,
        steps: tuple[PlacedStep, ...],
        data: RunData,
        keys: list[str],
        boundaries: Line,
        reporter: Reporter,
        stop: Stop,
    ) -> tuple[Model, tuple[StepReport, ...]]:
        training = self.checkpoints(f"training-{keys[-1]}")
        scratch = _fresh(self.folder / "steps" / keys[-1])
        return self.carrier(steps, data, scratch, boundaries, training, reporter, stop).carry(self.start)

    def _made_anew(
        self, steps: tuple[PlacedStep, ...], data: RunData, index: int, reporter: Reporter, stop: Stop
    ) -> tuple[Path, tuple[StepReport, ...]]:
        """Make a candidate from all that a run of its steps would learn from; what its trial made is taken as it is."""
        if self.holdout.remade or any(_has_own_data(placed.step) for placed in steps):
            keys = prefix_keys(f"{self.origin} final", steps) or ["none"]
            boundaries: Line = self.checkpoints(f"final-{keys[-1]}")
        else:
            keys = self._keys(steps, 0)
            boundaries = self._prefixes(keys)
        model, reports = self._carried(steps, data, keys, boundaries, reporter, stop)
        return self.write(model, self.start, data, _fresh(self.folder / "final" / str(index))), reports

    def _final_reporter(self, title: str, index: int, of: int, steps: int) -> Reporter:
        low, high = (_FINAL + (1 - _FINAL) * part / of for part in (index, index + 1))
        return Within(self.reporter, f"final {title}", low, high, steps)


def _has_own_data(step: Step) -> bool:
    """Whether a step learns or calibrates from a data set of its own, which trials see without what they judge on."""
    training = step.finetune or step.distill
    calibration = step.quantize.calibration if step.quantize else None
    return (training is not None and training.dataset is not None) or (
        calibration is not None and calibration.uri is not None
    )


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
