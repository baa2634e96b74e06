"""Carries out the steps of a run, from the last checkpoint on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from trimtab.workloads.compress.checkpoints import Line
from trimtab.workloads.compress.compiled import compiled_in, copy_compiled, is_code, size_of
from trimtab.workloads.compress.data import RunData
from trimtab.workloads.compress.machine import Machine
from trimtab.workloads.compress.network import tensors_of
from trimtab.workloads.compress.progress import Reporter
from trimtab.workloads.compress.recipe import PlacedStep
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.compress.structure import FOREIGN, restore_network, save_network
from trimtab.workloads.compress.techniques import Context, Model, StepReport, run_step
from trimtab.workloads.compress.workers.group import Alone, Group

if TYPE_CHECKING:
    from torch import nn

NETWORK = "network.safetensors"
GRAPH = "model.onnx"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Start:
    """What the steps begin with."""

    network: nn.Module | None
    """The source when it can be trained; also the teacher."""
    outputs: int
    free: Mapping[str, Sequence[int]]
    graph: Path
    """The source as ONNX."""
    students: Mapping[str, nn.Module] = field(default_factory=dict)
    """Networks that users gave for distill steps, by the step's field."""
    estimator: Any = None
    """The source where it is one of scikit-learn, which can be fitted anew."""

    @property
    def model(self) -> Model:
        return Model(network=self.network) if self.network is not None else Model(graph=self.graph)


@dataclass(frozen=True, slots=True)
class Carrier:
    """Carries out steps."""

    steps: tuple[PlacedStep, ...]
    data: RunData
    machine: Machine
    folder: Path
    """Scratch space."""
    boundaries: Line
    """Of the model after each step."""
    training: Line
    """Within a step that trains."""
    reporter: Reporter
    stop: Stop
    clock: Callable[[], float]
    group: Group = field(default_factory=Alone)
    """The workers that train together."""

    def carry(self, start: Start) -> tuple[Model, tuple[StepReport, ...]]:
        """Return the model after the last step, and what each step did.

        Raises:
            Stalled: A step cannot be done. Interrupted: The run was asked to end; the next one goes on from here.
        """
        model, reports = self._resumed(start)
        for index, placed in enumerate(self.steps[len(reports) :], start=len(reports)):
            self.stop.check()
            self.reporter.begin(index + 1)
            began = self.clock()
            model, report = run_step(placed, model, self._context(start, placed, index))
            report = report._replace(facts={**report.facts, "bytesAfter": _bytes_of(model)})
            reports.append(report)
            log.info("step.finished", step=report.title, seconds=round(self.clock() - began, 2), **report.facts)
            if (placed.trains or self.boundaries.due) and not is_code(model.compiled):
                self._save(model, reports)
        return model, tuple(reports)

    def _context(self, start: Start, placed: PlacedStep, index: int) -> Context:
        return Context(
            folder=self.folder,
            data=self.data,
            outputs=start.outputs,
            free=start.free,
            teacher=start.network,
            student=start.students.get(placed.field),
            estimator=start.estimator,
            reduce_range=self.machine.reduce_range,
            bf16=self.machine.bf16,
            engine=placed.engine,
            field=placed.field,
            seed=placed.seed,
            tick=self.reporter.tick,
            stop=self.stop,
            training=self.training,
            index=index,
            resumed=self.reporter.resumed,
            group=self.group,
        )

    def _save(self, model: Model, reports: list[StepReport]) -> None:
        def fill(folder: Path) -> None:
            if model.compiled is not None:
                copy_compiled(model.compiled, folder)
            elif model.graph is not None:
                (folder / GRAPH).write_bytes(model.graph.read_bytes())
            elif model.network is not None:
                save_network(model.network, folder / NETWORK)

        state: dict[str, Any] = {"reports": [list(report) for report in reports], "cuts": list(model.cuts)}
        self.boundaries.save(state, fill)

    def _resumed(self, start: Start) -> tuple[Model, list[StepReport]]:
        saved = self.boundaries.load()
        if saved is None:
            return start.model, []
        reports = [StepReport(*report) for report in saved.state["reports"]]
        cuts = tuple(saved.state["cuts"])
        log.info("run.resumed", steps_done=len(reports), of=len(self.steps))
        compiled = compiled_in(saved.folder)
        if compiled is not None:
            return Model(compiled=compiled), reports
        if (saved.folder / GRAPH).is_file():
            return Model(graph=saved.folder / GRAPH), reports
        if start.network is None:
            return start.model, []
        example = tensors_of(self.data.evaluation.first(1))
        origin = start.students[cuts[0]["step"]] if cuts and cuts[0]["kind"] == FOREIGN else start.network
        network = restore_network(origin, cuts, saved.folder / NETWORK, example)
        return Model(network=network.eval(), cuts=cuts), reports


def _bytes_of(model: Model) -> int:
    """Return the size of a model: of its weights while it is a network, of its files then."""
    if model.compiled is not None:
        return size_of(model.compiled)
    if model.graph is not None:
        return model.graph.stat().st_size
    return sum(tensor.nbytes for tensor in model.network.state_dict().values()) if model.network is not None else 0
