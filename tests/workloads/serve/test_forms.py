"""Requests and answers that differ in nothing but their numbers."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.workloads.serve.artifact import ModelSpec, TensorSpec
from trimtab.workloads.serve.forms import Forms
from trimtab.workloads.serve.messages import BadRequest, encode_answer, parse_request
from trimtab.workloads.serve.written import written


def spec_of(datatype, *names):
    return ModelSpec(
        inputs=tuple(TensorSpec(name, datatype, (-1, 3)) for name in names or ("x",)),
        outputs=(TensorSpec("y", "FP32", (-1, 2)), TensorSpec("z", "INT64", (-1, 1))),
    )


def body_of(data, datatype="FP32", rows=1, **more):
    tensor = {"name": "x", "shape": [rows, 3], "datatype": datatype, "data": data}
    return json.dumps({"inputs": [tensor], **more}).encode()


def said(request, feeds):
    """Return everything a request says, comparable."""
    arrays = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in feeds.items()}
    return arrays, request.rows, request.group, request.wanted, request.id, request.parameters, request.timeout_s


def learnt(spec, body, header_length=None):
    """Return the forms after the same body came twice."""
    forms = Forms(spec)
    length = None if header_length is None else b"%d" % header_length
    for _ in range(2):
        assert forms.read(body, header_length) is None
        forms.learn(body, header_length, parse_request(body, length, spec))
    return forms


def agree(forms, body, header_length=None):
    """Whether a body was read by its form; if so, as the general way reads it."""
    found = forms.read(body, header_length)
    if found is None:
        return False
    length = None if header_length is None else b"%d" % header_length
    request = parse_request(body, length, forms.spec)
    assert said(found[0].request, found[1]) == said(request, request.feeds)
    return True


FLAT = body_of([1.5, 2, -3e-7])
TRICKY = [
    pytest.param(body_of([1, 2, 3], id='"data": [7'), id="an id that looks like data"),
    pytest.param(
        b'{"id":"\\"data\\":[1","inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}', id="id"
    ),
    pytest.param(
        b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[9],"data":[1,2,3]}]}', id="data twice"
    ),
    pytest.param(
        b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[9]}],'
        b'"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}',
        id="inputs twice",
    ),
    pytest.param(
        b'{"parameters":{"data":[5]},"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}',
        id="data elsewhere",
    ),
    pytest.param(
        b'{"inputs":[{"name":"x","data":[1,2,3],"shape":[1,3],"datatype":"FP32"}]}', id="data before its description"
    ),
    pytest.param(body_of([[1, 2, 3], [4, 5, 6]], rows=2), id="two rows"),
    pytest.param(body_of([1, 2, 3, 4, 5, 6], rows=2), id="two rows, flat"),
]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(FLAT, id="flat"),
        pytest.param(body_of([[1.5, 2, 3]]), id="nested"),
        pytest.param(FLAT.replace(b" ", b""), id="tight"),
        pytest.param(
            body_of([1, 2, 3], id="a", parameters={"timeout": 5, "k": [1]}, outputs=[{"name": "z"}]), id="more"
        ),
        pytest.param(body_of([1, 2, 3], parameters={"binary_data_output": True}), id="binary answer"),
    ],
)
def test_a_form_that_came_before_is_known(body):
    """From the third time on the numbers are all that is read."""
    forms = learnt(spec_of("FP32"), body)
    assert agree(forms, body)
    found = forms.read(body.replace(b"2", b"7e3"), None)
    assert found is None or agree(forms, body.replace(b"2", b"7e3"))


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT64"])
@given(
    data=st.lists(
        st.one_of(
            st.integers(-(2**70), 2**70),
            st.integers(-9, 9),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from([1e39, 7e4, True, None, "a", "]", [1], [], {}, {"a": 1}, -0.0, 1.0, 2**63, 2**63 - 1]),
        ),
        max_size=4,
    )
)
def test_numbers_mean_the_same_in_a_known_form(datatype, data):
    """Whatever else comes in their place is left to the general way, which knows what to say."""
    good = [1, 2, 3]
    forms = learnt(spec_of(datatype), body_of(good, datatype))
    assert agree(forms, body_of(good, datatype))
    body = body_of(data, datatype)
    try:
        parse_request(body, None, forms.spec)
    except BadRequest:
        assert forms.read(body, None) is None
    else:
        if all(type(value) is float or abs(value) < 2**50 for value in data):  # larger ones are rounded once or twice
            agree(forms, body)


@pytest.mark.parametrize("body", [pytest.param(FLAT, id="plain"), *TRICKY])
@given(st.data())
@settings(max_examples=60)
def test_bytes_that_differ_never_mean_what_they_do_not_say(body, data):
    """Any part of a known request may be replaced by anything."""
    forms = learnt(spec_of("FP32"), body)
    agree(forms, body)
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 12)))
    pieces = [
        b"",
        b"[",
        b"]",
        b",",
        b"1",
        b'"',
        b"{",
        b"}",
        b"data",
        b"[1,2,3]",
        b'"data":[4]',
        b"null",
        b"1e999",
        b"\xff",
    ]
    inserted = b"".join(data.draw(st.lists(st.sampled_from(pieces), max_size=3)))
    agree(forms, body[:start] + inserted + body[end:])


def binary_of(rows, **more):
    array = np.arange(3 * rows, dtype="<f4")
    tensor = {"name": "x", "shape": [rows, 3], "datatype": "FP32", "parameters": {"binary_data_size": array.nbytes}}
    header = orjson.dumps({"inputs": [tensor], **more})
    return header + array.tobytes(), len(header)


@given(raw=st.binary(max_size=30), rows=st.integers(1, 2))
def test_raw_tensors_mean_the_same_behind_a_known_header(raw, rows):
    """Bytes are numbers, if there are as many as the header says."""
    body, length = binary_of(rows)
    forms = learnt(spec_of("FP32"), body, length)
    assert agree(forms, body, length)
    if len(raw) == 12 * rows:
        assert agree(forms, body[:length] + raw, length)
    else:
        assert forms.read(body[:length] + raw, length) is None
    assert forms.read(body, length - 1) is None
    assert forms.read(body, len(body) + 1) is None
    assert forms.read(body, None) is None


def test_several_raw_tensors_are_told_apart():
    """In the order in which the header names them."""
    spec = spec_of("INT64", "a", "b")
    tensors = [
        {"name": name, "shape": [1, 3], "datatype": "INT64", "parameters": {"binary_data_size": 24}} for name in "ba"
    ]
    header = orjson.dumps({"inputs": tensors})
    body = header + np.arange(6, dtype="<i8").tobytes()
    forms = learnt(spec, body, len(header))
    assert agree(forms, body, len(header))
    assert forms.read(body, len(header))[1]["a"].tolist() == [[3, 4, 5]]


@pytest.mark.parametrize(
    ("spec", "body", "length"),
    [
        pytest.param(spec_of("INT32"), body_of([1, 2, 3], "INT32"), None, id="numbers that have bounds"),
        pytest.param(spec_of("BYTES"), body_of(["a", "b", "c"], "BYTES"), None, id="strings"),
        pytest.param(spec_of("FP32"), FLAT[:-1] + b" " * 2000 + b"}", None, id="a long form"),
        pytest.param(spec_of("FP32"), FLAT, len(FLAT), id="a length, and nothing behind it"),
    ],
)
def test_other_requests_are_read_the_general_way(spec, body, length):
    """However often they come."""
    forms = learnt(spec, body, length)
    assert forms.read(body, length) is None


def test_requests_with_ids_of_their_own_leave_nothing_behind():
    """A form is learnt the second time, and there are never many."""
    spec = spec_of("FP32")
    forms = Forms(spec)
    for number in range(3000):
        body = body_of([1, 2, 3], id=f"{number % 1500}")
        forms.learn(body, None, parse_request(body, None, spec))
    assert len(forms._known) <= 256
    assert len(forms._sighted) <= 1024


OUTPUTS = [np.array([[1.5, np.nan]], np.float32), np.array([[7]])]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="JSON"),
        pytest.param({"parameters": {"binary_data_output": True}}, id="raw"),
        pytest.param({"id": "\0", "parameters": {"a": "\0"}, "outputs": [{"name": "z"}, {"name": "y"}]}, id="more"),
    ],
)
def test_an_answer_is_written_as_the_first_one_was(more):
    """Byte for byte, for other numbers, and only for tensors of the same kind."""
    spec = spec_of("FP32")
    request = parse_request(body_of([1, 2, 3], **more), None, spec)
    known = written(request, OUTPUTS, spec, "m\0", "r")
    for outputs in (OUTPUTS, [OUTPUTS[0] * 2, OUTPUTS[1] + 1], [np.float32([[1, 2], [3, 4]])[1:], OUTPUTS[1]]):
        encoded = encode_answer(request, outputs, spec, "m\0", "r")
        assert known.body(outputs) == encoded.body
        length = b"content-length: %d\r\n" % encoded.header_length if encoded.header_length else b"json\r\n"
        assert known.headers.endswith(length)
    assert known.body([np.zeros((2, 2), np.float32), OUTPUTS[1]]) is None
    assert known.body([OUTPUTS[0].astype(np.float64), OUTPUTS[1]]) is None


def test_an_answer_in_both_forms_is_written_the_general_way():
    """So is one with strings."""
    spec = spec_of("FP32")
    outputs = [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}]
    request = parse_request(body_of([1, 2, 3], outputs=outputs), None, spec)
    assert written(request, OUTPUTS, spec, "m", "r") is None
    strings = [np.array([["a"]], object), OUTPUTS[1]]
    assert written(parse_request(FLAT, None, spec), strings, spec, "m", "r") is None
