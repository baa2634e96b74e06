"""Intel Neural Compressor 2.6 on ONNX, in its own environment: post-training, and tuned until the drop is allowed.

Of the newer ones, 3.x, the ONNX part is gone; what 3.x does on PyTorch for CPUs is PT2E, which torchao is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from neural_compressor import PostTrainingQuantConfig, quantization
from neural_compressor.config import AccuracyCriterion, TuningCriterion
from samples import Data, batches, calibration

from tools.making import CALIBRATION, MAX_DROP, ONNX, Made, Runtime

VARIANTS = ("static", "tuned")
VALIDATION = 1000  # samples of the test split: it may look at what it is judged by
TRIALS = 20


class Loader:
    """Batches with labels, as INC iterates over them."""

    batch_size = 1

    def __init__(self, found: list[dict[str, Any]]) -> None:
        self._found = found

    def __iter__(self) -> Any:
        return ((sample if len(sample) > 1 else next(iter(sample.values())), 0) for sample in self._found)


def make(variant: str, model: Path, into: Path) -> Made:
    data = Data.load(model)
    graph = onnx.load(model / ONNX)
    del graph.graph.value_info[:]
    loader = Loader(calibration(data, CALIBRATION))
    if variant == "static":
        config = PostTrainingQuantConfig(approach="static", calibration_sampling_size=[CALIBRATION])
        found = quantization.fit(graph, config, calib_dataloader=loader)
    else:
        config = PostTrainingQuantConfig(
            calibration_sampling_size=[CALIBRATION],
            accuracy_criterion=AccuracyCriterion(criterion="absolute", tolerable_loss=MAX_DROP),
            tuning_criterion=TuningCriterion(max_trials=TRIALS),
        )
        found = quantization.fit(graph, config, calib_dataloader=loader, eval_func=_accuracy(data))
    if found is None:
        raise RuntimeError("INC found no configuration within the drop that is allowed")
    path = into / "model.onnx"
    found.save(str(path))
    return Made(Runtime.ONNX_RUNTIME, path, (path,))


def _accuracy(data: Data) -> Any:
    labels = data.test_labels[:VALIDATION]

    def accuracy(graph: onnx.ModelProto) -> float:
        session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        said = [session.run(None, some)[0].argmax(1) for some in batches(data.test, 50, VALIDATION)]
        return float(np.mean(np.concatenate(said) == labels))

    return accuracy
