"""What a step gets and gives, and which function does which technique."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as made_by
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog
import torch
from torch import nn

from trimtab.api.base import ApiModel
from trimtab.api.compression import CompileEngine
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled, TrimtabError
from trimtab.workloads.compress.checkpoints import Line
from trimtab.workloads.compress.data import RunData
from trimtab.workloads.compress.network import export_network
from trimtab.workloads.compress.recipe import PlacedStep
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.compress.structure import Cut
from trimtab.workloads.compress.workers.group import Alone, Group

P = TypeVar("P", bound=ApiModel)


@dataclass(frozen=True, slots=True)
class Model:
    """The model between two steps: a network that can be trained, an ONNX file, or the file of another engine."""

    network: nn.Module | None = None
    cuts: tuple[Cut, ...] = ()
    """How the network came from the source."""
    graph: Path | None = None
    compiled: Path | None = None
    """For an engine that does not take ONNX; its suffix tells which, files beside it share its stem."""


class StepReport(NamedTuple):
    """What a step did."""

    title: str
    technique: str
    facts: Mapping[str, Any]
    """For the report: plain JSON values by camelCase name."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may use."""

    folder: Path
    """Scratch space of this run."""
    data: RunData
    outputs: int
    """Numbers that the network gives per sample; 0 for a grid of them, and for an ONNX source, which is not trained."""
    free: Mapping[str, Sequence[int]]
    """Dimensions of inputs that take any size, besides the first."""
    teacher: nn.Module | None
    """The source, unchanged; None for an ONNX source."""
    reduce_range: bool
    """Whether int8 weights use 7 bits."""
    engine: CompileEngine
    """What the model will run in."""
    field: str
    """Where the step stands in the spec, for messages."""
    seed: int
    tick: Callable[[float, str], None]
    """Takes the share that is done and a detail for people."""
    stop: Stop
    training: Line
    """Of training steps."""
    index: int
    """Which step this is, from 0."""
    resumed: Callable[[float], None] = lambda _done: None
    """Takes the share that an earlier pod did, for the forecast."""
    call: int = 0
    """Which training of this step, from 0: some train several times."""
    notes: Mapping[str, Any] = made_by(default_factory=dict)
    """JSON that the step needs to go on at this call; kept with the training's checkpoints."""

    student: nn.Module | None = None
    """The network that the user gave to learn in this step."""
    estimator: Any = None
    """The source where it is one of scikit-learn."""
    bf16: bool = False
    """Whether the CPU computes in BF16."""
    group: Group = made_by(default_factory=Alone)
    """The workers that train together."""

    def network(self, model: Model) -> nn.Module:
        """Return the network of a model; the recipe was checked before, so that there is one."""
        if model.network is None:
            raise TypeError(f"{self.field} needs a network")
        return model.network

    def graph(self, model: Model) -> Path:
        """Return the ONNX file of a model, exporting it when it is still a network."""
        if model.graph is not None:
            return model.graph
        path = self.folder / f"exported-{self.seed}.onnx"
        export_network(self.network(model), self.data.evaluation, path, self.free)
        return path

    def failed(self, reason: str, what: str) -> Stalled:
        """Return the error that says what went wrong in this step."""
        return Stalled(reason, f"{self.field}: {what}")


Technique = Callable[[P, Model, Context], tuple[Model, dict[str, Any]]]
log = structlog.get_logger()
_TECHNIQUES: dict[type[ApiModel], Technique[Any]] = {}


def technique(parameters: type[P]) -> Callable[[Technique[P]], Technique[P]]:
    """Register the function that carries out steps with these parameters; it returns the model and report facts."""

    def register(function: Technique[P]) -> Technique[P]:
        _TECHNIQUES[parameters] = function
        return function

    return register


def run_step(placed: PlacedStep, model: Model, context: Context) -> tuple[Model, StepReport]:
    """Carry out one step with its own seed.

    Raises:
        Stalled: StepFailed, StepHadNoEffect or InvalidSpec, naming the field.
    """
    torch.manual_seed(context.seed)
    try:
        return _carried_out(placed, model, context)
    except TrimtabError:
        raise
    except Exception as error:  # of whichever library: the same inputs would end in it again
        log.exception("step.crashed", field=placed.field)
        said = (str(error).strip().splitlines() or ["no message"])[0][:200]
        raise context.failed(
            Reason.STEP_FAILED,
            f"cannot be done with this model ({type(error).__name__}: {said}); remove the step or choose other values, "
            "and if the model is an ordinary one, please report the pod's log",
        ) from error


def _carried_out(placed: PlacedStep, model: Model, context: Context) -> tuple[Model, StepReport]:
    step = placed.step
    for parameters in (getattr(step, name) for name in type(step).model_fields):
        if isinstance(parameters, ApiModel):
            result, facts = _TECHNIQUES[type(parameters)](parameters, model, context)
            return result, StepReport(step.title, step.technique, facts)
    raise TypeError(f"{placed.field} has no technique")
