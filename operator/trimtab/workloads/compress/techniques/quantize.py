"""Store and compute in int8, calibrated: ONNX Runtime's static quantization with QDQ nodes."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from trimtab.api.compression import Quantize
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.coverage import WEIGHTED, coverage
from trimtab.workloads.compress.datasets import Array, Samples
from trimtab.workloads.compress.graph import write_graph
from trimtab.workloads.compress.quieting import quiet_libraries
from trimtab.workloads.compress.techniques.registry import Context, Model, technique

LEAST_COVERAGE = 0.01  # a graph with less than a hundredth of its weights in int8 is the old one with extra nodes


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Hands out one sample at a time: a graph may be fixed to batches of one."""

    def __init__(self, names: list[str], samples: Samples, context: Context) -> None:
        self._inputs = self._walk(names, samples, context)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._inputs, None)

    @staticmethod
    def _walk(names: list[str], samples: Samples, context: Context) -> Iterator[dict[str, Array]]:
        for index in range(len(samples)):
            context.stop.check()
            context.tick(index / len(samples), f"calibration sample {index + 1} of {len(samples)}")
            yield samples.take(np.array([index])).feeds(names)


@technique(Quantize)
def quantize(step: Quantize, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return an int8 graph, and how much of the model really is int8.

    Raises:
        Stalled: StepHadNoEffect, next to nothing became int8; InvalidSpec, a `keep` pattern matches no layer.
    """
    source = context.graph(model)
    target = context.folder / f"quantized-{context.seed}.onnx"
    samples = context.data.calibration[context.field]
    kept = _kept(source, step.keep or [], context)
    reader = _Calibration([value.name for value in onnx.load(source).graph.input], samples, context)
    try:
        with quiet_libraries():
            quantize_static(
                str(source),
                str(target),
                reader,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=context.reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=kept,
            )
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise context.failed(
            Reason.STEP_FAILED,
            f"ONNX Runtime could not quantize the graph ({type(error).__name__}: {str(error)[:200]}); list the layers "
            "at fault in keep",
        ) from error
    result = onnx.load(target)
    write_graph(result, target)
    covered = coverage(result)
    if covered.weights < LEAST_COVERAGE:
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            f"{covered.weights:.1%} of the weights became int8 (layers that can: {', '.join(sorted(WEIGHTED))}); "
            "shorten "
            "keep, or remove the step",
        )
    return Model(graph=target), {
        "scheme": step.scheme.value,
        "calibrationSamples": len(samples),
        "reduceRange": context.reduce_range,
        "weightsInt8Percent": round(covered.weights * 100, 1),
        "macsInt8Percent": round(covered.macs * 100, 1),
        "kept": kept,
    }


def _kept(source: Path, patterns: list[str], context: Context) -> list[str]:
    """Return the names of the layers that stay as they are."""
    names = [node.name for node in onnx.load(source).graph.node if node.op_type in WEIGHTED]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise context.failed(
                Reason.INVALID_SPEC, f"keep: {pattern} matches no layer; the layers are {', '.join(names[:20])}"
            )
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
