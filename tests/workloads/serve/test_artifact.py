"""What a pod believes of config.json."""

from __future__ import annotations

import json

import pytest

from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.workloads.serve.artifact import TensorSpec, parse_spec, read_spec, require_engine

TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "the top level is []; expected an object"),
        ({"engine": "Caffe"}, 'engine is "Caffe"; expected OnnxRuntime or OpenVino'),
        ({"outputs": [TENSOR]}, "inputs is null; expected a list with at least one tensor"),
        ({"inputs": [TENSOR]}, "outputs is null; expected a list with at least one tensor"),
        ({"inputs": [TENSOR, 1]}, "inputs[1] is 1; expected an object with name, datatype and shape"),
        ({"inputs": [{**TENSOR, "name": ""}]}, 'inputs[0].name is ""; expected a tensor\'s name'),
        ({"inputs": [{**TENSOR, "datatype": "F32"}]}, 'inputs[0].datatype is "F32"; expected one of BOOL, UINT8'),
        ({"inputs": [{**TENSOR, "shape": [0]}]}, "inputs[0].shape is [0]; expected a list of sizes, -1 for any"),
    ],
)
def test_a_config_that_cannot_be_served_is_refused_by_field(config, message):
    """The message names the field, its value and what is possible."""
    with pytest.raises(Stalled) as caught:
        parse_spec(config)
    assert caught.value.reason == "NotSupported"
    assert caught.value.message.startswith(f"config.json: {message}")


@pytest.mark.parametrize(("content", "message"), [(None, "config.json is missing"), (b"{", "config.json is not JSON")])
def test_a_config_that_cannot_be_read_is_refused(tmp_path, content, message):
    """Missing and damaged are told apart."""
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(Stalled, match=message):
        read_spec(tmp_path)


@pytest.mark.parametrize(
    ("inputs", "outputs", "stackable"),
    [
        ([-1, 3], [-1], True),
        ([1, 3], [1], False),
        ([-1, 3], [], False),
        ([-1, 3], [2], False),
    ],
)
def test_only_models_with_a_free_first_dimension_are_stacked(tmp_path, inputs, outputs, stackable):
    """Everything that goes in and comes out must count rows."""
    (tmp_path / "config.json").write_text(
        json.dumps({"inputs": [{**TENSOR, "shape": inputs}], "outputs": [{**TENSOR, "shape": outputs}]})
    )
    assert read_spec(tmp_path).stackable is stackable


@pytest.mark.parametrize(("shape", "fits"), [((1, 3), True), ((9, 3), True), ((1, 4), False), ((3,), False)])
def test_minus_one_takes_any_length(shape, fits):
    """Other sizes must be met exactly."""
    assert TensorSpec("x", "FP32", (-1, 3)).takes(shape) is fits


def test_auto_follows_the_artifact_and_another_engine_is_refused():
    """The verdict is about one engine: serving in another one would be about something else."""
    spec = parse_spec({"engine": "OpenVino", "inputs": [TENSOR], "outputs": [TENSOR]})
    assert spec.file == "model.xml"
    require_engine(spec, Engine.AUTO)
    require_engine(spec, Engine.OPEN_VINO)
    with pytest.raises(Stalled) as caught:
        require_engine(spec, Engine.ONNX_RUNTIME)
    assert caught.value.message == (
        "spec.serving.engine: OnnxRuntime, but the artifact was judged in OpenVino and only runs there; use Auto, or "
        "compress with a step compile for OnnxRuntime"
    )
