"""Quantize for OpenVINO, by NNCF on the very graph that OpenVINO will run."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino.opset13 import convert

from trimtab.api.compression import Quantize, Scheme
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.datasets import Array
from trimtab.workloads.compress.openvino import (
    BITS_BF16,
    LOW,
    coverage,
    fold_weights,
    has_attention,
    has_grouped_convolutions,
    layers,
    name_by_place,
    names_of,
    read_onnx,
    write_ir,
)
from trimtab.workloads.compress.quieting import quiet_libraries
from trimtab.workloads.compress.techniques.registry import Context, Model
from trimtab.workloads.serve.engine_openvino import PRECISION

LEAST_COVERAGE = 0.01
_LEAST_BYTES = 1024  # smaller constants are no weights worth a conversion
_GROUP = 64  # weights that share a scale in 4 bits


def quantize_for_openvino(step: Quantize, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the model as OpenVINO IR with fewer bits, and how much of it really has them.

    Raises:
        Stalled: StepHadNoEffect, next to nothing changed; InvalidSpec, a `keep` pattern matches no layer;
            StepFailed, NNCF cannot quantize the graph.
    """
    source = context.graph(model)
    graph = read_onnx(source)
    fold_weights(graph)
    kept = _kept(graph, step.keep or [], context)
    target = context.folder / f"quantized-{context.index}.xml"
    try:
        with _quiet_nncf():
            result, facts = _KINDS[step.scheme](graph, kept, context)
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise context.failed(
            Reason.STEP_FAILED,
            f"NNCF could not quantize the graph ({type(error).__name__}: {str(error)[:200]}); list the layers at fault "
            "in keep, or compile for OnnxRuntime",
        ) from error
    name_by_place(result, names_of(source))
    write_ir(result, target, half=step.scheme is Scheme.FP16)
    if step.scheme is not Scheme.FP16:
        name, formats = ("Bf16", BITS_BF16) if step.scheme is Scheme.BF16 else ("Int8", LOW)
        covered = coverage(target, formats)
        if covered.weights < LEAST_COVERAGE:
            raise context.failed(
                Reason.STEP_HAD_NO_EFFECT,
                f"{covered.weights:.1%} of the weights got fewer bits; shorten keep, or remove the step",
            )
        facts |= {
            f"weights{name}Percent": round(covered.weights * 100, 1),
            f"macs{name}Percent": round(covered.macs * 100, 1),
        }
    return Model(compiled=target), {"scheme": step.scheme.value, "engine": "OpenVino", **facts, "kept": list(kept)}


_Kind = Callable[[ov.Model, dict[str, str], Context], tuple[ov.Model, dict[str, Any]]]


def _int8(graph: ov.Model, kept: dict[str, str], context: Context) -> tuple[ov.Model, dict[str, Any]]:
    """Weights and activations in int8, with ranges from the calibration samples."""
    import nncf

    samples = context.data.calibration[context.field]
    names = [port.any_name for port in graph.inputs]

    def feed(index: int) -> dict[str, Array]:
        context.stop.check()
        context.tick(index / len(samples), f"calibration sample {index + 1} of {len(samples)}")
        return samples.take(np.array([index])).feeds(names)

    attention = has_attention(graph)
    overflow = nncf.OverflowFix.ENABLE if context.reduce_range else nncf.OverflowFix.DISABLE
    result = nncf.quantize(
        graph,
        nncf.Dataset(range(len(samples)), feed),
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER if attention else None,
        # Thin layers shift their outputs most: the slow correction is worth its time (docs/engines.md).
        fast_bias_correction=not has_grouped_convolutions(graph),
        ignored_scope=nncf.IgnoredScope(names=list(kept.values())),
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow),
    )
    return result, {
        "calibrationSamples": len(samples),
        "reduceRange": context.reduce_range,
        "transformer": attention,
    }


def _weights_in_8(graph: ov.Model, kept: dict[str, str], _context: Context) -> tuple[ov.Model, dict[str, Any]]:
    import nncf

    scope = nncf.IgnoredScope(names=list(kept.values()))
    return nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=scope), {}


def _weights_in_4(graph: ov.Model, kept: dict[str, str], _context: Context) -> tuple[ov.Model, dict[str, Any]]:
    """4 bits in groups; layers whose rows do not divide into groups, embeddings and the last layer get 8."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedCompressionParameters, GroupSizeFallbackMode

    result = nncf.compress_weights(
        graph,
        mode=nncf.CompressWeightsMode.INT4_SYM,
        group_size=_GROUP,
        ignored_scope=nncf.IgnoredScope(names=list(kept.values())),
        advanced_parameters=AdvancedCompressionParameters(group_size_fallback_mode=GroupSizeFallbackMode.IGNORE),
    )
    return result, {"groupSize": _GROUP}


def _halves(graph: ov.Model, _kept: dict[str, str], _context: Context) -> tuple[ov.Model, dict[str, Any]]:
    """Weights are stored in 16 bits as the file is written; CPUs compute in 32."""
    return graph, {"computesIn": "FP32"}


def _bf16(graph: ov.Model, kept: dict[str, str], context: Context) -> tuple[ov.Model, dict[str, Any]]:
    """Weights in BF16, and a note for the engine to compute in it: all of the graph, so that nothing can be kept."""
    if kept:
        raise context.failed(
            Reason.INVALID_SPEC,
            f"keep: {', '.join(kept)} would compute in BF16 as everything does; leave it out, or use INT8",
        )
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != ov.Type.f32:
            continue
        if len(node.get_output_shape(0)) < 2 or node.get_byte_size() < _LEAST_BYTES:
            continue
        # A tensor with memory of its own: one around an array of ours would outlive it.
        rounded = ov.Tensor(ov.Type.bf16, node.get_output_shape(0))
        rounded.data.view(np.uint16)[:] = torch.from_numpy(node.data.copy()).to(torch.bfloat16).view(torch.uint16)
        stored = ov.op.Constant(rounded)
        stored.set_friendly_name(f"{node.get_friendly_name()}.bf16")
        again = convert(stored, "f32")
        again.set_friendly_name(node.get_friendly_name())
        for user in node.output(0).get_target_inputs():
            user.replace_source_output(again.output(0))
    graph.set_rt_info("bf16", PRECISION)
    return graph, {"computesIn": "BF16"}


_KINDS: dict[Scheme, _Kind] = {
    Scheme.INT8: _int8,
    Scheme.INT8_WEIGHT_ONLY: _weights_in_8,
    Scheme.INT4_WEIGHT_ONLY: _weights_in_4,
    Scheme.FP16: _halves,
    Scheme.BF16: _bf16,
}


def _kept(graph: ov.Model, patterns: list[str], context: Context) -> dict[str, str]:
    """Return the layers that stay as they are: name for users to name in the graph."""
    found = layers(graph)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise context.failed(
                Reason.INVALID_SPEC, f"keep: {pattern} matches no layer; the layers are {', '.join(list(found)[:20])}"
            )
    return {name: node for name, node in found.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[None]:
    """Keep NNCF's progress bars out of the run's output, and NNCF from reporting its use over the network."""
    os.environ.setdefault("NNCF_CI", "1")  # read as it is imported
    with contextlib.redirect_stdout(io.StringIO()), quiet_libraries():
        yield
