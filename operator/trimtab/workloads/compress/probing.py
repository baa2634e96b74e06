"""What a source is asked before time is spent on it: that its weights are numbers, and that it takes every data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.data import GUARDRAIL_FIELD, RunData
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.evaluate import Served
from trimtab.workloads.compress.techniques.quantize.layers import layers


def probe(model: Path, data: RunData, threads: int) -> None:
    """Ask a source's ONNX file for a few answers in the serving engine.

    Of each data set these are to the first sample and, where inputs are integers, to those that hold the highest and
    the lowest one: a table that does not have them says so now, and not in the last epoch.

    Raises:
        Stalled: SourceInvalid, a weight or an answer is no number. DatasetInvalid, samples that it does not take.
    """
    _require_numbers(onnx.load(model))
    served = Served(model, threads, data.evaluation, "spec.source.uri")
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


def _telling(samples: Samples) -> list[int]:
    found = {0}
    for array in samples.inputs.values():
        if np.issubdtype(array.dtype, np.integer):
            rows = array.reshape(len(array), -1)
            found |= {int(rows.max(axis=1).argmax()), int(rows.min(axis=1).argmin())}
    return sorted(found)
