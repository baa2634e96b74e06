"""An ONNX file in BentoML: `Single` answers one by one, `Together` with its adaptive batching."""

import os

import bentoml
import numpy as np
import onnxruntime

LARGEST = int(os.environ["LARGEST"])
QUIET = {"access": {"enabled": False}}


def session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])


@bentoml.service(workers=1, logging=QUIET)
class Single:
    def __init__(self):
        self.session = session()

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": rows.astype(np.float32)})[0]


@bentoml.service(workers=1, logging=QUIET)
class Together:
    def __init__(self):
        self.session = session()

    @bentoml.api(batchable=True, max_batch_size=LARGEST, max_latency_ms=60_000)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": rows.astype(np.float32)})[0]
