"""Numbers of JSON straight into arrays: the same as by way of lists, or not at all."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps import steps

from trimtab.workloads.serve import jsontensors
from trimtab.workloads.serve.artifact import ModelSpec, TensorSpec
from trimtab.workloads.serve.messages import BadRequest, parse_request

SPEC = ModelSpec(
    inputs=(TensorSpec("f", "FP32", (-1, 2)), TensorSpec("i", "INT8", (-1, 2)), TensorSpec("u", "UINT64", (-1,))),
    outputs=(TensorSpec("y", "FP32", (-1,)),),
)
numbers = st.one_of(
    st.integers(-5, 300),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([None, True, "1", [1], [], {}, 2**63, 2**64 - 1, -(2**63), 1e39]),
)
data = st.lists(numbers, max_size=6) | st.lists(st.lists(numbers, max_size=3), max_size=4)
plain = st.lists(st.integers(0, 100), min_size=4, max_size=4) | st.just([[1, 2], [3, 4]])


def judged(body):
    """Return the tensors of a request, or what is wrong with it."""
    try:
        return {name: (array.dtype, array.tolist()) for name, array in parse_request(body, None, SPEC).feeds.items()}
    except BadRequest as error:
        return str(error)


@given(f=data | plain, i=data | plain, u=data | st.just([1, 2]), words=st.sampled_from(["", "[", "[[]"]))
def test_both_ways_come_to_the_same(f, i, u, words):
    """Tensors, and the words for what is wrong."""
    tensors = [
        {"name": "f", "datatype": "FP32", "shape": [2, 2], "data": f},
        {"name": "i", "datatype": "INT8", "shape": [2, 2], "data": i},
        {"name": "u", "datatype": "UINT64", "shape": [2], "data": u},
    ]
    body = json.dumps({"id": words, "inputs": tensors}).encode()
    found = []
    for least in (0, 10**9):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jsontensors, "_LEAST_BYTES", least)
            found.append(judged(body))
    assert found[0] == found[1]


def test_large_requests_take_the_fast_way():
    """Otherwise the property above proves nothing."""
    rows = np.arange(400, dtype=np.float32).reshape(2, 200)
    for nested in (rows.tolist(), rows.ravel().tolist()):
        body = orjson.dumps({"inputs": [{"name": "f", "datatype": "FP32", "shape": [2, 200], "data": nested}]})
        (item,) = jsontensors.loads(body)["inputs"]
        assert isinstance(item["data"], np.ndarray)
        assert item["data"].tolist() == nested


@pytest.mark.parametrize("text", ["", "{", "[1", '{"a": NaN}', '{"inputs": [{"data": [1,]}]}', "\xff"])
def test_what_is_not_json_is_refused_however_long(text):
    """With the general parser's words."""
    with pytest.raises(orjson.JSONDecodeError):
        jsontensors.loads(text.encode("latin-1") + b" " * 1000)


def test_of_a_field_given_twice_the_last_counts():
    """As everywhere else: parsers that disagree are how requests are smuggled."""
    body = b'{"id": "%b", "inputs": 1, "inputs": 2}' % (b"x" * 600)
    assert jsontensors.loads(body)["inputs"] == 2


@pytest.mark.parametrize(
    "body",
    [
        lambda n: b'{"inputs": [{"datatype": "FP32", "data": [%b]}]}' % b",".join([b"[1,2]"] * n),
        lambda n: b'{"inputs": [%b]}' % b",".join([b'{"datatype": "FP32", "data": [1]}'] * n),
        lambda n: b"{%b}" % b",".join(b'"%d": 1' % number for number in range(n)),
        lambda n: b'{"inputs": [{%b}]}' % b",".join(b'"%d": 1' % number for number in range(n)),
    ],
    ids=["rows", "inputs", "keys", "keys of an input"],
)
def test_nothing_is_searched_for_once_per_element(body):
    """simdjson finds a key or an index from the start each time: however long a body, it is asked for a few."""
    short, long = body(5_000), body(20_000)
    assert steps(lambda: jsontensors.loads(long), most=1_000) == steps(lambda: jsontensors.loads(short), most=1_000)
