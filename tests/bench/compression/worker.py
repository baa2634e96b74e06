"""One variant of a model in a process of its own: answers, and says how long it took.

    worker.py RUNTIME FILE MODEL THREADS

Reads a JSON object per line, {"batch", "repeats"} or {"answers": path}, and writes one: {"seconds": [...]} or {}.
"""

from __future__ import annotations

# ruff: noqa: PLC0415  a worker imports its own runtime and no other
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from samples import Array, Data, rows
from tools.making import Runtime

BATCH = 32
Answer = Callable[[Mapping[str, Array]], Array]


def eager(_: Path, model: Path, threads: int) -> Answer:
    import source
    import torch

    torch.set_num_threads(threads)
    return _called(source.network(model))


def torchao(path: Path, model: Path, threads: int) -> Answer:
    """Quantize again and compile: what torch.compile makes is not stored."""
    import source
    import torch
    from tools.torchao import quantized

    torch.set_num_threads(threads)
    return _called(torch.compile(quantized(source.network(model), path.stem), dynamic=False))


def inductor(path: Path, _: Path, threads: int) -> Answer:
    import torch
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer  # noqa: F401  registers the operators
    from torch._inductor import config

    torch.set_num_threads(threads)
    config.freezing = True
    return _called(torch.compile(torch.export.load(path).module(), dynamic=False))


def onnxruntime(path: Path, _: Path, threads: int) -> Answer:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda inputs: session.run(None, _named(names, inputs))[0]


def openvino(path: Path, _: Path, threads: int) -> Answer:
    import openvino as ov

    compiled = ov.compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads})
    names = [port.any_name for port in compiled.inputs]
    return lambda inputs: np.array(compiled(_named(names, inputs))[0])


def served(path: Path, _: Path, threads: int) -> Answer:
    from trimtab.workloads.serve.engine import load_runner

    runner = load_runner(path, threads)
    names = [form.name for form in runner.inputs]
    return lambda inputs: runner.run(list(runner.outputs[:1]), _named(names, inputs))[0]


LOADERS: dict[Runtime, Callable[[Path, Path, int], Answer]] = {
    Runtime.EAGER: eager,
    Runtime.TORCHAO: torchao,
    Runtime.INDUCTOR: inductor,
    Runtime.ONNX_RUNTIME: onnxruntime,
    Runtime.OPENVINO: openvino,
    Runtime.SERVED: served,
}


def _called(network: Any) -> Answer:
    import source
    import torch

    def answer(inputs: Mapping[str, Array]) -> Array:
        with torch.no_grad():
            found: Array = network(*source.tensors(inputs)).numpy()
        return found

    return answer


def _named(names: list[str], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return inputs under the names that a graph gives them: a single one may have any."""
    return {names[0]: next(iter(inputs.values()))} if len(names) == 1 else {name: inputs[name] for name in names}


def timed(answer: Answer, data: Data, batch: int, repeats: int) -> list[float]:
    """Return the seconds of each of `repeats` requests of `batch` samples, each with other samples."""
    found, samples = [], len(data.test_labels) // batch
    for repeat in range(repeats):
        inputs = {name: np.ascontiguousarray(x) for name, x in rows(data.test, repeat % samples * batch, batch).items()}
        began = time.perf_counter()
        answer(inputs)
        found.append(time.perf_counter() - began)
    return found


def answers(answer: Answer, data: Data) -> Array:
    """Return what is said about every test sample, asked in whole batches: some graphs are compiled for one size."""
    found, count = [], len(data.test_labels)
    for start in range(0, count, BATCH):
        inputs = rows(data.test, min(start, count - BATCH), BATCH)
        found.append(np.array(answer(inputs))[-min(BATCH, count - start) :])
    return np.concatenate(found)


def main(runtime: str, file: str, model: str, threads: str) -> None:
    data = Data.load(Path(model))
    answer = LOADERS[Runtime(runtime)](Path(file), Path(model), int(threads))
    replies, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no reply
    for line in sys.stdin:
        asked = json.loads(line)
        reply: dict[str, Any] = {}
        if "answers" in asked:
            np.save(asked["answers"], answers(answer, data))
        else:
            reply["seconds"] = timed(answer, data, asked["batch"], asked["repeats"])
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
