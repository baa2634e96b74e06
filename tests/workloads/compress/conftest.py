import hashlib
import importlib
import json
from itertools import count

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from trimtab.api.runs import RunSpec
from trimtab.workloads.compress.machine import this_machine
from trimtab.workloads.compress.pipeline import Run
from trimtab.workloads.compress.stopping import Stop


@pytest.fixture(scope="session")
def customer(trained):
    """The demo customer's trained model and data: (source folder, data file)."""
    return trained / "model", trained / "digits.npz"


@pytest.fixture
def request_for(customer, tmp_path):
    """Build a run's request: the digits, export only, unless said otherwise."""

    def build(**changes):
        source, data = customer
        wanted = {
            "namespace": "default",
            "model": "digits",
            "key": "k",
            "source": {"uri": source.as_uri(), "entrypoint": "digits_model:build"},
            "compression": {"preset": "None"},
            "guardrail": {"dataset": {"uri": data.as_uri()}, "maxDrop": "2pp"},
            "output": (tmp_path / "out").as_uri(),
            "allowCode": True,
        }
        return RunSpec.model_validate_json(json.dumps(wanted | changes))

    return build


@pytest.fixture(scope="session")
def baselines_kept():
    """What exports a run's source, once per session for equal ones: most runs begin with the same, for seconds.

    What a run makes of it is exported anew, each time.
    """
    network_module = importlib.import_module("trimtab.workloads.compress.network")  # brings torch: not all need it
    export_network, kept = network_module.export_network, {}

    def export(network, samples, path, free=None):
        if path.parent.name != "baseline":
            return export_network(network, samples, path, free)
        about = hashlib.sha256(f"{network} {type(network)} {samples.form()} {free}".encode())
        for name, value in network.state_dict().items():
            about.update(name.encode() + value.numpy().tobytes())
        # What a network computes need not show in its text or its weights: how it pools, for one.
        with network_module.torch.no_grad():
            answers = network_module.forward(network.eval(), network_module.tensors_of(samples.first(2)))
        about.update(answers.numpy().tobytes())
        if about.digest() not in kept:
            export_network(network, samples, path, free)
            kept[about.digest()] = path.read_bytes()
        network.eval()
        path.write_bytes(kept[about.digest()])
        return None

    return export


@pytest.fixture
def execute(tmp_path, monkeypatch, baselines_kept, request):
    """Carry out a run in this process, with one thread; pictures are drawn for tests that ask for `drawing`."""
    numbers = count()
    monkeypatch.setattr("trimtab.workloads.compress.network.export_network", baselines_kept)
    if "drawing" not in request.fixturenames:
        monkeypatch.setattr(Run, "_draw", lambda _self, _report, _folder: None)

    def run(spec, emit=lambda _line: None, stop=None):
        folder = tmp_path / f"scratch-{next(numbers)}"
        folder.mkdir()
        return Run(spec=spec, machine=this_machine(1), folder=folder, emit=emit, stop=stop or Stop()).execute()

    return run


@pytest.fixture
def drawing():
    """Let `execute` draw the report, which takes a third of a short run."""


@pytest.fixture
def a_graph():
    """Write a linear classifier as ONNX; the function returns its weights."""

    def write(path, inputs=16, classes=3, batch="batch", domain=None, seed=0):
        weight = np.random.default_rng(seed).normal(size=(inputs, classes)).astype(np.float32)
        node = helper.make_node("MatMul", ["x", "w"], ["scores"], name="head", domain=domain or "")
        graph = helper.make_graph(
            [node],
            "linear",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, inputs])],
            [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [batch, classes])],
            [numpy_helper.from_array(weight, "w")],
        )
        opsets = [helper.make_opsetid("", 20)] + ([helper.make_opsetid(domain, 1)] if domain else [])
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        return weight

    return write


@pytest.fixture
def a_dataset():
    """Write samples that a linear classifier labels itself; the function returns the file."""

    def write(path, weight, samples=400, seed=1, **more):
        x = np.random.default_rng(seed).normal(size=(samples, len(weight))).astype(np.float32)
        np.savez(path, x_test=x, y_test=(x @ weight).argmax(1), **more)
        return path

    return write
