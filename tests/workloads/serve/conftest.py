"""Small models, artifacts that hold them, and pods that serve them."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import aiohttp
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trimtab.store import write_manifest

CONFIG = {
    "engine": "OnnxRuntime",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}
WEIGHTS = np.array([[1, 0], [0, 1], [1, 1]], np.float32)


@pytest.fixture
def artifact(tmp_path):
    """Return (folder, digest) of a linear model: y0 = x0 + x2, y1 = x1 + x2."""
    return written(tmp_path / "artifact")


@pytest.fixture(scope="session")
def artifact_folder(tmp_path_factory):
    """The same, for all examples of a property."""
    return written(tmp_path_factory.mktemp("linear") / "artifact")[0]


def written(folder):
    """Write the linear model."""
    folder.mkdir()
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("w", TensorProto.FLOAT, [3, 2], WEIGHTS.ravel())],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder, write_manifest(folder).digest


class Pod:
    """A running `trimtab serve`; its log lines by event."""

    def __init__(self, process):
        self.process = process
        self.port = 0
        self.grpc_port = None
        self.lines = []

    async def logged(self, event):
        """Read the log up to an event and return its line."""
        while True:
            raw = await asyncio.wait_for(self.process.stderr.readline(), 60)
            assert raw, f"the pod ended before {event}: {self.lines}"
            line = json.loads(raw)
            self.lines.append(line)
            if line["event"] == event:
                return line

    async def ready(self):
        """Return the pod once it answers, with its ports."""
        started = await self.logged("server.started")
        self.port, self.grpc_port = started["port"], started["grpc_port"]
        await self.logged("server.ready")
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def ended(self):
        """Return the exit code."""
        code = await asyncio.wait_for(self.process.wait(), 60)
        rest = await self.process.stderr.read()
        assert all(raw.startswith(b"{") for raw in rest.splitlines()), rest.decode()
        self.lines += [json.loads(raw) for raw in rest.splitlines()]
        return code


@pytest.fixture
async def launch(artifact, tmp_path):
    """Start pods that end with the test."""
    folder, digest = artifact
    pods = []

    async def start(*extra, uri=None, digest=digest, models=None, **environment):
        one = {
            "--model-name": "linear",
            "--artifact-uri": uri or f"file://{folder}",
            "--artifact-digest": digest,
            "--revision": "linear-1",
        }
        options = {
            **(one if models is None else {"--models": str(models)}),
            "--host": "127.0.0.1",
            "--port": "0",
            "--threads": "1",
            "--drain-delay": "300ms",
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "trimtab", "serve", *(part for pair in options.items() for part in pair), *extra),
            stderr=asyncio.subprocess.PIPE,
            # What a killed pod leaves in its temporary folder goes with the test's.
            env={
                **os.environ,
                "PYTHONPATH": "operator",
                "TMPDIR": str(tmp_path),
                "TERMINATION_MESSAGE_PATH": str(tmp_path / "end"),
                **environment,
            },
        )
        pods.append(process)
        return Pod(process)

    yield start
    for process in pods:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process._transport.close()


@pytest.fixture
async def pod(launch):
    """A pod that is ready."""
    return await (await launch()).ready()


@pytest.fixture
async def client():
    """An HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session
