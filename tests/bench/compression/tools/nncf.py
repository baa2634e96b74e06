"""OpenVINO's quantization by NNCF: post-training, and with accuracy control."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["NNCF_CI"] = "1"  # it reports over the network otherwise

import nncf
import numpy as np
import openvino as ov
from samples import Data, batches, calibration

from tools.making import MAX_DROP, ONNX, Made, Runtime

VARIANTS = ("quantize", "accuracy-control")
SUBSET = 300  # NNCF's default
VALIDATION = 1000  # samples of the test split: it may look at what it is judged by


def make(variant: str, model: Path, into: Path) -> Made:
    data = Data.load(model)
    plain = ov.Core().read_model(model / ONNX)
    texts = len(data.train) > 1
    kind = nncf.ModelType.TRANSFORMER if texts else None
    samples = nncf.Dataset(calibration(data, SUBSET))
    note = "for transformers" if texts else ""
    if variant == "quantize":
        quantized = nncf.quantize(plain, samples, model_type=kind)
    else:
        quantized = nncf.quantize_with_accuracy_control(
            plain,
            calibration_dataset=samples,
            validation_dataset=nncf.Dataset(_labelled(data)),
            validation_fn=_accuracy,
            max_drop=MAX_DROP,
            drop_type=nncf.DropType.ABSOLUTE,
            model_type=kind,
        )
    path = into / "model.xml"
    ov.save_model(quantized, path)
    return Made(Runtime.OPENVINO, path, (path, path.with_suffix(".bin")), note)


def _labelled(data: Data) -> list[dict[str, Any]]:
    """Return samples, each with its label: NNCF ranks layers by single samples."""
    found = batches(data.test, 1, VALIDATION)
    return [sample | {"label": data.test_labels[i : i + 1]} for i, sample in enumerate(found)]


def _accuracy(compiled: Any, validation: Any) -> tuple[float, list[float]]:
    right = []
    for sample in validation:
        inputs = {name: array for name, array in sample.items() if name != "label"}
        said = next(iter(compiled(inputs).values()))
        right.append(float(np.argmax(said[0]) == sample["label"][0]))
    return float(np.mean(right)), right
