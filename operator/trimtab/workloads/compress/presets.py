"""Which steps a preset stands for: a pure function of what is known before a model is loaded, with its reasons.

The choice depends on what the run's key hashes anyway (source, data, spec), and on nothing of the machine: equal inputs
give one recipe, and so one key, wherever the Job lands. What a CPU's int8 arithmetic changes is done by the steps
themselves (weights of 7 bits without VNNI), and the key has it as `reduceRange`.
"""

from __future__ import annotations

from dataclasses import dataclass

from trimtab.api.compression import (
    Compile,
    CompileEngine,
    Distill,
    Preset,
    Prune,
    PruneMethod,
    Quantize,
    Scheme,
    Step,
)
from trimtab.api.serving import Engine
from trimtab.workloads.compress.families import Family

FEWEST_TO_LEARN_FROM = 200
"""Training samples; what is pruned hardly recovers on fewer."""
_SEEN = {Preset.BALANCED: 40_000, Preset.SMALLEST: 80_000}
"""Samples that recovery sees in all its epochs: ten passes over 4,000."""
_EPOCHS = {Preset.BALANCED: (4, 12), Preset.SMALLEST: (8, 24)}
"""Fewest and most: the fewer samples, the less another pass tells."""
_KNOWN = 4
"""Parts of that which a transformer needs: what its layers learned on much data stays in those that are left."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known of a run before its model is loaded."""

    family: Family
    weights: int
    """Numbers in the source; 0 where that is not known."""
    trainable: bool
    """Whether it is a network, and no graph."""
    training_samples: int
    """Samples to learn from; 0 where the data set has no train split."""
    labelled: bool
    """Whether the guardrail judges by labels, and not by how far the answers are from the original's."""
    engine: Engine = Engine.AUTO
    """What is to serve it; Auto leaves the choice."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The steps of a preset, and why they are these."""

    steps: tuple[Step, ...]
    reasons: tuple[str, ...]


_CHANNELS = "engines are as much faster as there are fewer"
_BLOCKS = "each costs the same, and those around it learn to do without"
_PRUNED: dict[tuple[Preset, Family], tuple[PruneMethod, str, str]] = {
    (Preset.SMALLEST, Family.TRANSFORMER): (PruneMethod.LAYERS, "33%", _BLOCKS),
    (Preset.BALANCED, Family.CONVOLUTIONAL): (PruneMethod.STRUCTURED, "50%", _CHANNELS),
    (Preset.SMALLEST, Family.CONVOLUTIONAL): (PruneMethod.STRUCTURED, "75%", _CHANNELS),
    (Preset.SMALLEST, Family.DEPTHWISE): (PruneMethod.STRUCTURED, "25%", f"{_CHANNELS}; few, since layers are thin"),
    (Preset.BALANCED, Family.DENSE): (PruneMethod.STRUCTURED, "50%", _CHANNELS),
    (Preset.SMALLEST, Family.DENSE): (PruneMethod.STRUCTURED, "75%", _CHANNELS),
    (Preset.BALANCED, Family.OTHER): (PruneMethod.STRUCTURED, "50%", _CHANNELS),
    (Preset.SMALLEST, Family.OTHER): (PruneMethod.STRUCTURED, "75%", _CHANNELS),
}
_FOR_OPENVINO = frozenset({Family.TRANSFORMER, Family.CONVOLUTIONAL, Family.DEPTHWISE})
_FEWEST_FOR_OPENVINO = 1_000_000
"""Weights; its call takes 20 microseconds more than ONNX Runtime's, and its files 100 kB more."""


def steps_of(preset: Preset, seen: Observed) -> Chosen:
    """Return the steps that a preset stands for with such a model, data and engine."""
    if preset is Preset.NONE:
        return Chosen((), ("preset None: only exported",))
    if seen.family is Family.CLASSICAL:
        return Chosen((), (f"a {seen.family}: has no layers to prune or to quantize, so it is only exported",))
    engine = _engine(seen)
    smaller, why = _smaller(preset, seen)
    quantized, how = _quantized(seen, engine)
    steps = (*smaller, quantized, *_compiled(engine))
    return Chosen(steps, (f"the source is a {seen.family}", *why, *how, _served(seen, engine)))


def _smaller(preset: Preset, seen: Observed) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Return the steps that prune and recover, where the network can and may learn."""
    if preset is Preset.FAST:
        return (), ("preset Fast: nothing is trained",)
    if not seen.trainable:
        return (), ("not pruned: a graph cannot learn again; give the network for more",)
    if seen.training_samples < FEWEST_TO_LEARN_FROM:
        found = f"{seen.training_samples:,} training samples, and recovery takes {FEWEST_TO_LEARN_FROM:,}"
        return (), (f"not pruned: there are {found}; add x_train and y_train to the guardrail's data set",)
    if not seen.labelled:
        return (), ("not pruned: the answers themselves are judged, and a pruned network gives others",)
    if (preset, seen.family) not in _PRUNED:
        return (), (f"not pruned: a {seen.family} has little to spare; preset Smallest dares more",)
    method, share, reason = _PRUNED[preset, seen.family]
    epochs = _epochs(preset, seen)
    steps = (Step(prune=Prune(method=method, sparsity=share)), Step(distill=Distill(epochs=epochs)))
    return steps, (
        f"{share} of the {'layers' if method is PruneMethod.LAYERS else 'channels'} go: {reason}",
        f"the original teaches what is left, in {epochs} passes over {seen.training_samples:,} training samples",
    )


def _epochs(preset: Preset, seen: Observed) -> int:
    known = _KNOWN if seen.family is Family.TRANSFORMER else 1
    fewest, most = (max(passes // known, 1) for passes in _EPOCHS[preset])
    return min(max(round(_SEEN[preset] / known / seen.training_samples), fewest), most)


def _quantized(seen: Observed, engine: CompileEngine) -> tuple[Step, tuple[str, ...]]:
    if seen.family is Family.TRANSFORMER and engine is CompileEngine.ONNX_RUNTIME:
        why = "INT8Dynamic: ranges fixed beforehand cost transformers more than accuracy allows in ONNX Runtime"
        return Step(quantize=Quantize(scheme=Scheme.INT8_DYNAMIC)), (why,)
    return Step(quantize=Quantize(scheme=Scheme.INT8)), ("INT8: a quarter of the bytes, and the fastest products",)


def _engine(seen: Observed) -> CompileEngine:
    match seen.engine:
        case Engine.OPEN_VINO:
            return CompileEngine.OPEN_VINO
        case Engine.AUTO:
            large = seen.weights >= _FEWEST_FOR_OPENVINO
            return CompileEngine.OPEN_VINO if large and seen.family in _FOR_OPENVINO else CompileEngine.ONNX_RUNTIME
        case _:
            return CompileEngine.ONNX_RUNTIME


def _compiled(engine: CompileEngine) -> tuple[Step, ...]:
    return (Step(compile=Compile(engine=engine)),) if engine is CompileEngine.OPEN_VINO else ()


def _served(seen: Observed, engine: CompileEngine) -> str:
    if seen.engine is not Engine.AUTO:
        return f"{engine}: as spec.serving.engine asks"
    return f"{engine}: as a rule the faster engine for a {seen.family} of {seen.weights:,} weights"
