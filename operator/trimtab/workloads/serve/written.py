"""Answers that differ in nothing but their numbers: every byte around those is written once."""

from __future__ import annotations

import orjson

from trimtab.workloads.serve.answers import BINARY, JSON
from trimtab.workloads.serve.artifact import ModelSpec
from trimtab.workloads.serve.datatypes import Array
from trimtab.workloads.serve.messages import InferenceRequest, answer_message

_HOLE = b"\0"  # JSON has no such byte


class Written:
    """How the answer to a request was written, for answers to its like with tensors of the same kind and shape."""

    __slots__ = ("_binary", "_pieces", "_tensors", "headers")

    def __init__(
        self, request: InferenceRequest, outputs: list[Array], spec: ModelSpec, model: str, revision: str
    ) -> None:
        self._tensors = [(index, outputs[index].dtype, outputs[index].shape) for index, _ in request.wanted]
        message, raw = answer_message(request, outputs, spec, model, revision, lambda _: orjson.Fragment(_HOLE))
        header = orjson.dumps(message)
        self._binary = bool(raw)
        self._pieces = header.split(_HOLE)
        self.headers = BINARY + b"inference-header-content-length: %d\r\n" % len(header) if raw else JSON

    def body(self, outputs: list[Array]) -> bytes | None:
        """Return the body of another answer; None where its tensors are of another kind."""
        parts = [self._pieces[0]]
        for number, (index, dtype, shape) in enumerate(self._tensors, 1):
            array = outputs[index]
            if array.shape != shape or array.dtype != dtype:
                return None
            if self._binary:
                parts.append(array.tobytes())
            else:
                parts.append(orjson.dumps(array.ravel(), option=orjson.OPT_SERIALIZE_NUMPY))
                parts.append(self._pieces[number])
        return b"".join(parts)


def written(
    request: InferenceRequest, outputs: list[Array], spec: ModelSpec, model: str, revision: str
) -> Written | None:
    """Return how an answer is written; None for strings, and for JSON and raw tensors in one answer."""
    if len({binary for _, binary in request.wanted}) > 1:
        return None
    if any(outputs[index].dtype.kind not in "biuf" or not outputs[index].dtype.isnative for index, _ in request.wanted):
        return None
    return Written(request, outputs, spec, model, revision)
