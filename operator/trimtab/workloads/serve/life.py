"""The life of a serving pod: listen, load, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from trimtab.api.conditions import Reason
from trimtab.api.serving import Engine
from trimtab.errors import NotYet
from trimtab.workloads.serve.api import InferenceApi, Phase
from trimtab.workloads.serve.batching import Batcher, BatchRules, max_concurrency
from trimtab.workloads.serve.connection import Limits
from trimtab.workloads.serve.listener import Listener
from trimtab.workloads.serve.loading import Loaded, load

log = structlog.get_logger("trimtab.serve")
Clock = Callable[[], float]
T = TypeVar("T")

_QUEUE_BATCHES = 8  # beyond max_concurrency clients did not come through the gateway; memory is for tensors, not queues
_QUEUE_LEAST = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """What one pod serves, and how; durations in seconds."""

    model: str
    revision: str
    host: str
    port: int
    max_batch: int
    max_wait_s: float
    drain_delay_s: float
    drain_timeout_s: float
    threads: int
    max_body_bytes: int
    engine: Engine = Engine.AUTO
    """What the artifact must be for; Auto takes any."""


class Interrupted(Exception):  # noqa: N818 - what a second signal means
    """A second signal came: whoever sent it does not want to wait."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


async def serve(settings: Settings, fetch: Callable[[], Path], clock: Clock) -> None:
    """Serve until the first SIGTERM or SIGINT, drain, and return.

    The pod listens before it has a model, so that probes hear "not yet" instead of nothing. `fetch` blocks, and returns
    the folder of a verified artifact. `clock` gives seconds and never goes back (the loop's own one ticks in ms).

    Raises:
        Stalled: The artifact cannot be served.
        NotYet: The artifact could not be fetched, or the address not be had, now.
        Interrupted: A second signal came while draining.
    """
    loop = asyncio.get_running_loop()
    api = InferenceApi(settings.model, settings.revision, clock)
    started = clock()
    with _signals(loop) as (stop, hurry):
        async with Listener(api.handle, Limits(body_bytes=settings.max_body_bytes), clock) as listener:
            port = await _listen(listener, settings)
            log.info("server.started", host=settings.host, port=port, model=settings.model, revision=settings.revision)
            loading = _in_thread(loop, partial(load, fetch, settings.threads, settings.max_batch, settings.engine))
            loaded = await _unless(stop, loading)
            if loaded is None:
                log.info("server.stopped", reason="signalled while loading")
                return
            with contextlib.closing(_batcher(loaded, settings, api, clock)) as batcher:
                together = settings.max_batch if loaded.spec.stackable else 1
                api.start(loaded.spec, batcher, max_concurrency(together))
                api.phase = Phase.READY
                log.info("model.loaded", seconds=round(clock() - started, 3), threads=settings.threads)
                await stop.wait()
                await _drain(api, listener, settings, hurry)


async def _listen(listener: Listener, settings: Settings) -> int:
    try:
        return await listener.listen(settings.host, settings.port)
    except OSError as error:
        address = f"{settings.host}:{settings.port}"
        raise NotYet(Reason.INTERNAL_ERROR, f"cannot listen on {address}: {error.strerror or error}") from error


async def _drain(api: InferenceApi, listener: Listener, settings: Settings, hurry: asyncio.Future[int]) -> None:
    api.phase = Phase.DRAINING
    log.info("drain.started", in_flight=api.metrics.in_flight, delay_s=settings.drain_delay_s)
    done, _ = await asyncio.wait({hurry}, timeout=settings.drain_delay_s)
    if not done:
        finishing = asyncio.ensure_future(listener.drain(settings.drain_timeout_s))
        done, _ = await asyncio.wait({hurry, finishing}, return_when=asyncio.FIRST_COMPLETED)
        if finishing in done:
            log.info("drain.finished", cut_off=finishing.result())
            return
        finishing.cancel()
    log.warning("drain.interrupted", in_flight=api.metrics.in_flight)
    raise Interrupted(hurry.result())


def _batcher(loaded: Loaded, settings: Settings, api: InferenceApi, clock: Clock) -> Batcher:
    rules = BatchRules(
        max_batch=settings.max_batch,
        max_wait_s=settings.max_wait_s,
        capacity=max(_QUEUE_LEAST, _QUEUE_BATCHES * settings.max_batch),
        stackable=loaded.spec.stackable,
    )
    return Batcher(loaded.run, rules, api.metrics, clock)


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


def _in_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> asyncio.Future[T]:
    """Run `work` in a thread that the process does not wait for: a download cannot be cancelled, only left behind."""
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

    def body() -> None:
        try:
            result, error = work(), None
        except BaseException as raised:  # noqa: BLE001 - carried to whoever awaits the future
            result, error = None, raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: the pod was told to go meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=body, name="loading", daemon=True).start()
    return future


async def _unless(stop: asyncio.Event, work: asyncio.Future[T]) -> T | None:
    """Return the work's result, or None when `stop` is set first."""
    stopping = asyncio.ensure_future(stop.wait())
    either: set[asyncio.Future[Any]] = {stopping, work}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        stopping.cancel()
        work.cancel()
