"""Quantization-aware training: the network learns to live with rounding, and which ranges its int8 numbers cover."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from trimtab.api.compression import Quantize
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.graph import write_graph
from trimtab.workloads.compress.network import export_network, forward, tensors_of
from trimtab.workloads.compress.techniques.losses import Loss, label_loss, teacher_loss
from trimtab.workloads.compress.techniques.quantize.calibrating import Ranges, observe, within
from trimtab.workloads.compress.techniques.quantize.layers import layers, name_nodes, select
from trimtab.workloads.compress.techniques.quantize.rounding import Span, round_layers, rounded_layers, unrounded
from trimtab.workloads.compress.techniques.quantize.static import watched, write_int8
from trimtab.workloads.compress.techniques.registry import Context, Model
from trimtab.workloads.compress.techniques.training import train

EPOCHS = 5
RATE = 3e-4
BATCH = 64
_TEMPERATURE = 2.0
_TEACHING = 256  # samples that the FP32 network answers at a time


def aware(step: Quantize, model: Model, target: Path, context: Context) -> dict[str, Any]:
    """Train with rounded weights and inputs, and write the int8 graph.

    The FP32 network is the teacher, and labels count as much where there are any. Source of the gradient: Bengio,
    Léonard, Courville, arXiv 1308.3432 (straight through); of learned ranges: Esser et al., arXiv 1902.08153.

    Raises:
        Stalled: StepHadNoEffect, no layer can be int8; InvalidSpec, a `keep` pattern matches no layer.
        Interrupted: A checkpoint was saved.
    """
    original, calibration = context.network(model), context.data.calibration[context.field]
    exported = context.folder / f"exported-{context.seed}.onnx"
    wanted, kept = _wanted(original, exported, step, context)
    rounding = round_layers(original, wanted, tensors_of(calibration), context.reduce_range)
    if not rounded_layers(rounding):
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            "0.0% of the weights can become int8: the network calls no Linear or Conv module; remove the step",
        )
    samples, epochs = context.data.training[context.field], step.epochs or EPOCHS
    last = train(rounding, samples, _loss(original, samples, context), epochs, RATE, BATCH, within(context, 0.1, 0.9))
    plain = unrounded(rounding)
    export_network(plain, context.data.evaluation, exported, context.free)
    graph = onnx.load(exported)
    name_nodes(graph)
    write_graph(graph, context.folder / f"prepared-{context.seed}.onnx")
    modules = rounded_layers(rounding)
    chosen = tuple(layer for layer in layers(graph) if layer.name not in kept)
    ranges, _ = observe(graph, watched(graph, chosen), calibration, within(context, 0.9, 1.0))
    write_int8(graph, chosen, ranges | _learned(graph, modules), target, context)
    return {
        "method": "QuantizationAware",
        "epochs": epochs,
        "samples": len(samples),
        "loss": round(last, 4),
        "calibrationSamples": len(calibration),
        "reduceRange": context.reduce_range,
        "kept": kept,
    }


def _wanted(network: nn.Module, path: Path, step: Quantize, context: Context) -> tuple[set[str], list[str]]:
    """Return the modules to round, and the nodes to keep, whose names come from the export."""
    if not step.keep:
        return {name for name, _ in network.named_modules()}, []
    export_network(copy.deepcopy(network), context.data.evaluation, path, context.free)
    graph = onnx.load(path)
    name_nodes(graph)
    chosen, kept = select(graph, step.keep, context)
    return {_module(layer.name) for layer in chosen}, kept


def _module(node: str) -> str:
    return node.rpartition("/")[0]


def _learned(graph: onnx.ModelProto, modules: dict[str, Span]) -> Ranges:
    """Return the ranges of the tensors that go into the rounded modules."""
    weighted = {layer.name for layer in layers(graph)}
    return {
        node.input[0]: modules[_module(node.name)].bounds()
        for node in graph.graph.node
        if node.name in weighted and _module(node.name) in modules
    }


def _loss(original: nn.Module, samples: Samples, context: Context) -> Loss:
    """Return the distance to what the FP32 network says, and to the labels where there are any."""
    inputs, answers = tensors_of(samples), []
    original.eval()
    with torch.no_grad():  # not inference_mode: the answers take part in a loss that is differentiated
        for start in range(0, len(samples), _TEACHING):
            context.stop.check()
            answers.append(forward(original, {name: x[start : start + _TEACHING] for name, x in inputs.items()}))
    task = context.data.task(context.field)
    teacher, labels = teacher_loss(task, torch.cat(answers), _TEMPERATURE), label_loss(task, samples.y)
    if labels is None:
        return teacher

    def both(outputs: Tensor, chosen: Tensor) -> Tensor:
        return (teacher(outputs, chosen) + labels(outputs, chosen)) / 2

    return both
