"""One run: fetch, baseline, steps, evaluation, artifact."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from trimtab.api.compression import Preset
from trimtab.api.runs import RunResult, RunSpec
from trimtab.planning.runs import passed
from trimtab.store import complete_artifact, join, publish_artifact, write_manifest
from trimtab.workloads.compress.checkpoints import SUFFIX, Checkpoints, Line, forget_checkpoints
from trimtab.workloads.compress.data import Library, RunData, gather_data, training_at_hand
from trimtab.workloads.compress.machine import Machine
from trimtab.workloads.compress.original import find_original, write_original
from trimtab.workloads.compress.preflight import require_means, require_target
from trimtab.workloads.compress.presets import Chosen, Observed, steps_of
from trimtab.workloads.compress.progress import Reporter, Stage
from trimtab.workloads.compress.recipe import PlacedStep, content_key, recipe
from trimtab.workloads.compress.report import REPORT, REPORT_FOLDER
from trimtab.workloads.compress.search.space import space_steps
from trimtab.workloads.compress.search.summary import RECIPE
from trimtab.workloads.compress.sources.fetching import FetchedSource, fetch_source
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.serve.mapped import align_weights

if TYPE_CHECKING:
    from trimtab.api.compression import Search
    from trimtab.workloads.compress.carrying import Carrier, Start
    from trimtab.workloads.compress.judging import Finding
    from trimtab.workloads.compress.techniques import Model, StepReport
    from trimtab.workloads.compress.workers.group import Group
    from trimtab.workloads.compress.workers.member import Member
    from trimtab.workloads.compress.workers.part import Part

OUTPUT_FIELD = "spec.compression.output.uri"
# Shares of the time, measured on the digits: the first export pays for importing torch and its exporter.
_WEIGHTS = {"fetch": 1.0, "export": 6.0, "evaluate": 2.0, "publish": 1.0, "search": 60.0}
_STEP_WEIGHTS = {
    "prune": 2.0,
    "reduceInputs": 1.0,
    "finetune": 6.0,
    "distill": 8.0,
    "quantize": 3.0,
    "cluster": 2.0,
    "compile": 1.0,
}
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Run:
    """What a run is given: its request and its surroundings."""

    spec: RunSpec
    machine: Machine
    folder: Path
    """Empty scratch space."""
    emit: Callable[[str], None]
    """Takes lines for standard output."""
    stop: Stop
    clock: Callable[[], float] = time.monotonic
    member: Member | None = None
    """Which worker this is, where several pods train."""

    def execute(self) -> RunResult:
        """Compress, judge and publish, or find that it was done before.

        Raises:
            Stalled, NotYet: As their reasons say.
            Interrupted: The run was asked to end; nothing half-written is visible.
            GroupEnded: Another worker is gone, or was told to stop.
        """
        require_target(self.spec.compression.target.device)
        fetched = fetch_source(self.spec.source, self.spec.allow_code, self._made("source"))
        library = Library(self._made("data"))
        chosen = self._preset(fetched, library)
        steps = recipe(self.spec, fetched.is_graph, chosen.steps, refits=fetched.refits)
        require_means(steps, self.machine)
        search = self.spec.compression.search
        data = gather_data(self.spec.guardrail, space_steps(search) if search else steps, library)
        students = self._students(steps)
        library.digests |= {student.uri: student.digest for student in students.values()}
        key = content_key(self.spec, steps, fetched.digest, library.digests, self.machine)
        uri = join(self.spec.output, self.spec.model, key)
        self.stop.check()
        log.info("run.resolved", key=key, steps=[placed.step.title for placed in steps], samples=len(data.evaluation))
        reused = self._reused(uri)
        if reused is not None:
            return reused
        origin = Origin(key, uri, fetched.digest, library.digests, chosen.reasons)
        with ExitStack() as owned:
            if search is None:
                made = self._compress(fetched, students, steps, data, origin, owned)
            else:
                made = self._search(search, fetched, library, data, origin, owned)
        if made is None:
            return RunResult(message=f"{self.member} has done its part; worker 0 goes on")
        result = self._publish(made, origin)
        forget_checkpoints(self.spec.output, self.spec.model, OUTPUT_FIELD)
        return result

    def _preset(self, fetched: FetchedSource, library: Library) -> Chosen:
        """Let a preset choose its steps."""
        preset = self.spec.compression.preset
        if preset is None or preset is Preset.NONE:
            return Chosen((), ())
        return steps_of(preset, self._observed(fetched, library))

    def _observed(self, fetched: FetchedSource, library: Library) -> Observed:
        """Look at source and data as far as presets ask."""
        from trimtab.workloads.compress.families import kind_of

        kind = kind_of(fetched)
        return Observed(
            family=kind.family,
            weights=kind.weights,
            trainable=not fetched.is_graph,
            training_samples=training_at_hand(self.spec.guardrail, library),
            labelled=self.spec.guardrail.metric.needs_labels,
            engine=self.spec.engine,
        )

    def _reused(self, uri: str) -> RunResult | None:
        from trimtab.workloads.compress.report import read_report, result_of

        copy = self._made("reused")
        there = complete_artifact(uri, copy, OUTPUT_FIELD)
        if there is None or complete_artifact(join(uri, REPORT_FOLDER), copy, OUTPUT_FIELD) is None:
            return None
        log.info("artifact.reused", uri=uri, digest=there.digest)
        result = result_of(read_report(copy), uri, there.digest, reused=True)
        if passed(self.spec.guardrail, result.guardrail):
            return result
        return result.model_copy(update={"original": find_original(uri, self._made("original"), OUTPUT_FIELD)})

    def _compress(
        self,
        fetched: FetchedSource,
        students: dict[str, FetchedSource],
        steps: tuple[PlacedStep, ...],
        data: RunData,
        origin: Origin,
        owned: ExitStack,
    ) -> Made | None:
        """Export the baseline and carry out the steps; None for a worker whose part ends with the training."""
        stages = [Stage("export", _WEIGHTS["export"])]
        stages += [Stage(placed.step.title, _STEP_WEIGHTS[placed.step.technique]) for placed in steps]
        stages += [Stage(name, _WEIGHTS[name]) for name in ("evaluate", "publish")]
        reporter = Reporter(stages, self.emit, self.clock)
        reporter.begin(0)

        start = self._with_students(self._start(fetched, data, owned), students, data, owned)
        part = self._part(steps, origin)
        if part is None:
            return None
        carrier = self._carrier(
            part.steps, data, self._made("steps"), part.boundaries, part.training, reporter, self.stop, part.group
        )
        model, reports = carrier.carry(start)
        part.leave(self.stop)
        if self.member is not None and not self.member.leads:
            return None
        candidate = self._candidate(model, start, data, self._made("artifact"))
        align_weights(candidate)
        return Made(start.graph, candidate, steps, reports, data, reporter, len(steps) + 1)

    def _part(self, steps: tuple[PlacedStep, ...], origin: Origin) -> Part | None:
        """Return what this pod does of the steps, and with whom."""
        from trimtab.workloads.compress.workers.group import Alone
        from trimtab.workloads.compress.workers.meeting import Meeting
        from trimtab.workloads.compress.workers.part import Part, take_part

        boundaries, training = self._checkpoints(origin, "steps"), self._checkpoints(origin, "training")
        member = self.member
        if member is None:
            return Part(steps, boundaries, training, Alone())
        # By the request's key, which all know; whether they make the same is what they tell each other there.
        uri = join(self.spec.output, self.spec.model, f"{self.spec.key}{SUFFIX}", f"workers-{member.job}")
        meeting = Meeting(uri, OUTPUT_FIELD, origin.key, member, self.stop)
        return take_part(meeting, steps, boundaries, training, self._made("checkpoints"))

    def _search(
        self,
        search: Search,
        fetched: FetchedSource,
        library: Library,
        data: RunData,
        origin: Origin,
        owned: ExitStack,
    ) -> Made:
        """Export the baseline and find the recipe; what comes back is judged already."""
        stages = [Stage(name, _WEIGHTS[name]) for name in ("export", "search", "publish")]
        reporter = Reporter(stages, self.emit, self.clock)
        reporter.begin(0)

        from trimtab.workloads.compress.search.holdout import Holdout
        from trimtab.workloads.compress.search.memory import remembers
        from trimtab.workloads.compress.search.running import SearchRun

        looked_at = self._observed(fetched, library)
        start = self._start(fetched, data, owned)
        reporter.begin(1)
        guardrail = self.spec.guardrail
        seen = partial(remembers, start.graph, self.machine.threads, guardrail, self.stop)
        holdout = Holdout(guardrail, library, search.folds, seen)
        found = SearchRun(
            spec=self.spec,
            search=search,
            start=start,
            holdout=holdout,
            machine=self.machine,
            origin=origin.key,
            folder=self._made("search"),
            checkpoints=lambda name: self._checkpoints(origin, name),
            carrier=self._carrier,
            write=self._candidate,
            presets=tuple(steps_of(preset, looked_at).steps for preset in Preset),
            reporter=reporter,
            stop=self.stop,
            clock=self.clock,
        ).find()
        made = Made(start.graph, found.candidate, found.recipe, found.reports, found.data, reporter, 1)
        return replace(made, finding=found.finding, search=found.document)

    def _carrier(
        self,
        steps: tuple[PlacedStep, ...],
        data: RunData,
        folder: Path,
        boundaries: Line,
        training: Line,
        reporter: Reporter,
        stop: Stop,
        group: Group | None = None,
    ) -> Carrier:
        from trimtab.workloads.compress.carrying import Carrier
        from trimtab.workloads.compress.workers.group import Alone

        return Carrier(
            steps=steps,
            data=data,
            machine=self.machine,
            folder=folder,
            boundaries=boundaries,
            training=training,
            reporter=reporter,
            stop=stop,
            clock=self.clock,
            group=group or Alone(),
        )

    def _checkpoints(self, origin: Origin, name: str) -> Checkpoints:
        uri = join(self.spec.output, self.spec.model, f"{origin.key}{SUFFIX}", name)
        return Checkpoints(uri, OUTPUT_FIELD, self._made("checkpoints"), self.clock)

    def _students(self, steps: tuple[PlacedStep, ...]) -> dict[str, FetchedSource]:
        if not any(placed.brings_student for placed in steps):
            return {}

        from trimtab.workloads.compress.sources.students import fetch_students

        return fetch_students(steps, self.spec.allow_code, self._made("students"))

    def _with_students(self, start: Start, fetched: dict[str, FetchedSource], data: RunData, owned: ExitStack) -> Start:
        if start.network is None or not fetched:
            return start

        from trimtab.workloads.compress.sources.students import load_students

        return replace(start, students=load_students(fetched, start.network, data.evaluation, owned))

    def _start(self, fetched: FetchedSource, data: RunData, owned: ExitStack) -> Start:
        """Load the source and write it as ONNX."""
        import torch

        from trimtab.workloads.compress import graph, network
        from trimtab.workloads.compress.carrying import Start
        from trimtab.workloads.compress.probing import probe
        from trimtab.workloads.compress.sources.loading import load_source

        torch.set_num_threads(self.machine.threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        path = self._made("baseline") / "model.onnx"
        loaded = load_source(fetched, data.evaluation, owned)
        if loaded.graph is not None:
            graph.write_graph(loaded.graph, path)
            probe(path, data, self.machine.threads, self.spec.compression.target.device)
            return Start(None, 0, {}, path, estimator=loaded.estimator)
        source = loaded.required_network
        outputs = network.outputs_of(source, data.evaluation, fetched.entrypoint or fetched.uri)
        if outputs > 1:
            data.require_labels_below(outputs)
        network.export_network(source, data.evaluation, path, loaded.free)
        probe(path, data, self.machine.threads, self.spec.compression.target.device)
        return Start(source, outputs, loaded.free, path)

    def _candidate(self, model: Model, start: Start, data: RunData, folder: Path) -> Path:
        """Return a finished model's file, in a folder of its own."""
        from trimtab.workloads.compress.compiled import copy_compiled
        from trimtab.workloads.compress.network import export_network

        if model.compiled is not None:
            return copy_compiled(model.compiled, folder)
        target = folder / "model.onnx"
        if model.graph is not None:
            target.write_bytes(model.graph.read_bytes())
        elif model.network is None or model.network is start.network:
            target.write_bytes(start.graph.read_bytes())
        else:
            export_network(model.network, data.evaluation, target, start.free)
        return target

    def _publish(self, made: Made, origin: Origin) -> RunResult:
        """Judge, write the artifact's other files and publish them all at once."""
        import onnx

        from trimtab.workloads.compress import graph
        from trimtab.workloads.compress.compiled import engine_of, required_of, size_of
        from trimtab.workloads.compress.evaluate import reference_device
        from trimtab.workloads.compress.filling import with_filling
        from trimtab.workloads.compress.judging import judge
        from trimtab.workloads.compress.report import Outcome, result_of

        finding, data = made.finding, made.data
        if finding is None:
            made.reporter.begin(made.evaluating)
            finding = judge(self.spec, self.machine, made.baseline, made.candidate, data, self.stop, made.reporter.tick)
        made.reporter.begin(made.evaluating + 1)
        outcome = Outcome(
            spec=self.spec,
            key=origin.key,
            source_digest=origin.source_digest,
            data_digests=origin.data_digests,
            machine=self.machine,
            steps=made.reports,
            model_bytes=size_of(made.candidate),
            source_bytes=made.baseline.stat().st_size,
            finding=finding,
            samples=len(data.evaluation),
            warnings=data.warnings,
            recipe=made.recipe,
            reasons=origin.reasons,
            search=made.search,
        )
        report = outcome.document()
        folder = made.candidate.parent
        apart = folder / REPORT_FOLDER
        apart.mkdir()
        # No step changes what goes in and out, and other engines' files do not tell it in ONNX's terms.
        described = made.candidate if made.candidate.suffix == ".onnx" else made.baseline
        tensors = graph.tensors(onnx.load(described))
        device = reference_device(self.spec.compression.target.device)
        threads = self.machine.threads
        texts = with_filling(tensors, made.candidate, data.evaluation, threads, device)
        config = {"engine": engine_of(made.candidate).value, **texts, "classes": finding.classes}
        config |= required_of(made.candidate)
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        (apart / REPORT).write_text(json.dumps(report, indent=1))
        chosen = made.search["steps"] if made.search is not None else report["recipeYaml"]
        (apart / RECIPE).write_text(chosen)
        self._draw(report, apart)
        write_manifest(apart)
        original = None
        if not passed(self.spec.guardrail, finding.guardrail):
            named = {"model": self.spec.model, "key": origin.key}
            original = write_original(made.baseline, folder, {**tensors, "classes": finding.classes}, named, origin.uri)
        write_manifest(folder, model=self.spec.model, key=origin.key)
        self.stop.check()
        published = publish_artifact(folder, origin.uri, OUTPUT_FIELD)
        log.info("artifact.published", uri=origin.uri, digest=published.digest, bytes=published.bytes)
        result = result_of(report, origin.uri, published.digest, reused=False)
        return result.model_copy(update={"original": original})

    def _draw(self, report: dict[str, Any], folder: Path) -> None:
        """Write the report for people; pictures that cannot be drawn do not cost a model that took hours."""
        from trimtab.workloads.compress.report.page import page
        from trimtab.workloads.compress.report.rendering import png

        try:
            (folder / "report.html").write_text(page(report))
            (folder / "report.png").write_bytes(png(report))
        except (ValueError, TypeError, KeyError, ArithmeticError, RuntimeError):
            log.exception("report.not_drawn")

    def _made(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class Made:
    """Baseline and candidate as files, and how the candidate came to be."""

    baseline: Path
    candidate: Path
    recipe: tuple[PlacedStep, ...]
    reports: tuple[StepReport, ...]
    data: RunData
    reporter: Reporter
    evaluating: int
    """Index of the stage that judges."""
    finding: Finding | None = None
    """Set where it was judged before: a search judges."""
    search: dict[str, Any] | None = None
    """The search's part of the report."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What an artifact is made from, and where it goes."""

    key: str
    uri: str
    source_digest: str
    data_digests: dict[str, str]
    reasons: tuple[str, ...]
    """Why a preset chose its steps."""
