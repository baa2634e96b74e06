"""Requests that differ in nothing but their numbers: what is around those is read, checked and written once.

A form is the exact bytes around the numbers of a request that was read and found good, so that a request of the same
form needs no other check than of its numbers; with anything else it is read like the first one.
"""

from __future__ import annotations

from contextvars import copy_context
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import orjson

from trimtab.workloads.serve.artifact import ModelSpec
from trimtab.workloads.serve.datatypes import NUMPY_TYPES, Feeds
from trimtab.workloads.serve.jsontensors import numbers
from trimtab.workloads.serve.messages import InferenceRequest
from trimtab.workloads.serve.written import Written

_LARGEST_FORM = 1024  # bytes around the numbers
_MOST_FORMS = 256
_MOST_SIGHTED = 1024
_OPEN, _CLOSE = b"[", b"]"


class Form:
    """What all requests of a form share: `request` has no feeds."""

    __slots__ = ("answer", "request")

    def __init__(self, request: InferenceRequest) -> None:
        self.request = request
        self.answer: Written | None = None
        """How the last answer was written."""


class _Numbers(Form):
    """JSON with one array of numbers."""

    __slots__ = ("dtype", "name", "shape", "size")

    def __init__(self, request: InferenceRequest, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        super().__init__(request)
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.size = prod(shape)


class _Raw(Form):
    """JSON before raw tensors; of each its name, type, shape and first byte behind the JSON."""

    __slots__ = ("size", "tensors")

    def __init__(
        self, request: InferenceRequest, tensors: list[tuple[str, np.dtype[Any], tuple[int, ...], int]], size: int
    ) -> None:
        super().__init__(request)
        self.tensors = tensors
        self.size = size


class Forms:
    """The forms of the requests to one model. One is learnt when it comes again: a request with an id never does."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._known: dict[bytes, Form] = {}
        self._sighted: set[bytes] = set()
        self._raising = copy_context()  # to enter it costs a tenth of what numpy.errstate does
        self._raising.run(np.seterr, over="raise")

    def read(self, body: bytes, header_length: int | None) -> tuple[Form, Feeds] | None:
        """Return what a request asks, if its form is known; None leaves it to `parse_request`."""
        if header_length is not None:
            raw = self._known.get(body[:header_length])
            if type(raw) is not _Raw or len(body) != header_length + raw.size:
                return None
            return raw, {
                name: np.ndarray(shape, dtype, body, header_length + start) for name, dtype, shape, start in raw.tensors
            }
        start, end = _hole(body)
        form = self._known.get(body[:start] + body[end:])
        if type(form) is not _Numbers:
            return None
        found = numbers(body[start - 1 : end + 1], form.dtype.kind, form.shape, form.size)
        if found is None:
            return None
        if found.dtype is not form.dtype:
            try:  # JSON has no infinity, so one can only come from a number that is too large
                found = self._raising.run(found.astype, form.dtype)
            except FloatingPointError:
                return None
        return form, {form.name: found}

    def learn(self, body: bytes, header_length: int | None, request: InferenceRequest) -> None:
        """Learn the form of a request that was read, and is good."""
        start, end = (header_length, len(body)) if header_length is not None else _hole(body)
        key = body[:start] + body[end:]
        if len(key) > _LARGEST_FORM or not start or key in self._known:
            return
        if key not in self._sighted:
            if len(self._sighted) >= _MOST_SIGHTED:
                self._sighted.clear()
            self._sighted.add(key)
            return
        form = _numbers(key, start, request, self.spec) if header_length is None else _raw(key, request)
        if form is not None:
            if len(self._known) >= _MOST_FORMS:
                self._known.clear()
            self._known[key] = form


def _hole(body: bytes) -> tuple[int, int]:
    """Return where the numbers of the first `data` may begin and end; (0, 0) for nowhere."""
    at = body.find(b'"data"')
    start = body.find(_OPEN, at) + 1
    if at < 0 or not start:
        return 0, 0
    while body.startswith(_OPEN, start):
        start += 1
    end = body.find(_CLOSE, start)
    return (start, end) if end > 0 else (0, 0)


def _numbers(key: bytes, start: int, request: InferenceRequest, spec: ModelSpec) -> _Numbers | None:
    """Return the form if its hole is where the numbers of its only tensor are, and nowhere else.

    What stands in the hole is tried: both texts must be read as the same request, with these numbers. The hole is
    between brackets, so what fits between them as one number or two is an array, and takes any numbers.
    """
    if len(request.feeds) != 1 or len(spec.inputs) != 1:
        return None
    (tensor,) = spec.inputs
    dtype = NUMPY_TYPES[tensor.datatype]
    if dtype.kind != "f" and tensor.datatype != "INT64":
        return None
    for wanted in ([1], [1, 2]):
        text = key[:start] + b",".join(b"%d" % number for number in wanted) + key[start:]
        found = orjson.loads(text)["inputs"][0].get("data")
        while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
            (found,) = found
        if found != wanted:
            return None
    return _Numbers(replace(request, feeds={}), tensor.name, dtype, request.feeds[tensor.name].shape)


def _raw(header: bytes, request: InferenceRequest) -> _Raw | None:
    """Return the form if all tensors are raw numbers behind the header."""
    tensors = []
    size = 0
    for item in orjson.loads(header)["inputs"]:
        array = request.feeds[item["name"]]
        if "binary_data_size" not in (item.get("parameters") or {}) or array.dtype.kind == "O":
            return None
        tensors.append((item["name"], array.dtype, array.shape, size))
        size += array.nbytes
    return _Raw(replace(request, feeds={}), tensors, size)
