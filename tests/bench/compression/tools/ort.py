"""ONNX Runtime's quantization, with the defaults of its functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from samples import Data, calibration

from tools.making import CALIBRATION, ONNX, Made, Runtime

VARIANTS = ("static", "dynamic")


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands samples out, one at a time."""

    def __init__(self, data: Data) -> None:
        self._left = iter(calibration(data, CALIBRATION))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)


def make(variant: str, model: Path, into: Path) -> Made:
    graph = onnx.load(model / ONNX)
    del graph.graph.value_info[:]  # the exporter's shapes make shape inference fail
    plain, path = into / "plain.onnx", into / "model.onnx"
    onnx.save(graph, plain)
    note = ""
    if variant == "static":
        quantize_static(plain, path, Reader(Data.load(model)))
    else:
        # ONNX Runtime has no kernel for convolutions of signed weights, the default: their quantization does not load.
        convolves = any(node.op_type == "Conv" for node in graph.graph.node)
        note = "weights QUInt8" if convolves else ""
        quantize_dynamic(plain, path, weight_type=QuantType.QUInt8 if convolves else QuantType.QInt8)
    plain.unlink()
    return Made(Runtime.ONNX_RUNTIME, path, (path,), note)
