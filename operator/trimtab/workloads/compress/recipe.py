"""The steps of a run: the user's own, or those that a preset stands for."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from trimtab.api.compression import (
    CompileEngine,
    Compression,
    Precision,
    Preset,
    PruneMethod,
    PruneSchedule,
    QuantizeMethod,
    Scheme,
    Step,
)
from trimtab.api.conditions import Reason
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.runs import RunSpec
from trimtab.errors import Stalled
from trimtab.planning.support import refusals
from trimtab.store import bytes_digest
from trimtab.version import __version__
from trimtab.workloads.compress.engines import require_aotinductor_takes
from trimtab.workloads.compress.machine import Machine

OPENVINO_SCHEMES = (Scheme.INT8, Scheme.INT8_WEIGHT_ONLY, Scheme.INT4_WEIGHT_ONLY, Scheme.FP16, Scheme.BF16)
_TRAINING = ("finetune", "distill")
_LOWERING = ("quantize", "cluster")


@dataclass(frozen=True, slots=True)
class PlacedStep:
    """A step with the field that it came from, for messages."""

    step: Step
    field: str
    seed: int
    engine: CompileEngine = CompileEngine.ONNX_RUNTIME
    """What the model of this recipe will run in."""

    @property
    def trains(self) -> bool:
        gradual = self.step.prune is not None and self.step.prune.schedule is PruneSchedule.GRADUAL
        quantize = self.step.quantize
        aware = quantize is not None and quantize.method is QuantizeMethod.QUANTIZATION_AWARE
        return gradual or aware or self.step.technique in _TRAINING

    @property
    def precision(self) -> Precision | None:
        """What the step trains in, where the user says so."""
        training = self.step.finetune or self.step.distill
        return training.precision if training is not None else None

    @property
    def looks(self) -> bool:
        """Whether it looks at samples without learning them: those that calibrate, and tell which layers matter."""
        by_layers = self.step.prune is not None and self.step.prune.method is PruneMethod.LAYERS
        return by_layers or self.step.quantize is not None

    @property
    def brings_student(self) -> bool:
        """Whether the user gave the network that learns."""
        student = self.step.distill.student if self.step.distill else None
        return student is not None and student.uri is not None

    @property
    def learns(self) -> bool:
        """Whether it looks at training data."""
        return self.trains or self.step.technique == "reduceInputs"

    @property
    def needs_network(self) -> bool:
        """Whether it changes a network that can be trained, which an ONNX graph is not."""
        return self.learns or self.step.technique == "prune"


def recipe(
    spec: RunSpec, source_is_graph: bool, preset: tuple[Step, ...] = (), *, refits: bool = False
) -> tuple[PlacedStep, ...]:
    """Return the steps of a run in order; `preset` are those that the spec's preset stands for.

    `refits` tells that the source is an estimator, which a first step may fit anew to fewer inputs.

    Raises:
        Stalled: NotSupported or InvalidSpec, naming the field, its value and the remedy.
    """
    _refuse_unsupported(spec)
    steps = _with_engine(_placed(spec.compression, preset), source_is_graph)
    _require_training(spec.compression, steps)
    _require_cluster_stands_alone(steps)
    lowered = None
    for index, placed in enumerate(steps):
        if refits and placed.step.reduce_inputs is not None:
            _require_first(placed, index)
            continue
        if placed.needs_network and source_is_graph:
            raise _untrainable(placed)
        if placed.needs_network and lowered is not None:
            raise Stalled(
                Reason.INVALID_SPEC,
                f"{placed.field}: comes after {lowered}, whose result is no network to {placed.step.technique}; "
                "put it before",
            )
        if placed.step.technique in _LOWERING:
            lowered = placed.step.technique
    return steps


def content_key(
    spec: RunSpec, steps: tuple[PlacedStep, ...], source: str, data: dict[str, str], machine: Machine
) -> str:
    """Return the key of what a run makes: equal inputs, recipe, tools and int8 arithmetic give one key.

    `source` and `data` are digests. The promises of the guardrail are part of it, since the verdict is kept with it.
    """
    promise = spec.guardrail.model_copy(update={"on_fail": None, "on_inconclusive": None})
    parts: dict[str, Any] = {
        "version": __version__,
        "libraries": machine.libraries,
        "reduceRange": machine.reduce_range,
        "source": source,
        "entrypoint": spec.source.entrypoint,
        "recipe": [placed.step.wire() for placed in steps],
        "target": spec.compression.target.wire(),
        "data": data,
        "guardrail": promise.wire() | {"dataset": spec.guardrail.dataset.model_copy(update={"uri": ""}).wire()},
        "salt": spec.salt,
    }
    if any(placed.precision is Precision.AUTO for placed in steps):
        parts["bf16"] = machine.bf16
    if spec.compression.search is not None:
        parts["bf16"] = machine.bf16  # its own space may train so
        parts["search"] = spec.compression.search.wire()
    if spec.compression.workers > 1:  # sums in another order end in other bits
        parts["workers"] = spec.compression.workers
    return bytes_digest(json.dumps(parts, sort_keys=True).encode()).removeprefix("sha256:")[:16]


def _placed(compression: Compression, steps: tuple[Step, ...]) -> tuple[PlacedStep, ...]:
    if compression.steps is not None:
        return tuple(
            PlacedStep(step, f"spec.compression.steps[{index}].{step.technique}", index)
            for index, step in enumerate(compression.steps)
        )
    field = f"spec.compression.preset: {compression.preset or Preset.NONE}"
    return tuple(
        PlacedStep(step, f"{field}, step {index + 1} ({step.technique})", index) for index, step in enumerate(steps)
    )


def _require_training(compression: Compression, steps: tuple[PlacedStep, ...]) -> None:
    """Refuse pods that would have nothing to do.

    Raises:
        Stalled: InvalidSpec, there are several workers, and no step trains.
    """
    if compression.workers > 1 and not any(placed.trains for placed in steps):
        raise Stalled(
            Reason.INVALID_SPEC,
            f"spec.compression.workers: {compression.workers} workers share the training, but no step trains; "
            "use workers: 1, or a recipe with finetune, distill, a Gradual prune or QuantizationAware quantize",
        )


def _with_engine(steps: tuple[PlacedStep, ...], source_is_graph: bool) -> tuple[PlacedStep, ...]:
    """Tell every step what the model will run in, and put the compile step last, wherever the user wrote it.

    Raises:
        Stalled: InvalidSpec, two compile steps. NotSupported, a step whose result the engine does not take.
    """
    compiles = [placed for placed in steps if placed.step.compile is not None]
    if len(compiles) > 1:
        raise Stalled(
            Reason.INVALID_SPEC, f"{compiles[1].field}: a model is compiled for one engine; keep one compile step"
        )
    engine = next((placed.step.compile.engine for placed in compiles if placed.step.compile), None)
    if engine is None:
        return steps
    others = [placed for placed in steps if placed.step.compile is None]
    if engine is CompileEngine.OPEN_VINO:
        _require_openvino_takes(others)
    if engine is CompileEngine.AOT_INDUCTOR:
        require_aotinductor_takes(compiles[0], others, source_is_graph=source_is_graph)
    return tuple(replace(placed, engine=engine) for placed in (*others, *compiles))


def _require_cluster_stands_alone(steps: tuple[PlacedStep, ...]) -> None:
    """Refuse what would undo codebooks, or finds no float weights to make them of.

    Raises:
        Stalled: InvalidSpec, naming the steps at fault.
    """
    clusters = next((placed for placed in steps if placed.step.cluster is not None), None)
    if clusters is None:
        return
    quantized = next((placed for placed in steps if placed.step.quantize is not None), None)
    if quantized is not None:
        raise Stalled(
            Reason.INVALID_SPEC,
            f"{clusters.field}: does not go together with {quantized.field}: what looks its weights up in a codebook "
            "has none to quantize, and quantized weights need no codebook; keep one of the two",
        )
    if clusters.engine is CompileEngine.OPEN_VINO:
        raise Stalled(
            Reason.INVALID_SPEC,
            f"{clusters.field}: OpenVino stores looked-up weights in full, so that nothing gets smaller; compile for "
            "OnnxRuntime, or use quantize",
        )


def _require_openvino_takes(steps: list[PlacedStep]) -> None:
    quantized = False
    for placed in steps:
        if quantized:
            raise Stalled(
                Reason.INVALID_SPEC,
                f"{placed.field}: comes after quantize, whose result is OpenVINO's own when the model is compiled for "
                "OpenVino; put it before",
            )
        if placed.step.quantize is None:
            continue
        quantized = True
        scheme = placed.step.quantize.scheme
        if scheme not in OPENVINO_SCHEMES:
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"{placed.field}.scheme: {scheme} is not done for OpenVino; use {', '.join(OPENVINO_SCHEMES)}, or "
                "compile for OnnxRuntime",
            )


def _require_first(placed: PlacedStep, index: int) -> None:
    if index > 0:
        raise Stalled(
            Reason.INVALID_SPEC,
            f"{placed.field}: comes after other steps, but fits the estimator of the source anew; put it first",
        )


def _untrainable(placed: PlacedStep) -> Stalled:
    if placed.step.technique == "reduceInputs":
        return Stalled(
            Reason.NOT_SUPPORTED,
            f"{placed.field}: what is behind fewer inputs has to learn again, which an ONNX source cannot; give the "
            "scikit-learn estimator itself as skops file, or a network as code",
        )
    return Stalled(
        Reason.NOT_SUPPORTED,
        f"{placed.field}: an ONNX source cannot be pruned or trained; use a preset or a quantize step, or give the "
        "model as Python code with model.safetensors",
    )


def _refuse_unsupported(spec: RunSpec) -> None:
    """Ask the operator's own list, so that a run by hand is refused in the same words."""
    wanted = OptimizedModelSpec(source=spec.source, compression=spec.compression, guardrail=spec.guardrail)
    found = refusals(wanted)
    if found:
        raise Stalled(Reason.NOT_SUPPORTED, "; ".join(str(refusal) for refusal in found))
