"""The Open Inference Protocol over HTTP: which target means what, and what the answer is."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from urllib.parse import unquote_to_bytes

import orjson

from trimtab.api.serving import Engine
from trimtab.version import __version__
from trimtab.workloads.serve.answers import BINARY, JSON, METRICS, RETRY_SOON, error_answer
from trimtab.workloads.serve.artifact import ModelSpec, TensorSpec
from trimtab.workloads.serve.batching import Batcher, Outcome, QueueFull
from trimtab.workloads.serve.connection import Exchange
from trimtab.workloads.serve.messages import BadRequest, InferenceRequest, encode_answer, parse_request
from trimtab.workloads.serve.metrics import Metrics

_CONTENT_TYPES = frozenset({b"", b"application/json", b"application/octet-stream"})
_PLATFORMS = {Engine.ONNX_RUNTIME: "onnxruntime_onnx", Engine.OPEN_VINO: "openvino_ir"}
Route = Callable[[Exchange], None]


class Phase(Enum):
    """Where the pod is in its life; the value is what `…/ready` says while it is not ready."""

    LOADING = "the model is still loading"
    READY = ""
    DRAINING = "the pod is going away; it answers what still comes"


class InferenceApi:
    """Answers every request of every connection. Inference is answered later, by the batcher; the rest at once."""

    def __init__(self, model: str, revision: str, now: Callable[[], float]) -> None:
        self.phase = Phase.LOADING
        self.metrics = Metrics(model, revision)
        self._model = model
        self._revision = revision
        self._now = now
        self._spec: ModelSpec | None = None
        self._batcher: Batcher | None = None
        self._reads, self._writes = self._routes()

    def start(self, spec: ModelSpec, batcher: Batcher, max_concurrency: int) -> None:
        """Take inference requests from now on, and publish how many are welcome at once."""
        self.metrics.max_concurrency = max_concurrency
        self._spec = spec
        self._batcher = batcher

    def handle(self, exchange: Exchange) -> None:
        """Answer, or see to it that the answer comes."""
        path = exchange.target.partition(b"?")[0]
        route = self._writes.get(path)
        if route is None and path not in self._reads and b"%" in path:
            path = unquote_to_bytes(path)
            route = self._writes.get(path)
        if route is not None:
            allowed, allow = exchange.method == b"POST", b"allow: POST\r\n"
        else:
            route = self._reads.get(path)
            allowed, allow = exchange.method in {b"GET", b"HEAD"}, b"allow: GET, HEAD\r\n"
        if route is None:
            _fail(exchange, 404, self._not_found(path))
        elif not allowed:
            method = exchange.method.decode("latin-1")
            _fail(exchange, 405, f"{method} is not allowed here; use {allow[7:-2].decode()}", allow)
        else:
            route(exchange)

    def _routes(self) -> tuple[dict[bytes, Route], dict[bytes, Route]]:
        model = f"/v2/models/{self._model}".encode()
        version = model + f"/versions/{self._revision}".encode()
        reads: dict[bytes, Route] = {
            b"/v2": self._server,
            b"/v2/": self._server,
            b"/v2/health/live": self._live,
            b"/v2/health/ready": self._ready,
            b"/metrics": self._metrics,
        }
        for base in (model, version):
            reads[base] = self._metadata
            reads[base + b"/ready"] = self._ready
        return reads, {base + b"/infer": self._infer for base in (model, version)}

    # --- reads ---

    def _server(self, exchange: Exchange) -> None:
        body = {"name": "trimtab", "version": __version__, "extensions": ["binary_tensor_data"]}
        exchange.answer(200, orjson.dumps(body), JSON)

    def _live(self, exchange: Exchange) -> None:
        exchange.answer(200, b'{"live":true}', JSON)

    def _ready(self, exchange: Exchange) -> None:
        if self.phase is Phase.READY:
            exchange.answer(200, b'{"ready":true}', JSON)
        else:
            _fail(exchange, 503, self.phase.value, RETRY_SOON)

    def _metrics(self, exchange: Exchange) -> None:
        waiting = self._batcher.waiting if self._batcher else 0
        exchange.answer(200, self.metrics.render(waiting), METRICS)

    def _metadata(self, exchange: Exchange) -> None:
        if self._spec is None:
            _fail(exchange, 503, Phase.LOADING.value, RETRY_SOON)
            return
        body = {
            "name": self._model,
            "versions": [self._revision],
            "platform": _PLATFORMS[self._spec.engine],
            "inputs": [_described(tensor) for tensor in self._spec.inputs],
            "outputs": [_described(tensor) for tensor in self._spec.outputs],
            "parameters": {"max_concurrency": self.metrics.max_concurrency, "revision": self._revision},
        }
        exchange.answer(200, orjson.dumps(body), JSON)

    # --- inference ---

    def _infer(self, exchange: Exchange) -> None:
        spec, batcher = self._spec, self._batcher
        self.metrics.in_flight += 1
        if spec is None or batcher is None:
            self._refuse(exchange, 503, Phase.LOADING.value, RETRY_SOON)
            return
        content_type = exchange.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if content_type not in _CONTENT_TYPES:
            got = content_type.decode("latin-1")
            self._refuse(exchange, 415, f"Content-Type is {got!r}; expected application/json")
            return
        header_length = exchange.headers.get(b"inference-header-content-length")
        try:
            request = parse_request(exchange.body, header_length, spec)
            exchange.body = b""  # the tensors are enough while the request waits
            batcher.submit(InferenceJob(self, exchange, request, spec))
        except BadRequest as error:
            self._refuse(exchange, 400, str(error))
        except QueueFull:
            # 503, not 429: this pod is full, not the client greedy, and a gateway may try another pod after a 503
            self._refuse(exchange, 503, "too many requests wait here; try again", RETRY_SOON)

    def finish(self, exchange: Exchange, request: InferenceRequest, spec: ModelSpec, outcome: Outcome) -> None:
        """Answer an inference request with what the engine said."""
        if isinstance(outcome, Exception):
            # ONNX Runtime blames the data by this class (an index out of range); the rest is the model's or ours.
            status = 400 if type(outcome).__name__ == "InvalidArgument" else 500
            self._refuse(exchange, status, f"the model failed: {str(outcome).partition(chr(10))[0]}")
            return
        encoded = encode_answer(request, outcome, spec, self._model, self._revision)
        headers = JSON
        if encoded.header_length is not None:
            headers = BINARY + b"inference-header-content-length: %d\r\n" % encoded.header_length
        self._count(exchange, 200)
        exchange.answer(200, encoded.body, headers)

    def abandoned(self) -> None:
        """Forget a request whose client left before its run."""
        self.metrics.in_flight -= 1

    def _refuse(self, exchange: Exchange, status: int, message: str, headers: bytes = b"") -> None:
        self._count(exchange, status)
        _fail(exchange, status, message, headers)

    def _count(self, exchange: Exchange, status: int) -> None:
        self.metrics.in_flight -= 1
        self.metrics.answered(status, self._now() - exchange.arrived)

    def _not_found(self, path: bytes) -> str:
        text = path.decode("latin-1")
        if text.startswith("/v2/models/") and not text.startswith(f"/v2/models/{self._model}/"):
            return f"model '{text.split('/')[3]}' is not served here; this pod serves '{self._model}'"
        if text.startswith(f"/v2/models/{self._model}/versions/"):
            return f"version '{text.split('/')[5]}' is not served here; this pod serves '{self._revision}'"
        return f"nothing at {text}; start at /v2"


class InferenceJob:
    """A parsed request on its way through the batcher and back to its exchange."""

    __slots__ = ("_api", "_exchange", "_request", "_spec", "arrived", "feeds", "group", "rows")

    def __init__(self, api: InferenceApi, exchange: Exchange, request: InferenceRequest, spec: ModelSpec) -> None:
        self._api = api
        self._exchange = exchange
        self._request = request
        self._spec = spec
        self.feeds = request.feeds
        self.rows = request.rows
        self.group = request.group
        self.arrived = exchange.arrived

    @property
    def abandoned(self) -> bool:
        return self._exchange.gone

    def drop(self) -> None:
        self._api.abandoned()

    def finish(self, outcome: Outcome) -> None:
        self._api.finish(self._exchange, self._request, self._spec, outcome)


def _described(tensor: TensorSpec) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _fail(exchange: Exchange, status: int, message: str, headers: bytes = b"") -> None:
    body, content_type = error_answer(message)
    exchange.answer(status, body, content_type + headers)
