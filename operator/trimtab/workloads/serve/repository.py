"""The models of one pod: which there are, which are in memory, and how they come and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled, TrimtabError
from trimtab.workloads.serve.datatypes import Run
from trimtab.workloads.serve.loading import Fetched, fetched, load_fetched, load_mapped, prepare
from trimtab.workloads.serve.model import LOADING, Model, ModelSettings, State
from trimtab.workloads.serve.refusals import Refused
from trimtab.workloads.serve.residency import Resident, leaving, own_memory
from trimtab.workloads.serve.threads import in_thread
from trimtab.workloads.serve.weights import Mapped

log = structlog.get_logger("trimtab.serve")

Fetch = Callable[[ModelSettings], Path]

_LOAD_WAIT_S = 60.0  # how long a request waits for a model that loads
_RETRY_S = 5.0  # between attempts at a model that could not be loaded
_LAZY = "loads with its first request"


class Repository:
    """Finds models for requests, loads and unloads them; ended by `close`."""

    def __init__(
        self,
        models: Sequence[ModelSettings],
        fetch: Fetch,
        threads: int,
        clock: Callable[[], float],
        *,
        memory_bytes: int | None = None,
        control: bool = False,
        device: Device = Device.CPU,
    ) -> None:
        self.models: dict[tuple[str, str], Model] = {}
        self._newest: dict[str, Model] = {}
        self._control = control
        self._fetch = fetch
        self._threads = threads
        self._device = device
        self._clock = clock
        self._memory_bytes = memory_bytes
        self._loop = asyncio.get_running_loop()
        self._fetched: dict[tuple[str, str], Fetched] = {}
        self._mapped: dict[tuple[str, str], Mapped | None] = {}
        self._quick: dict[tuple[str, str], Run] = {}  # over the mapped weights of lazy models, for their next load
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._settling: list[asyncio.Task[None]] = []
        self._failed_at: dict[tuple[str, str], float] = {}
        self._one_load = asyncio.Lock()  # what one takes of the memory is seen only where no other one loads
        for settings in models:
            model = Model(settings, clock)
            model.wanted = self._on_demand
            self.models[model.name, model.revision] = model
            self._newest[model.name] = model  # the one that is listed last

    # --- finding ---

    def find(self, name: str, version: str = "") -> Model:
        """Return a model by name and version; without one, the version listed last.

        Raises:
            Refused: 404, with what there is instead.
        """
        model = self.models.get((name, version)) if version else self._newest.get(name)
        if model is not None:
            return model
        if name not in self._newest:
            served = ", ".join(f"'{known}'" for known in self._newest)
            raise Refused(404, f"model '{name}' is not served here; this pod serves {served}")
        versions = ", ".join(f"'{revision}'" for known, revision in self.models if known == name)
        raise Refused(404, f"version '{version}' is not served here; this pod serves {versions}")

    def index(self, *, ready_only: bool = False) -> list[dict[str, str]]:
        """Return what there is, as the repository extension has it."""
        return [
            {"name": model.name, "version": model.revision, "state": model.state.value, "reason": model.reason}
            for model in self.models.values()
            if not ready_only or model.state is State.READY
        ]

    @property
    def in_flight(self) -> int:
        """Requests taken and not yet answered."""
        return sum(model.metrics.in_flight for model in self.models.values())

    # --- life ---

    async def open(self) -> None:
        """Fetch all models, and load those that are not lazy; return when each of these has answered once.

        Raises:
            Stalled, NotYet: Of the first model that cannot be served.
        """
        for model in self.models.values():
            if model.settings.lazy:
                await self._describe(model)
                model.reason = _LAZY
                continue
            answered: asyncio.Future[None] = self._loop.create_future()
            task = self._track(model, self._load(model, self._clock(), answered))
            self._settling.append(task)
            await asyncio.wait({task, answered}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                try:
                    task.result()
                except Refused as refused:
                    remedy = "raise --memory-budget, or make models Lazy that need not be there all the time"
                    message = f"model '{model.name}' cannot be loaded: {refused.message}; {remedy}"
                    raise Stalled(Reason.INVALID_SPEC, message) from None

    async def settle(self) -> None:
        """Wait until every model that answers is loaded for speed, too.

        Raises:
            Stalled: Of the first model that cannot be.
        """
        await asyncio.gather(*self._settling)

    def close(self) -> None:
        """End every engine and every load; what still waits is never answered."""
        for task in self._tasks.values():
            task.cancel()
        for model in self.models.values():
            model.close()

    async def load(self, name: str) -> None:
        """Load every version of a model, or return at once where they are.

        Raises:
            Refused: It is unknown or cannot be loaded, or this pod is not told what to load.
        """
        for model in self._controlled(name):
            model.on_demand = model.settings.lazy
            task = self._start(model)
            if task is not None:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(task)
            if model.state is not State.READY:
                raise Refused(400, f"model '{name}' cannot be loaded: {model.reason}")

    async def unload(self, name: str) -> None:
        """Let go of every version of a model once what it has taken is answered.

        Raises:
            Refused: It is unknown, or this pod is not told what to unload.
        """
        for model in self._controlled(name):
            model.on_demand = False
            if (task := self._tasks.get((model.name, model.revision))) is not None:
                await asyncio.wait({task})
            if model.state is State.READY:
                model.state = State.UNLOADING
                await model.quiet()
                self._unload(model, "unloaded on request")
                for kept in (self._mapped, self._quick):
                    kept.pop((model.name, model.revision), None)

    def _controlled(self, name: str) -> list[Model]:
        self.find(name)
        if not self._control:
            raise Refused(403, "this pod does not load and unload on request; start it with --repository-control")
        return [model for model in self.models.values() if model.name == name]

    def _on_demand(self, model: Model) -> None:
        """Load a lazy model, for which a request waits."""
        key = model.name, model.revision
        failed_at = self._failed_at.get(key)
        if failed_at is not None and self._clock() - failed_at < _RETRY_S:
            model.fail_waiting(Refused(503, f"model '{model.name}' cannot be loaded: {model.reason}", int(_RETRY_S)))
            return
        self._start(model)

    def _start(self, model: Model) -> asyncio.Task[None] | None:
        """Return the task that loads a model; None for one that is loaded."""
        key = model.name, model.revision
        if model.state is State.READY:
            return None
        task = self._tasks.get(key)
        # One that has ended stays here until the loop's next turn.
        return task if task is not None and not task.done() else self._track(model, self._load_or_say_why(model))

    def _track(self, model: Model, loading: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        key = model.name, model.revision
        self._tasks[key] = task = self._loop.create_task(loading)
        return task

    async def _load_or_say_why(self, model: Model) -> None:
        too_long = self._loop.call_later(_LOAD_WAIT_S, model.fail_waiting, Refused(503, LOADING, int(_RETRY_S)))
        try:
            await self._load(model, self._clock())
            self._failed_at.pop((model.name, model.revision), None)
            await self._get_ready(model)  # for the time after the next unload
        except (TrimtabError, Refused) as error:
            model.state, model.reason = State.UNAVAILABLE, error.message
            self._failed_at[model.name, model.revision] = self._clock()
            log.warning("model.not_loaded", model=model.name, revision=model.revision, error=error.message)
            model.fail_waiting(Refused(503, f"model '{model.name}' cannot be loaded: {error.message}", int(_RETRY_S)))
        finally:
            too_long.cancel()

    # --- loading ---

    async def _describe(self, model: Model) -> Fetched:
        key, settings = (model.name, model.revision), model.settings
        if key not in self._fetched:
            work = partial(fetched, partial(self._fetch, settings), settings.engine)
            self._fetched[key] = await in_thread(self._loop, work)
            model.describe(self._fetched[key].spec)
        if settings.lazy and key not in self._mapped:
            self._mapped[key] = await in_thread(self._loop, partial(prepare, self._fetched[key], self._device))
            await self._get_ready(model)
        return self._fetched[key]

    async def _get_ready(self, model: Model) -> None:
        """Have an engine over a lazy model's mapped weights, so that its first request waits for its own run alone."""
        key = model.name, model.revision
        mapped = self._mapped.get(key)
        if mapped is not None and key not in self._quick:
            work = partial(load_mapped, self._fetched[key], mapped, self._threads, warm_up=False)
            quick = await in_thread(self._loop, work)
            if quick is not None:
                self._quick[key] = quick

    async def _load(self, model: Model, began: float, answered: asyncio.Future[None] | None = None) -> None:
        """Load a model; a large one answers from mapped weights before, which `answered` tells."""
        model.state, model.reason = State.LOADING, LOADING
        found = await self._describe(model)
        async with self._one_load:
            left = self._make_room(model, found)
            quick = self._quick.pop((model.name, model.revision), None)
            if quick is None:
                quick = await in_thread(self._loop, partial(self._load_quickly, model, found, warm_up=not model.busy))
            try:
                if quick is not None:
                    self._attach(model, quick, began, stage="mapped")
                    if answered is not None and not answered.done():
                        answered.set_result(None)
                    await model.after_run()  # the load for speed would take half of the CPU from it
                left.clear()  # not before: it takes a while, and mapped weights need no room
                before = own_memory()
                run = await in_thread(self._loop, partial(self._load_for_speed, model, found))
            except BaseException:
                if quick is not None:
                    model.detach("it could not be loaded")
                raise
            model.metrics.memory_bytes = max(found.bytes, own_memory() - before)
            self._attach(model, run, began, stage="full")

    def _load_quickly(self, model: Model, found: Fetched, *, warm_up: bool) -> Run | None:
        """Return something to answer with in the meantime; in a thread."""
        key = model.name, model.revision
        mapped = self._mapped[key] if key in self._mapped else prepare(found, self._device)
        return None if mapped is None else load_mapped(found, mapped, self._threads, warm_up=warm_up)

    def _load_for_speed(self, model: Model, found: Fetched) -> Run:
        """Return the engine that stays; in a thread."""
        mapped = self._mapped.get((model.name, model.revision))  # of a lazy model: it is there all the time
        return load_fetched(found, self._threads, model.settings.max_batch, self._device, mapped)

    def _attach(self, model: Model, run: Run, began: float, stage: str) -> None:
        took = self._clock() - began
        if not model.metrics.loaded:
            model.metrics.loads += 1
            model.metrics.load_seconds = took
        model.used_at = self._clock()
        model.attach(run)
        log.info(
            "model.loaded",
            model=model.name,
            revision=model.revision,
            seconds=round(took, 3),
            threads=self._threads,
            stage=stage,
        )

    def _make_room(self, model: Model, found: Fetched) -> list[Run | None]:
        """Return what the models leave that have to go."""
        if self._memory_bytes is None:
            return []
        needed = model.metrics.memory_bytes or found.bytes
        residents = [
            Resident(key, other.metrics.memory_bytes, other.used_at, other.on_demand and not other.busy)
            for key, other in self.models.items()
            if other.metrics.loaded
        ]
        gone = leaving(residents, needed, self._memory_bytes)
        if gone is None:
            raise Refused(503, f"{needed} bytes of memory are needed, and the models in use leave no room for them")
        return [self._unload(self.models[key], _LAZY) for key in gone]

    def _unload(self, model: Model, reason: str) -> Run | None:
        log.info("model.unloaded", model=model.name, revision=model.revision, reason=reason)
        return model.detach(reason)
