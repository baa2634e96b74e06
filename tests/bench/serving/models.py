"""The served models, what is asked of them, and what the engine alone answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
import orjson
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trimtab.store import write_manifest
from trimtab.workloads.serve.mapped import align_weights

Array = NDArray[np.float32]
INPUTS, CLASSES = 784, 10
QUESTIONS = 64
LAYERS = {"mlp": (INPUTS, 512, CLASSES), "large": (INPUTS, 4096, 4096, CLASSES)}
"""1.6 MB, where the server costs more than the model, and 80 MB, where it is the other way round."""


@dataclass(frozen=True)
class Model:
    """An artifact in a folder."""

    name: str
    folder: Path
    digest: str

    @property
    def file(self) -> Path:
        return self.folder / "model.onnx"

    def compiled(self) -> Model:
        """Return the same model for OpenVINO, in FP32, made unless it is there."""
        folder = self.folder.with_name(f"{self.name}-openvino")
        digest = folder.with_suffix(".digest")
        if not digest.exists():
            folder.mkdir(parents=True, exist_ok=True)
            ov.save_model(ov.convert_model(self.file), folder / "model.xml", compress_to_fp16=False)
            config = json.loads((self.folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps({**config, "engine": "OpenVino"}))
            digest.write_text(write_manifest(folder).digest)
        return Model(self.name, folder, digest.read_text())

    def session(self) -> ort.InferenceSession:
        """Return a plain session with one thread."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        return ort.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])

    @cached_property
    def questions(self) -> Array:
        """Rows that each have another answer."""
        return np.random.default_rng(7).random((QUESTIONS, INPUTS), np.float32)

    @cached_property
    def answers(self) -> Array:
        """What the engine says about each question alone."""
        session = self.session()
        return np.concatenate([session.run(None, {"x": row[None]})[0] for row in self.questions])

    def is_right(self, question: int, found: Any) -> bool:
        """Whether an answer is this question's; batches of another size round differently."""
        array = np.asarray(found, np.float32).ravel()
        return array.shape == (CLASSES,) and bool(np.allclose(array, self.answers[question], rtol=1e-3, atol=1e-4))


def written(name: str, cache: Path) -> Model:
    """Return a model with seeded weights, made unless it is there."""
    folder = cache / "models" / name
    digest = folder.with_suffix(".digest")
    if not digest.exists():
        folder.mkdir(parents=True, exist_ok=True)
        onnx.save(_network(LAYERS[name]), folder / "model.onnx")
        align_weights(folder / "model.onnx")  # as compression does
        config = {
            "engine": "OnnxRuntime",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, INPUTS]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, CLASSES]}],
        }
        (folder / "config.json").write_text(json.dumps(config))
        digest.write_text(write_manifest(folder).digest)
    return Model(name, folder, digest.read_text())


def _network(sizes: tuple[int, ...]) -> onnx.ModelProto:
    draw = np.random.default_rng(1)
    nodes, weights, last = [], [], "x"
    for index, (before, after) in enumerate(pairwise(sizes)):
        weight = draw.standard_normal((before, after), np.float32) / np.float32(np.sqrt(before))
        weights.append(numpy_helper.from_array(weight, f"w{index}"))
        final = index == len(sizes) - 2
        nodes.append(helper.make_node("MatMul", [last, f"w{index}"], ["y" if final else f"m{index}"]))
        if not final:
            nodes.append(helper.make_node("Relu", [f"m{index}"], [f"h{index}"]))
        last = f"h{index}"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# --- what a request's body is, by the form that a server takes, and where the answer is ---


def protocol_json(row: Array) -> tuple[bytes, bytes]:
    """Return header lines and body of the Open Inference Protocol with JSON tensors."""
    tensor = {"name": "x", "shape": [1, INPUTS], "datatype": "FP32", "data": row}
    return _JSON, orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY)


def protocol_binary(row: Array) -> tuple[bytes, bytes]:
    """Return the same with binary tensors, in the question and in the answer."""
    tensor = {"name": "x", "shape": [1, INPUTS], "datatype": "FP32", "parameters": {"binary_data_size": row.nbytes}}
    header = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    lines = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % len(header)
    return lines, header + row.tobytes()


def plain_json(row: Array) -> tuple[bytes, bytes]:
    """Return `{"rows": [[…]]}`, for servers without the protocol."""
    return _JSON, orjson.dumps({"rows": row[None]}, option=orjson.OPT_SERIALIZE_NUMPY)


def read_protocol(body: bytes) -> Any:
    """Return the tensor in an answer of the protocol, in either form."""
    if body.endswith(b"}"):
        return orjson.loads(body)["outputs"][0]["data"]
    return np.frombuffer(body[-4 * CLASSES :], "<f4")


def read_plain(body: bytes) -> Any:
    """Return a list of numbers, however deep it is nested."""
    found = orjson.loads(body)
    return found["rows"] if isinstance(found, dict) else found


_JSON = b"content-type: application/json\r\n"
