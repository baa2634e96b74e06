"""The Open Inference Protocol over HTTP: which target means what, and what the answer is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from trimtab.api.serving import Engine
from trimtab.version import __version__
from trimtab.workloads.serve.answers import HTML, JSON, METRICS, RETRY_SOON, error_answer
from trimtab.workloads.serve.artifact import TensorSpec
from trimtab.workloads.serve.exchange import Exchange, Head
from trimtab.workloads.serve.inference import HttpInference
from trimtab.workloads.serve.metrics import render
from trimtab.workloads.serve.model import LOADING, Model
from trimtab.workloads.serve.openapi import document, page
from trimtab.workloads.serve.refusals import Refused
from trimtab.workloads.serve.repository import Repository

PLATFORMS = {
    Engine.ONNX_RUNTIME: "onnxruntime_onnx",
    Engine.OPEN_VINO: "openvino_ir",
    Engine.TORCH: "pytorch_aotinductor",
}
EXTENSIONS = ["binary_tensor_data", "model_repository", "parameters"]
_REPOSITORY = b"/v2/repository/"
Route = Callable[[Exchange], None]


class Phase(Enum):
    """Where the pod is in its life; the value is what `…/ready` says while it is not ready."""

    LOADING = LOADING
    READY = ""
    DRAINING = "the pod is going away; it answers what still comes"


class Status:
    """The phase of this pod, for all protocols."""

    def __init__(self) -> None:
        self.phase = Phase.LOADING


class InferenceApi:
    """Answers every request of every connection. Inference is answered later, by the models; the rest at once."""

    def __init__(self, repository: Repository, inference: HttpInference, status: Status) -> None:
        self._status = status
        self._repository = repository
        self._inference = inference
        self._tasks: set[asyncio.Task[None]] = set()
        self._reads, self._writes = self._routes()

    def close(self) -> None:
        """End what is still being loaded or unloaded for somebody."""
        for task in self._tasks:
            task.cancel()

    def handle(self, exchange: Exchange) -> None:
        """Answer, or see to it that the answer comes."""
        head = exchange.head
        if head.route is None:
            head.route = self._route(head)
        head.route(exchange)

    def _route(self, head: Head) -> Route:
        path = head.target.partition(b"?")[0]
        route = self._writes.get(path)
        if route is None and path not in self._reads and b"%" in path:
            path = unquote_to_bytes(path)
            route = self._writes.get(path)
        if route is not None:
            allowed, allow = head.method == b"POST", b"allow: POST\r\n"
        else:
            route = self._reads.get(path)
            allowed, allow = head.method in {b"GET", b"HEAD"}, b"allow: GET, HEAD\r\n"
        if route is None:
            return partial(_fail, status=404, message=self._not_found(path))
        if not allowed:
            method = head.method.decode("latin-1")
            message = f"{method} is not allowed here; use {allow[7:-2].decode()}"
            return partial(_fail, status=405, message=message, headers=allow)
        return route

    def _routes(self) -> tuple[dict[bytes, Route], dict[bytes, Route]]:
        reads: dict[bytes, Route] = {
            b"/": self._page,
            b"/openapi.json": self._openapi,
            b"/v2": self._server,
            b"/v2/": self._server,
            b"/v2/health/live": self._live,
            b"/v2/health/ready": self._ready,
            b"/metrics": self._metrics,
        }
        writes: dict[bytes, Route] = {_REPOSITORY + b"index": self._index}
        for name, version in self._repository.models:
            for path, model in (
                (f"/v2/models/{name}", self._repository.find(name)),
                (f"/v2/models/{name}/versions/{version}", self._repository.find(name, version)),
            ):
                base = path.encode()
                reads[base] = partial(self._metadata, model)
                reads[base + b"/ready"] = partial(self._model_ready, model)
                writes[base + b"/infer"] = partial(self._inference.infer, model)
            control = _REPOSITORY + f"models/{name}/".encode()
            writes[control + b"load"] = partial(self._control, name, self._repository.load)
            writes[control + b"unload"] = partial(self._control, name, self._repository.unload)
        return reads, writes

    # --- reads ---

    def _page(self, exchange: Exchange) -> None:
        exchange.answer(200, page(list(self._repository.models.values())), HTML)

    def _openapi(self, exchange: Exchange) -> None:
        exchange.answer(200, orjson.dumps(document(list(self._repository.models.values()))), JSON)

    def _server(self, exchange: Exchange) -> None:
        body = {"name": "trimtab", "version": __version__, "extensions": EXTENSIONS}
        exchange.answer(200, orjson.dumps(body), JSON)

    def _live(self, exchange: Exchange) -> None:
        exchange.answer(200, b'{"live":true}', JSON)

    def _ready(self, exchange: Exchange) -> None:
        if self._status.phase is Phase.READY:
            exchange.answer(200, b'{"ready":true}', JSON)
        else:
            _fail(exchange, 503, self._status.phase.value, RETRY_SOON)

    def _model_ready(self, model: Model, exchange: Exchange) -> None:
        if self._status.phase is not Phase.DRAINING and model.takes_requests:
            exchange.answer(200, b'{"ready":true}', JSON)
        else:
            _fail(exchange, 503, self._status.phase.value or model.reason, RETRY_SOON)

    def _metrics(self, exchange: Exchange) -> None:
        exchange.answer(200, render([model.numbers() for model in self._repository.models.values()]), METRICS)

    def _metadata(self, model: Model, exchange: Exchange) -> None:
        if model.spec is None:
            _fail(exchange, 503, LOADING, RETRY_SOON)
        else:
            versions = [version for name, version in self._repository.models if name == model.name]
            exchange.answer(200, orjson.dumps(metadata(model, versions)), JSON)

    # --- the repository ---

    def _index(self, exchange: Exchange) -> None:
        try:
            ready_only = _object(exchange).get("ready", False)
        except Refused as refused:
            _fail(exchange, refused.status, refused.message)
            return
        exchange.answer(200, orjson.dumps(self._repository.index(ready_only=ready_only is True)), JSON)

    def _control(self, name: str, act: Callable[[str], Awaitable[None]], exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(_controlled(name, act, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _not_found(self, path: bytes) -> str:
        text = path.decode("latin-1")
        parts = text.split("/")
        name_at = 4 if text.startswith("/v2/repository/models/") else 3 if text.startswith("/v2/models/") else None
        if name_at is not None and len(parts) > name_at:
            version = parts[5] if len(parts) > 5 and parts[4] == "versions" else ""
            try:
                self._repository.find(parts[name_at], version)
            except Refused as refused:
                return refused.message
        return f"nothing at {text}; start at /v2"


def metadata(model: Model, versions: list[str]) -> dict[str, Any]:
    """Return what the protocol tells of a model whose tensors are known."""
    spec = model.spec
    if spec is None:
        raise Refused(503, LOADING, 1)
    return {
        "name": model.name,
        "versions": versions,
        "platform": PLATFORMS[spec.engine],
        "inputs": [_described(tensor) for tensor in spec.inputs],
        "outputs": [_described(tensor) for tensor in spec.outputs],
        "parameters": {"max_concurrency": model.metrics.max_concurrency, "revision": model.revision},
    }


def only_known_parameters(parameters: Any) -> None:
    """Check what comes with a request to load or unload.

    Raises:
        Refused: It would change what is loaded.
    """
    if not isinstance(parameters, Mapping) or set(parameters) - {"unload_dependents"}:
        raise Refused(400, "parameters cannot say what to load; the pod's own list of models does")


async def _controlled(name: str, act: Callable[[str], Awaitable[None]], exchange: Exchange) -> None:
    try:
        only_known_parameters(_object(exchange).get("parameters") or {})
        await act(name)
    except Refused as refused:
        _fail(exchange, refused.status, refused.message)
    else:
        exchange.answer(200, b"{}", JSON)


def _object(exchange: Exchange) -> dict[str, Any]:
    if not exchange.body:
        return {}
    try:
        found = orjson.loads(exchange.body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refused(400, "the body must be a JSON object")
    return found


def _described(tensor: TensorSpec) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _fail(exchange: Exchange, status: int, message: str, headers: bytes = b"") -> None:
    body, content_type = error_answer(message)
    exchange.answer(status, body, content_type + headers)
