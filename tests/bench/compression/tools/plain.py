"""The same weights: eager PyTorch, and exported for ONNX Runtime and OpenVINO."""

from __future__ import annotations

from pathlib import Path

import openvino as ov

from tools.making import ONNX, Made, Runtime

VARIANTS = ("eager", "onnxruntime", "openvino")


def make(variant: str, model: Path, into: Path) -> Made:
    if variant == "eager":
        weights = model / "source" / "model.safetensors"
        return Made(Runtime.EAGER, model / "spec.json", (weights,), weights=0.0)
    exported = model / ONNX
    if variant == "onnxruntime":
        return Made(Runtime.ONNX_RUNTIME, exported, (exported,))
    path = into / "model.xml"
    ov.save_model(ov.convert_model(exported), path)  # its default stores weights in fp16
    return Made(Runtime.OPENVINO, path, (path, path.with_suffix(".bin")), weights=0.0)
