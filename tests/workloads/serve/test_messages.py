"""Requests and answers of the Open Inference Protocol."""

from __future__ import annotations

import json
import struct

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trimtab.workloads.serve.artifact import ModelSpec, TensorSpec
from trimtab.workloads.serve.datatypes import NUMPY_TYPES
from trimtab.workloads.serve.messages import BadRequest, encode_answer, parse_request

SPEC = ModelSpec(
    inputs=(TensorSpec("x", "FP32", (-1, 3)), TensorSpec("n", "INT8", (-1, 1))),
    outputs=(TensorSpec("y", "FP32", (-1, 2)), TensorSpec("label", "BYTES", (-1,))),
)
X = {"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6.5]}
N = {"name": "n", "datatype": "INT8", "shape": [2, 1], "data": [[1], [2]]}
OUTPUTS = [np.array([[1, 2], [3, 4]], np.float32), np.array(["a", "ö"], np.object_)]


def parsed(**changes):
    message = {"inputs": [X, N], **changes}
    return parse_request(orjson.dumps(message), None, SPEC)


def test_tensors_are_read_flat_or_nested():
    """Row-major either way."""
    request = parsed()
    assert request.feeds["x"].dtype == np.float32
    assert request.feeds["x"].tolist() == [[1, 2, 3], [4, 5, 6.5]]
    assert request.feeds["n"].dtype == np.int8
    assert request.feeds["n"].tolist() == [[1], [2]]
    assert request.rows == 2
    assert request.group == ((3,), (1,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"inputs": None}, "inputs must be an array with one object per input: x, n", id="no inputs"),
        pytest.param({"inputs": [X]}, "input 'n' is missing; the model takes x, n", id="missing"),
        pytest.param({"inputs": [X, X]}, "input 'x' is given twice", id="twice"),
        pytest.param({"inputs": [{**X, "name": "z"}]}, "input 'z' is unknown; the model takes x, n", id="unknown"),
        pytest.param(
            {"inputs": [{**X, "datatype": "FP64"}]}, "input 'x': expected datatype FP32, got 'FP64'", id="datatype"
        ),
        pytest.param({"inputs": [{**X, "shape": [2, 4]}]}, "input 'x': expected shape [-1, 3], got [2, 4]", id="shape"),
        pytest.param({"inputs": [{**X, "shape": [6]}]}, "input 'x': expected shape [-1, 3], got [6]", id="rank"),
        pytest.param(
            {"inputs": [{**X, "shape": [0, 3]}]},
            "input 'x': shape must be an array of positive integers, got [0, 3]",
            id="no rows",
        ),
        pytest.param(
            {"inputs": [{**X, "shape": [True, 3]}]},
            "input 'x': shape must be an array of positive integers, got [True, 3]",
            id="boolean size",
        ),
        pytest.param(
            {"inputs": [{**X, "data": [1, 2]}]}, "input 'x': shape [2, 3] expects 6 elements, got 2 in data", id="few"
        ),
        pytest.param(
            {"inputs": [{**X, "data": [[1, 2], [3, 4], [5, 6]]}]},
            "input 'x': data is nested as [3, 2], shape says [2, 3]",
            id="other nesting",
        ),
        pytest.param(
            {"inputs": [{**X, "data": [[1, 2, 3], [4, 5]]}]},
            "input 'x': data is ragged; every row must have the same length",
            id="ragged",
        ),
        pytest.param({"inputs": [{**X, "data": 1}]}, "input 'x': data must be an array, got a number", id="scalar"),
        pytest.param(
            {"inputs": [{"name": "x", **{k: X[k] for k in ("datatype", "shape")}}]},
            "input 'x': data must be an array, got null",
            id="no data",
        ),
        pytest.param(
            {"inputs": [{**X, "data": ["1", "2", "3", "4", "5", "6"]}]},
            "input 'x': expected numbers for FP32, got strings in data",
            id="strings",
        ),
        pytest.param(
            {"inputs": [{**X, "data": [1, 2, 3, None, 5, 6]}]},
            "input 'x': expected numbers for FP32, got mixed values in data",
            id="null",
        ),
        pytest.param(
            {"inputs": [{**X, "data": [1, 2, 3, 1e300, 5, 6]}]},
            "input 'x': data holds numbers beyond FP32",
            id="overflow",
        ),
        pytest.param(
            {"inputs": [X, {**N, "data": [1.5, 2]}]},
            "input 'n': expected integers for INT8, got numbers in data",
            id="½",
        ),
        pytest.param(
            {"inputs": [X, {**N, "data": [1, 300]}]}, "input 'n': expected INT8 (-128..127), got 1..300", id="range"
        ),
        pytest.param(
            {"inputs": [X, {**N, "shape": [1, 1], "data": [1]}]},
            "input 'n': expected 2 rows as in 'x', got 1",
            id="rows",
        ),
        pytest.param({"outputs": [{"name": "z"}]}, "output 'z' is unknown; the model has y, label", id="output"),
        pytest.param({"outputs": "y"}, "outputs must be an array with one object per output: y, label", id="outputs"),
        pytest.param({"id": 7}, "id must be a string", id="id"),
        pytest.param({"parameters": []}, "parameters of the request must be an object", id="parameters"),
    ],
)
def test_a_wrong_request_hears_what_was_expected_and_what_came(changes, message):
    """Every mistake names the tensor, what the model takes and what was sent."""
    with pytest.raises(BadRequest) as caught:
        parsed(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize("body", [b"", b"{", b'{"inputs": [NaN]}', b"\xff", b"[1]", b"null"])
def test_what_is_not_json_is_refused(body):
    """The body is one JSON object."""
    with pytest.raises(BadRequest, match="body"):
        parse_request(body, None, SPEC)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70).filter(lambda n: -(2**63) <= n < 2**64)
        | st.floats()
        | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*X, "inputs"]), inner, max_size=4),
        max_leaves=12,
    )
)
def test_no_value_anywhere_raises_anything_but_bad_request(value):
    """A hostile body costs its sender an error and nobody else anything."""
    for message in (
        value,
        {"inputs": value},
        {"inputs": [X, {**N, "data": value}]},
        {"inputs": [X, N], "outputs": value},
        {"inputs": [{**X, "shape": value}, N]},
        {"inputs": [{**X, "parameters": value}, N]},
    ):
        try:
            parse_request(orjson.dumps(message), None, SPEC)
        except BadRequest:
            continue


def test_the_answer_repeats_id_and_parameters_and_names_the_model():
    """Clients match answers by them."""
    request = parsed(id="7", parameters={"trace": "t"})
    message = json.loads(encode_answer(request, OUTPUTS, SPEC, "digits", "digits-1").body)
    assert message == {
        "model_name": "digits",
        "model_version": "digits-1",
        "id": "7",
        "parameters": {"trace": "t"},
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["a", "ö"]},
        ],
    }


def test_only_the_outputs_that_are_asked_for_are_sent_in_that_order():
    """Large outputs can be left out."""
    request = parsed(outputs=[{"name": "label"}])
    (output,) = json.loads(encode_answer(request, OUTPUTS, SPEC, "m", "r").body)["outputs"]
    assert output["name"] == "label"


def test_raw_tensors_follow_the_header_both_ways():
    """The binary extension: no number becomes text."""
    raw = struct.pack("<6f2b", 1, 2, 3, 4, 5, 6, 7, -8)
    inputs = [
        {**{k: X[k] for k in ("name", "datatype", "shape")}, "parameters": {"binary_data_size": 24}},
        {**{k: N[k] for k in ("name", "datatype", "shape")}, "parameters": {"binary_data_size": 2}},
    ]
    header = orjson.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}})
    request = parse_request(header + raw, b"%d" % len(header), SPEC)
    assert request.feeds["x"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert request.feeds["n"].tolist() == [[7], [-8]]
    encoded = encode_answer(request, OUTPUTS, SPEC, "m", "r")
    head, tail = encoded.body[: encoded.header_length], encoded.body[encoded.header_length :]
    sizes = [output["parameters"]["binary_data_size"] for output in json.loads(head)["outputs"]]
    assert sizes == [16, 11]
    assert tail == struct.pack("<4f", 1, 2, 3, 4) + b"\x01\0\0\0a" + b"\x02\0\0\0" + "ö".encode()


@pytest.mark.parametrize(
    ("size", "raw", "message"),
    [
        pytest.param(24, b"x" * 20, r"binary_data_size is 24, got 20 bytes", id="short"),
        pytest.param(20, b"x" * 20, r"shape \[2, 3\] of FP32 expects 24 bytes, got 20", id="does not fill"),
        pytest.param(24, b"x" * 30, r"the inputs take 24 bytes of raw data, got 30", id="left over"),
        pytest.param(-1, b"", r"binary_data_size is -1", id="negative"),
        pytest.param("24", b"x" * 24, r"binary_data_size is '24'", id="text"),
    ],
)
def test_raw_tensors_must_fit(size, raw, message):
    """Sizes that do not add up are refused before anything is read."""
    spec = ModelSpec(inputs=SPEC.inputs[:1], outputs=SPEC.outputs)
    header = orjson.dumps(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": size}}]}
    )
    with pytest.raises(BadRequest, match=message):
        parse_request(header + raw, b"%d" % len(header), spec)


@pytest.mark.parametrize("length", [b"x", b"-1", b"999", b"9" * 30])
def test_a_header_length_that_cannot_be_is_refused(length):
    """The header ends within the body."""
    with pytest.raises(BadRequest, match="Inference-Header-Content-Length"):
        parse_request(b"{}", length, SPEC)


@pytest.mark.parametrize("raw", [b"\x05\0\0\0abc", b"\x01", b"\x01\0\0\0\xff"])
def test_raw_strings_that_are_cut_off_or_not_text_are_refused(raw):
    """Lengths inside the data are not believed."""
    spec = ModelSpec(inputs=(TensorSpec("t", "BYTES", (-1,)),), outputs=SPEC.outputs)
    header = orjson.dumps(
        {"inputs": [{"name": "t", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}]}
    )
    with pytest.raises(BadRequest, match="input 't'"):
        parse_request(header + raw, b"%d" % len(header), spec)


NUMBERS = st.sampled_from([name for name in NUMPY_TYPES if name != "BYTES"])


@given(st.data())
def test_every_number_survives_json_and_the_binary_form(data):
    """What a model answers can be sent as a request again, bit for bit."""
    datatype = data.draw(NUMBERS)
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=3))
    floats = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else {}
    dtype = NUMPY_TYPES[datatype]
    array = data.draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **floats)))
    tensor = TensorSpec("t", datatype, (-1,) * len(shape))
    spec = ModelSpec(inputs=(tensor,), outputs=(tensor,))
    for binary in (False, True):
        seed = orjson.dumps(
            {
                "inputs": [{"name": "t", "datatype": datatype, "shape": shape, "data": array.tolist()}],
                "parameters": {"binary_data_output": binary},
            }
        )
        request = parse_request(seed, None, spec)
        encoded = encode_answer(request, [array], spec, "m", "r")
        end = encoded.header_length or len(encoded.body)
        answer = json.loads(encoded.body[:end])
        again = orjson.dumps({"inputs": answer["outputs"]})
        length = b"%d" % len(again) if binary else None
        back = parse_request(again + encoded.body[end:], length, spec).feeds["t"]
        assert back.dtype == dtype
        assert np.array_equal(back, array)
