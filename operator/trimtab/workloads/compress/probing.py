"""What a source is asked before time is spent on it: that its weights are numbers, and that it takes every data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.data import GUARDRAIL_FIELD, RunData
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.evaluate import Served, reference_device
from trimtab.workloads.compress.graph import tensors
from trimtab.workloads.compress.techniques.quantize.layers import layers


def probe(model: Path, data: RunData, threads: int, target: Device = Device.CPU) -> None:
    """Ask a source's ONNX file for a few answers in the serving engine, where it will be compared.

    Of each data set these are to the first sample and, where inputs are integers, to those that hold the highest and
    the lowest one: a table that does not have them says so now, and not in the last epoch.

    Raises:
        Stalled: SourceInvalid, a weight or an answer is no number. DatasetInvalid, samples that it does not take.
            NotSupported, a size that the target does not take, or no such device in this pod.
    """
    graph = onnx.load(model)
    _require_numbers(graph)
    if target is Device.NPU:
        _require_fixed_sizes(graph)
    served = Served(model, threads, data.evaluation, "spec.source.uri", reference_device(target))
    for field, samples in {GUARDRAIL_FIELD: data.evaluation, **data.training, **data.calibration}.items():
        for index in _telling(samples):
            answer = served.answer(samples.take(np.array([index])), field)
            if np.issubdtype(answer.dtype, np.floating) and np.isnan(answer).any():
                raise Stalled(
                    Reason.SOURCE_INVALID,
                    f"spec.source.uri: the model answers NaN to sample {index} of {field}; correct the sample, or give "
                    "a model that has numbers for it",
                )


def _require_numbers(model: ModelProto) -> None:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for layer in layers(model):
        if not np.isfinite(numpy_helper.to_array(constants[layer.weight])).all():
            raise Stalled(
                Reason.SOURCE_INVALID,
                f"spec.source.uri: {layer.weight}, the weight of {layer.name}, holds NaN or infinity: the training "
                "went wrong; give an earlier state of the model",
            )


def _require_fixed_sizes(model: ModelProto) -> None:
    for tensor in tensors(model)["inputs"]:
        if -1 in tensor["shape"][1:]:
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"spec.compression.target.device: NPU, but input '{tensor['name']}' of the source takes "
                f"{tensor['shape']}, and NPUs take fixed sizes only behind the first; export the source with fixed "
                "sizes, or use another device",
            )


def _telling(samples: Samples) -> list[int]:
    found = {0}
    for array in samples.inputs.values():
        if np.issubdtype(array.dtype, np.integer):
            rows = array.reshape(len(array), -1)
            found |= {int(rows.max(axis=1).argmax()), int(rows.min(axis=1).argmin())}
    return sorted(found)
