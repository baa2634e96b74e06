"""The life of a serving pod: listen, load, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.errors import NotYet
from trimtab.workloads.serve.api import InferenceApi, Phase, Status
from trimtab.workloads.serve.inference import HttpInference, Trace
from trimtab.workloads.serve.limits import Limits
from trimtab.workloads.serve.listener import Listener
from trimtab.workloads.serve.model import ModelSettings
from trimtab.workloads.serve.repository import Fetch, Repository
from trimtab.workloads.serve.tracing import tracing

if TYPE_CHECKING:
    from trimtab.workloads.serve.grpc_api import GrpcServer

log = structlog.get_logger("trimtab.serve")
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Settings:
    """What one pod serves, and how; durations in seconds."""

    models: tuple[ModelSettings, ...]
    host: str
    port: int
    drain_delay_s: float
    drain_timeout_s: float
    threads: int
    max_body_bytes: int
    max_json_bytes: int = 32 * 1024 * 1024
    grpc_port: int | None = None
    """Where gRPC listens too; None: nowhere."""
    memory_bytes: int | None = None
    """What the models may take together; None: all there is."""
    repository_control: bool = False
    """Whether clients may load and unload."""
    device: Device = Device.CPU
    """What the models run on."""


class Interrupted(Exception):  # noqa: N818 - what a second signal means
    """A second signal came: whoever sent it does not want to wait."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


async def serve(settings: Settings, fetch: Fetch, clock: Clock) -> None:
    """Serve until the first SIGTERM or SIGINT, drain, and return.

    The pod listens before it has a model, so that probes hear "not yet" instead of nothing. `fetch` blocks, and returns
    the folder of a verified artifact. `clock` gives seconds and never goes back (the loop's own one ticks in ms).

    Raises:
        Stalled: An artifact cannot be served.
        NotYet: An artifact could not be fetched, or the address not be had, now.
        Interrupted: A second signal came while draining.
    """
    loop = asyncio.get_running_loop()
    started = clock()
    trace = tracing(os.environ, clock)
    with contextlib.ExitStack() as owned, _signals(loop) as (stop, hurry):
        if trace is not None:
            owned.callback(trace.close)
        repository = Repository(
            settings.models,
            fetch,
            settings.threads,
            clock,
            memory_bytes=settings.memory_bytes,
            control=settings.repository_control,
            device=settings.device,
        )
        owned.callback(repository.close)
        inference = owned.enter_context(contextlib.closing(HttpInference(clock, trace, settings.max_json_bytes)))
        status = Status()
        api = owned.enter_context(contextlib.closing(InferenceApi(repository, inference, status)))
        limits = Limits(body_bytes=settings.max_body_bytes)
        async with (
            Listener(api.handle, limits, clock) as listener,
            _grpc(settings, repository, status, clock, trace) as grpc_server,
        ):
            await _listen(listener, grpc_server, settings)
            if not await _done_before(stop, repository.open()):
                log.info("server.stopped", reason="signalled while loading")
                return
            await _set(status, Phase.READY, grpc_server)
            log.info("server.ready", models=len(settings.models), seconds=round(clock() - started, 3))
            if await _done_before(stop, repository.settle()):
                await stop.wait()
            await _set(status, Phase.DRAINING, grpc_server)
            await _drain(repository, listener, grpc_server, settings, hurry)


@contextlib.asynccontextmanager
async def _grpc(
    settings: Settings, repository: Repository, status: Status, clock: Clock, trace: Trace | None
) -> AsyncIterator[GrpcServer | None]:
    if settings.grpc_port is None:
        yield None
        return
    # 20 MB and a fifth of a second, only where somebody asks for it
    from trimtab.workloads.serve.grpc_api import GrpcServer

    server = GrpcServer(repository, status, clock, trace, settings.max_body_bytes)
    try:
        yield server
    finally:
        await server.stop(0)


async def _set(status: Status, phase: Phase, grpc_server: GrpcServer | None) -> None:
    status.phase = phase
    if grpc_server is not None:
        await grpc_server.tell(serving=phase is Phase.READY)


async def _listen(listener: Listener, grpc_server: GrpcServer | None, settings: Settings) -> None:
    wanted = settings.port
    try:
        port = await listener.listen(settings.host, wanted)
        grpc_port = None
        if grpc_server is not None and settings.grpc_port is not None:
            wanted = settings.grpc_port
            grpc_port = await grpc_server.listen(settings.host, wanted)
    except OSError as error:
        address = f"{settings.host}:{wanted}"
        raise NotYet(Reason.INTERNAL_ERROR, f"cannot listen on {address}: {error.strerror or error}") from error
    models = [f"{model.name}/{model.revision}" for model in settings.models]
    log.info("server.started", host=settings.host, port=port, grpc_port=grpc_port, models=models)


async def _drain(
    repository: Repository,
    listener: Listener,
    grpc_server: GrpcServer | None,
    settings: Settings,
    hurry: asyncio.Future[int],
) -> None:
    log.info("drain.started", in_flight=repository.in_flight, delay_s=settings.drain_delay_s)
    done, _ = await asyncio.wait({hurry}, timeout=settings.drain_delay_s)
    if not done:
        finishing = asyncio.ensure_future(_finish(listener, grpc_server, settings.drain_timeout_s))
        done, _ = await asyncio.wait({hurry, finishing}, return_when=asyncio.FIRST_COMPLETED)
        if finishing in done:
            log.info("drain.finished", cut_off=finishing.result())
            return
        finishing.cancel()
    log.warning("drain.interrupted", in_flight=repository.in_flight)
    raise Interrupted(hurry.result())


async def _finish(listener: Listener, grpc_server: GrpcServer | None, timeout_s: float) -> int:
    if grpc_server is None:
        return await listener.drain(timeout_s)
    cut_off, _ = await asyncio.gather(listener.drain(timeout_s), grpc_server.stop(timeout_s))
    return cut_off


# --- signals and threads ---


@contextlib.contextmanager
def _signals(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[asyncio.Event, asyncio.Future[int]]]:
    """Yield an event that the first signal sets, and a future that the second one resolves with its number."""
    stop = asyncio.Event()
    hurry: asyncio.Future[int] = loop.create_future()

    def received(number: int) -> None:
        if not stop.is_set():
            stop.set()
        elif not hurry.done():
            hurry.set_result(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, received, number)
    try:
        yield stop, hurry
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _done_before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` ends, with its error if it has one, before `stop` is set; else it is cancelled."""
    stopping, working = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(work)
    either: set[asyncio.Future[Any]] = {stopping, working}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        stopping.cancel()
        working.cancel()
