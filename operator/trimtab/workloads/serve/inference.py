"""Inference over HTTP: from a body to a request that a model takes, and from its outputs back to a body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from trimtab.workloads.serve.answers import BINARY, JSON, error_answer
from trimtab.workloads.serve.artifact import ModelSpec
from trimtab.workloads.serve.cache import LARGEST_KEYED_BYTES, body_key
from trimtab.workloads.serve.datatypes import Array, Feeds, Outcome
from trimtab.workloads.serve.exchange import Exchange, Head
from trimtab.workloads.serve.forms import Form, Forms
from trimtab.workloads.serve.messages import BadRequest, Encoded, InferenceRequest, encode_answer, parse_request
from trimtab.workloads.serve.model import Asked, Model
from trimtab.workloads.serve.refusals import Refused
from trimtab.workloads.serve.written import written

T = TypeVar("T")

# The last one is what curl says of any -d.
_CONTENT_TYPES = frozenset(
    {b"", b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded"}
)
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
        self._forms: dict[Model, Forms] = {}

    def close(self) -> None:
        self._aside.shutdown(wait=False, cancel_futures=True)

    def infer(self, model: Model, exchange: Exchange) -> None:
        """Answer, or see to it that the answer comes."""
        model.metrics.in_flight += 1
        try:
            spec = model.tensors()
            head = exchange.head
            manner: _Manner | None = head.note
            if manner is None:
                manner = head.note = _manner(head)
            body, header_length = exchange.body, manner.header_length
            key = None
            if model.wire is not None and len(body) <= LARGEST_KEYED_BYTES:
                key = body_key(body, header_length)
                known = model.wire.get(key)
                if known is not None:
                    model.metrics.cache_hits += 1
                    self._done(model, exchange, 200, known[1], known[0])
                    return
            json_bytes = len(body) if manner.header_bytes is None else manner.header_bytes
            if len(body) >= _LARGE_JSON_BYTES and json_bytes >= _LARGE_JSON_BYTES:
                self._check_size(json_bytes)
                read = partial(self._read, model, exchange, spec, key)
                self._do_aside(partial(parse_request, body, header_length, spec), read, model, exchange)
                return
            forms = self._forms.get(model)
            if forms is None or forms.spec is not spec:
                forms = self._forms[model] = Forms(spec)
            whole = body if manner.is_clear and type(body) is bytes else None
            found = None if whole is None else forms.read(whole, manner.header_bytes)
            if found is None:
                request = parse_request(body, header_length, spec)
                if whole is not None:
                    forms.learn(whole, manner.header_bytes, request)
                self._read(model, exchange, spec, key, request)
                return
            form, feeds = found
            exchange.body = b""  # the tensors are enough while the request waits
            model.ask(_Question(self, model, exchange, spec, key, form.request, feeds, form))
        except BadRequest as error:
            self.refuse(model, exchange, Refused(400, str(error)))
        except Refused as refused:
            self.refuse(model, exchange, refused)

    def _check_size(self, json_bytes: int) -> None:
        if json_bytes > self._max_json_bytes:
            raise Refused(413, f"the JSON is larger than {self._max_json_bytes} bytes; send tensors in the binary form")

    def _read(
        self, model: Model, exchange: Exchange, spec: ModelSpec, key: bytes | None, request: InferenceRequest
    ) -> None:
        exchange.body = b""
        model.ask(_Question(self, model, exchange, spec, key, request, request.feeds, None))

    def replied(self, question: _Question, outputs: list[Array]) -> None:
        """Write the answer, beside the loop where it is large."""
        model, exchange, request, form = question.model, question.exchange, question.request, question.form
        if form is not None and form.answer is not None:
            body = form.answer.body(outputs)
            if body is not None:
                self._write(model, exchange, question.key, body, form.answer.headers)
                return
        encode = partial(encode_answer, request, outputs, question.spec, model.name, model.revision)
        write = partial(self._write_encoded, model, exchange, question.key)
        if sum(outputs[index].size for index, binary in request.wanted if not binary) < _LARGE_ANSWER_ELEMENTS:
            write(encode())
            if form is not None:
                form.answer = written(request, outputs, question.spec, model.name, model.revision)
            return
        try:
            self._do_aside(encode, write, model, exchange)
        except Refused as refused:
            self.refuse(model, exchange, refused)

    def _write_encoded(self, model: Model, exchange: Exchange, key: bytes | None, encoded: Encoded) -> None:
        headers = JSON
        if encoded.header_length is not None:
            headers = BINARY + b"inference-header-content-length: %d\r\n" % encoded.header_length
        self._write(model, exchange, key, encoded.body, headers)

    def _write(self, model: Model, exchange: Exchange, key: bytes | None, body: bytes, headers: bytes) -> None:
        if key is not None and model.wire is not None:
            model.wire.put(key, (headers, body), len(body))
        self._done(model, exchange, 200, body, headers)

    def refuse(self, model: Model, exchange: Exchange, refused: Refused) -> None:
        """Answer with an error."""
        body, headers = error_answer(refused.message)
        if refused.retry_after_s is not None:
            headers += b"retry-after: %d\r\n" % refused.retry_after_s
        self._done(model, exchange, refused.status, body, headers)

    def _done(self, model: Model, exchange: Exchange, status: int, body: bytes, headers: bytes) -> None:
        model.metrics.in_flight -= 1
        if exchange.connection.lost:
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
                self.refuse(model, exchange, Refused(400, str(error)))
            except Refused as refused:
                self.refuse(model, exchange, refused)

        def finished(future: Future[T]) -> None:
            if not future.cancelled():
                self._loop.call_soon_threadsafe(resume, future)

        self._aside.submit(work).add_done_callback(finished)


class _Question(Asked):
    """A request that came over HTTP; `form` where there were others like it."""

    __slots__ = ("_http", "exchange", "form", "key", "request", "spec")

    def __init__(
        self,
        http: HttpInference,
        model: Model,
        exchange: Exchange,
        spec: ModelSpec,
        key: bytes | None,
        request: InferenceRequest,
        feeds: Feeds,
        form: Form | None,
    ) -> None:
        manner: _Manner = exchange.head.note
        deadline = None if manner.timeout_s is None else exchange.arrived + manner.timeout_s
        super().__init__(model, request, feeds, exchange.arrived, deadline, exchange.client)
        self._http = http
        self.exchange = exchange
        self.spec = spec
        self.key = key
        self.request = request
        self.form = form

    @property
    def abandoned(self) -> bool:
        return self.exchange.connection.lost

    def finish(self, outcome: Outcome) -> None:
        if type(outcome) is list:
            self._http.replied(self, outcome)
        else:
            super().finish(outcome)

    def reply(self, outcome: list[Array] | Refused) -> None:
        if isinstance(outcome, Refused):
            self._http.refuse(self.model, self.exchange, outcome)
        else:
            self._http.replied(self, outcome)


class _Manner(NamedTuple):
    """What the headers of an inference request say."""

    header_length: bytes | None
    header_bytes: int | None
    """The same as a number, where it is one."""
    is_clear: bool
    """Whether it is known where the JSON ends."""
    timeout_s: float | None


def _manner(head: Head) -> _Manner:
    """Read the headers of an inference request.

    Raises:
        Refused: The body is of a type that nobody reads.
        BadRequest: A header has a value that it cannot have.
    """
    content_type = head.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type not in _CONTENT_TYPES:
        raise Refused(415, f"Content-Type is {content_type.decode('latin-1')!r}; expected application/json")
    given = head.headers.get(b"inference-header-content-length")
    number = int(given) if given is not None and given.isdigit() and len(given) < 18 else None
    return _Manner(given, number, given is None or number is not None, _timeout_s(head))


def _timeout_s(head: Head) -> float | None:
    """Return how long the client waits, by the header Request-Timeout in seconds."""
    given = head.headers.get(b"request-timeout")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadRequest(f"Request-Timeout is {given.decode('latin-1')!r}; expected a positive number of seconds")
    return seconds
