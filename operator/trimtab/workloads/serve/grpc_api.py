"""The Open Inference Protocol over gRPC: the same models, queues and errors as over HTTP, and the health service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from trimtab.version import __version__
from trimtab.workloads.serve.api import EXTENSIONS, Phase, Status, metadata, only_known_parameters
from trimtab.workloads.serve.datatypes import Array
from trimtab.workloads.serve.grpc_messages import SERVICE, message_classes, read_request, write_answer
from trimtab.workloads.serve.inference import Trace
from trimtab.workloads.serve.messages import BadRequest, InferenceRequest
from trimtab.workloads.serve.model import Asked, Model
from trimtab.workloads.serve.refusals import Refused
from trimtab.workloads.serve.repository import Repository

Context = grpc.aio.ServicerContext[Any, Any]
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_CALLS = 1024  # at once; memory is for tensors


class GrpcServer:
    """Listens until `stop`."""

    def __init__(
        self,
        repository: Repository,
        status: Status,
        clock: Callable[[], float],
        trace: Trace | None,
        max_message_bytes: int,
    ) -> None:
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=_CALLS,
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # two pods on one address are a mistake that must show
            ],
        )
        service = _Service(repository, status, clock, trace)
        self._server.add_generic_rpc_handlers((service.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def listen(self, host: str, port: int) -> int:
        """Start accepting and return the port.

        Raises:
            OSError: The address cannot be had.
        """
        try:
            found = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(str(error)) from None
        await self.tell(serving=False)
        await self._server.start()
        return int(found)

    async def tell(self, *, serving: bool) -> None:
        """Say by the health service whether calls are welcome."""
        words = health_pb2.HealthCheckResponse
        for name in ("", SERVICE):
            await self._health.set(name, words.SERVING if serving else words.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Accept no more calls, and wait for those that run."""
        await self._server.stop(grace_s)


class _Service:
    """The protocol's calls."""

    def __init__(self, repository: Repository, status: Status, clock: Callable[[], float], trace: Trace | None) -> None:
        self._repository = repository
        self._status = status
        self._clock = clock
        self._trace = trace
        self._messages = message_classes()

    def handlers(self) -> Any:
        calls = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    _refusing(call),
                    request_deserializer=self._messages[f"{name}Request"].FromString,
                    response_serializer=self._messages[f"{name}Response"].SerializeToString,
                )
                for name, call in calls.items()
            },
        )

    async def _server_live(self, _: Any, __: Context) -> Any:
        return self._messages["ServerLiveResponse"](live=True)

    async def _server_ready(self, _: Any, __: Context) -> Any:
        return self._messages["ServerReadyResponse"](ready=self._status.phase is Phase.READY)

    async def _model_ready(self, request: Any, _: Context) -> Any:
        model = self._repository.find(request.name, request.version)
        ready = self._status.phase is not Phase.DRAINING and model.takes_requests
        return self._messages["ModelReadyResponse"](ready=ready)

    async def _server_metadata(self, _: Any, __: Context) -> Any:
        return self._messages["ServerMetadataResponse"](name="trimtab", version=__version__, extensions=EXTENSIONS)

    async def _model_metadata(self, request: Any, _: Context) -> Any:
        model = self._repository.find(request.name, request.version)
        versions = [version for name, version in self._repository.models if name == model.name]
        found = metadata(model, versions)
        del found["parameters"]
        return self._messages["ModelMetadataResponse"](**found)

    async def _index(self, request: Any, _: Context) -> Any:
        return self._messages["RepositoryIndexResponse"](models=self._repository.index(ready_only=request.ready))

    async def _load(self, request: Any, _: Context) -> Any:
        only_known_parameters(dict(request.parameters))
        await self._repository.load(request.model_name)
        return self._messages["RepositoryModelLoadResponse"]()

    async def _unload(self, request: Any, _: Context) -> Any:
        only_known_parameters(dict(request.parameters))
        await self._repository.unload(request.model_name)
        return self._messages["RepositoryModelUnloadResponse"]()

    async def _model_infer(self, message: Any, context: Context) -> Any:
        arrived = self._clock()
        model = self._repository.find(message.model_name, message.model_version)
        model.metrics.in_flight += 1
        status = 499
        try:
            answer = await self._answered(model, message, context, arrived)
            status = 200
        except Refused as refused:
            status = refused.status
            raise
        finally:
            model.metrics.in_flight -= 1
            done = self._clock()
            model.metrics.answered(status, done - arrived)
            if self._trace is not None:
                parent = dict(context.invocation_metadata() or ()).get("traceparent")
                self._trace.answered(
                    model.name, model.revision, status, arrived, done, parent if isinstance(parent, str) else None
                )
        return answer

    async def _answered(self, model: Model, message: Any, context: Context, arrived: float) -> Any:
        spec = model.tensors()
        try:
            request = read_request(message, spec)
        except BadRequest as error:
            raise Refused(400, str(error)) from None
        outcome: asyncio.Future[list[Array] | Refused] = asyncio.get_running_loop().create_future()
        left = context.time_remaining()
        deadline = None if left is None else arrived + left
        model.ask(_Call(model, request, arrived, deadline, _client(context), outcome))
        found = await outcome
        if isinstance(found, Refused):
            raise found
        return write_answer(self._messages["ModelInferResponse"](), request, found, spec, model.name, model.revision)


class _Call(Asked):
    """A request whose caller awaits the outcome."""

    __slots__ = ("_outcome",)

    def __init__(
        self,
        model: Model,
        request: InferenceRequest,
        arrived: float,
        deadline: float | None,
        client: str,
        outcome: asyncio.Future[list[Array] | Refused],
    ) -> None:
        super().__init__(model, request, request.feeds, arrived, deadline, client)
        self._outcome = outcome

    @property
    def abandoned(self) -> bool:
        return self._outcome.cancelled()

    def reply(self, outcome: list[Array] | Refused) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)


def _refusing(call: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    """Return the call with refusals as gRPC's statuses."""

    async def answered(request: Any, context: Context) -> Any:
        try:
            return await call(request, context)
        except Refused as refused:
            code = _CODES.get(refused.status, grpc.StatusCode.INTERNAL)
            trailing: tuple[tuple[str, str], ...] = ()
            if refused.retry_after_s is not None:
                trailing = (("retry-after", str(refused.retry_after_s)),)
            return await context.abort(code, refused.message, trailing)

    return answered


def _client(context: Context) -> str:
    """Return the caller's address without its port: `ipv4:10.0.0.1:4711`."""
    return str(context.peer()).rpartition(":")[0]
