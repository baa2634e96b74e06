"""What values flow between the layers on calibration samples: the ranges that int8 numbers are to cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, helper

from trimtab.api.conditions import Reason
from trimtab.workloads.compress.datasets import Array, Samples
from trimtab.workloads.compress.evaluate import Served
from trimtab.workloads.compress.techniques.registry import Context
from trimtab.workloads.serve.engine import load_runner

Ranges = dict[str, tuple[float, float]]
"""Lowest and highest value of each tensor."""
_TAIL = 0.001  # of the values of a sample, left out at both ends by `trimmed`
_BOUNDLESS = (
    "the values of {} reach infinity on the calibration samples, which no range of int8 covers; scale the inputs, or "
    "name the layer in keep"
)
JUDGED = 64  # samples that candidates are compared on


def observe(model: ModelProto, tensors: Sequence[str], samples: Samples, context: Context) -> tuple[Ranges, Ranges]:
    """Run the samples through the model; return the full ranges of some tensors, and ranges without outliers.

    The full range is that of all samples; the trimmed one averages each sample's quantiles (PyTorch's moving average
    and ONNX Runtime's percentile lie between). Samples go one at a time: a graph may be fixed to batches of one.

    Raises:
        Stalled: StepFailed, a value is infinite.
    """
    if not tensors:  # only tables were chosen, or nothing; an engine takes no names for all of its outputs
        return {}, {}
    path = context.folder / f"observed-{context.seed}.onnx"
    watched = ModelProto()
    watched.CopyFrom(model)
    there = {value.name for value in model.graph.output}
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in tensors if name not in there)
    path.write_bytes(onnx.shape_inference.infer_shapes(watched).SerializeToString(deterministic=True))
    runner = load_runner(path, torch.get_num_threads())
    names = [form.name for form in runner.inputs]
    full = np.tile(np.array([np.inf, -np.inf]), (len(tensors), 1))
    tails = np.zeros((len(tensors), 2))
    for index in range(len(samples)):
        context.stop.check()
        context.tick(index / len(samples), f"calibration sample {index + 1} of {len(samples)}")
        values = runner.run(list(tensors), samples.take(np.array([index])).feeds(names))
        for place, value in enumerate(values):
            if not np.isfinite(value).all():
                raise context.failed(Reason.STEP_FAILED, _BOUNDLESS.format(tensors[place]))
            full[place] = min(full[place, 0], value.min()), max(full[place, 1], value.max())
            tails[place] += np.quantile(value, [_TAIL, 1 - _TAIL])
    path.unlink()
    return _ranges(tensors, full), _ranges(tensors, tails / max(len(samples), 1))


def said(path: Path, samples: Samples, context: Context) -> Array:
    """Return the first output of a model file in the serving engine, [N, ...]."""
    return Served(path, torch.get_num_threads(), samples, context.field).outputs(samples, context.stop, lambda _: None)


def error(wanted: Array, found: Array) -> float:
    """Return how far outputs are from those wanted, relative to their size (root mean square)."""
    size = float(np.sqrt(np.mean(np.square(wanted, dtype=np.float64))))
    away = float(np.sqrt(np.mean(np.square(found.astype(np.float64) - wanted))))
    return away / max(size, 1e-12)


def within(context: Context, begin: float, end: float) -> Context:
    """Return a context for a part of the step, between two shares of its time."""
    return replace(context, tick=lambda done, detail: context.tick(begin + done * (end - begin), detail))


def _ranges(names: Sequence[str], values: Array) -> Ranges:
    return {name: (float(low), float(high)) for name, (low, high) in zip(names, values, strict=True)}
