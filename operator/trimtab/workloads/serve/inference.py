"""Inference over HTTP: from a body to a request that a model takes, and from its outputs back to a body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from trimtab.workloads.serve.answers import BINARY, JSON, error_answer
from trimtab.workloads.serve.artifact import ModelSpec
from trimtab.workloads.serve.cache import LARGEST_KEYED_BYTES, body_key
from trimtab.workloads.serve.datatypes import Array
from trimtab.workloads.serve.exchange import Exchange
from trimtab.workloads.serve.messages import BadRequest, Encoded, InferenceRequest, encode_answer, parse_request
from trimtab.workloads.serve.model import Asked, Model
from trimtab.workloads.serve.refusals import Refused

T = TypeVar("T")

_CONTENT_TYPES = frozenset({b"", b"application/json", b"application/octet-stream"})
# About a millisecond of work each; what takes longer is done beside the loop.
_LARGE_JSON_BYTES = 128 * 1024
_LARGE_ANSWER_ELEMENTS = 16 * 1024
_LARGE_WAITING = 64


class Trace(Protocol):
    """Hears of every inference request, for traces."""

    def answered(
        self, model: str, revision: str, status: int, arrived: float, done: float, parent: str | None
    ) -> None: ...


class HttpInference:
    """Answers inference requests of HTTP connections; ended by `close`."""

    def __init__(self, clock: Callable[[], float], trace: Trace | None, max_json_bytes: int) -> None:
        self._clock = clock
        self._trace = trace
        self._max_json_bytes = max_json_bytes
        self._loop = asyncio.get_running_loop()
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="large")
        self._aside_waiting = 0

    def close(self) -> None:
        self._aside.shutdown(wait=False, cancel_futures=True)

    def infer(self, model: Model, exchange: Exchange) -> None:
        """Answer, or see to it that the answer comes."""
        model.metrics.in_flight += 1
        try:
            spec = model.tensors()
            self._check_type(exchange)
            body, header_length = exchange.body, exchange.head.headers.get(b"inference-header-content-length")
            key = None
            if model.wire is not None and len(body) <= LARGEST_KEYED_BYTES:
                key = body_key(body, header_length)
                known = model.wire.get(key)
                if known is not None:
                    model.metrics.cache_hits += 1
                    self._done(model, exchange, 200, known[1], known[0])
                    return
            read = partial(self._read, model, exchange, spec, key)
            if len(body) < _LARGE_JSON_BYTES or _json_bytes(header_length, len(body)) < _LARGE_JSON_BYTES:
                read(parse_request(body, header_length, spec))
                return
            self._check_size(header_length, len(body))
            self._do_aside(partial(parse_request, body, header_length, spec), read, model, exchange)
        except BadRequest as error:
            self._refuse(model, exchange, Refused(400, str(error)))
        except Refused as refused:
            self._refuse(model, exchange, refused)

    def _check_type(self, exchange: Exchange) -> None:
        content_type = exchange.head.headers.get(b"content-type", b"")
        if content_type in _CONTENT_TYPES:
            return
        content_type = content_type.partition(b";")[0].strip().lower()
        if content_type not in _CONTENT_TYPES:
            got = content_type.decode("latin-1")
            raise Refused(415, f"Content-Type is {got!r}; expected application/json")

    def _check_size(self, header_length: bytes | None, body_bytes: int) -> None:
        if _json_bytes(header_length, body_bytes) > self._max_json_bytes:
            raise Refused(413, f"the JSON is larger than {self._max_json_bytes} bytes; send tensors in the binary form")

    def _read(
        self, model: Model, exchange: Exchange, spec: ModelSpec, key: bytes | None, request: InferenceRequest
    ) -> None:
        exchange.body = b""  # the tensors are enough while the request waits
        reply = partial(self._replied, model, exchange, spec, key, request)
        deadline = _deadline(exchange)
        model.ask(Asked(request, exchange.arrived, deadline, exchange.client, lambda: exchange.gone, reply))

    def _replied(
        self,
        model: Model,
        exchange: Exchange,
        spec: ModelSpec,
        key: bytes | None,
        request: InferenceRequest,
        outcome: list[Array] | Refused,
    ) -> None:
        if isinstance(outcome, Refused):
            self._refuse(model, exchange, outcome)
            return
        encode = partial(encode_answer, request, outcome, spec, model.name, model.revision)
        write = partial(self._write, model, exchange, key)
        if sum(outcome[index].size for index, binary in request.wanted if not binary) < _LARGE_ANSWER_ELEMENTS:
            write(encode())
            return
        try:
            self._do_aside(encode, write, model, exchange)
        except Refused as refused:
            self._refuse(model, exchange, refused)

    def _write(self, model: Model, exchange: Exchange, key: bytes | None, encoded: Encoded) -> None:
        headers = JSON
        if encoded.header_length is not None:
            headers = BINARY + b"inference-header-content-length: %d\r\n" % encoded.header_length
        if key is not None and model.wire is not None:
            model.wire.put(key, (headers, encoded.body), len(encoded.body))
        self._done(model, exchange, 200, encoded.body, headers)

    def _refuse(self, model: Model, exchange: Exchange, refused: Refused) -> None:
        body, headers = error_answer(refused.message)
        if refused.retry_after_s is not None:
            headers += b"retry-after: %d\r\n" % refused.retry_after_s
        self._done(model, exchange, refused.status, body, headers)

    def _done(self, model: Model, exchange: Exchange, status: int, body: bytes, headers: bytes) -> None:
        model.metrics.in_flight -= 1
        if exchange.gone:
            return  # nobody hears it; it is counted as abandoned, if it never ran
        now = self._clock()
        model.metrics.answered(status, now - exchange.arrived)
        if self._trace is not None:
            parent = exchange.head.headers.get(b"traceparent")
            self._trace.answered(
                model.name, model.revision, status, exchange.arrived, now, parent.decode("latin-1") if parent else None
            )
        exchange.answer(status, body, headers)

    def _do_aside(self, work: Callable[[], T], then: Callable[[T], None], model: Model, exchange: Exchange) -> None:
        """Do large work in a thread, and go on with its result on the loop.

        Raises:
            Refused: Too much of it waits already.
        """
        if self._aside_waiting >= _LARGE_WAITING:
            raise Refused(503, "too many large requests wait here; try again", 1)
        self._aside_waiting += 1

        def resume(future: Future[T]) -> None:
            self._aside_waiting -= 1
            try:
                then(future.result())
            except BadRequest as error:
                self._refuse(model, exchange, Refused(400, str(error)))
            except Refused as refused:
                self._refuse(model, exchange, refused)

        def finished(future: Future[T]) -> None:
            if not future.cancelled():
                self._loop.call_soon_threadsafe(resume, future)

        self._aside.submit(work).add_done_callback(finished)


def _json_bytes(header_length: bytes | None, body_bytes: int) -> int:
    """Return how much of a body is JSON; what is no number is refused by the parser."""
    return int(header_length) if header_length and header_length.isdigit() and len(header_length) < 18 else body_bytes


def _deadline(exchange: Exchange) -> float | None:
    """Return when the client stops waiting, by the header Request-Timeout in seconds."""
    given = exchange.head.headers.get(b"request-timeout")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadRequest(f"Request-Timeout is {given.decode('latin-1')!r}; expected a positive number of seconds")
    return exchange.arrived + seconds
