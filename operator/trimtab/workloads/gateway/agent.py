"""The agent: keeps HAProxy in step with the models and their replicas.

    models, EndpointSlices ─► desired traffic ─┐
    replicas' own limits ──────────────────────┼─► commands over the admin socket, then the files
    what HAProxy does now ─────────────────────┘

Level-based: each round looks at all three anew, so that a restart of the agent or of HAProxy is one more round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

import structlog

from trimtab.api.gateway import GatewayStats, RevisionStats
from trimtab.planning.traffic import ModelTraffic, desired_traffic
from trimtab.workloads.gateway.concurrency import Concurrency
from trimtab.workloads.gateway.configuration import Listener, configuration, map_text
from trimtab.workloads.gateway.difference import difference
from trimtab.workloads.gateway.failures import Failures
from trimtab.workloads.gateway.latency import with_failures
from trimtab.workloads.gateway.observed import Observed
from trimtab.workloads.gateway.runtime import Proxy, ProxyUnavailable
from trimtab.workloads.gateway.slots import assigned, layout
from trimtab.workloads.gateway.statistics import prometheus, report

log = structlog.get_logger(__name__)

# Nothing tells us that HAProxy restarted, or that a leaving server became idle: these are how soon we see it.
_LOOK_SECONDS = 2.0
_LEAVING_SECONDS = 0.5
_ABSENT_SECONDS = 0.2

Objects = Mapping[Any, Mapping[str, Any]]
# Fills a mirror for ever and calls back when it is complete and after each change.
Watch = Callable[[Callable[[], None]], Coroutine[Any, Any, None]]


class Agent:
    """Drives one HAProxy from mirrors of models and EndpointSlices.

    The mirrors are read at each round; whoever fills them calls `wake` after a change.
    """

    def __init__(
        self,
        proxy: Proxy,
        listener: Listener,
        models: Objects,
        slices: Objects,
        concurrency: Callable[[Callable[[], None]], Concurrency],
    ) -> None:
        self._proxy = proxy
        self._listener = listener
        self._models = models
        self._slices = slices
        self._changed = asyncio.Event()
        self._concurrency = concurrency(self.wake)
        # None before the first round: until then there are no numbers to report, and none is not zero.
        self._traffic: tuple[ModelTraffic, ...] | None = None
        self._limits: dict[str, int] = {}
        self._routes: dict[str, str] = {}
        # Slots that a model has left, until their last request is through.
        self._former: dict[str, str] = {}
        self._failures = Failures()
        self._up: bool | None = None

    def wake(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        """Keep HAProxy in step, for ever; the mirrors must be complete."""
        try:
            while True:
                self._changed.clear()
                delay = await self._round()
                try:
                    async with asyncio.timeout(delay):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            await self._concurrency.close()

    async def stats(self, now: float) -> GatewayStats:
        """Return the report for `now` (Unix time, seconds)."""
        seen = await self._seen()
        # Nobody compares a revision with itself: where each model has one, the table is not even asked for.
        rolling = any(len(item.revisions) > 1 for item in self._traffic or ())
        return self._report(seen, await self._revisions() if seen and rolling else None, now)

    async def metrics(self, now: float) -> str:
        """Return the report in Prometheus' text format."""
        seen = await self._seen()
        return prometheus(self._report(seen, await self._revisions() if seen else None, now), seen)

    def _report(self, seen: Observed | None, revisions: Mapping[str, RevisionStats] | None, now: float) -> GatewayStats:
        return report(self._traffic or (), seen, self._limits, self._former, now, revisions)

    async def _revisions(self) -> dict[str, RevisionStats] | None:
        names = {name for item in self._traffic or () for name in item.revisions}
        try:
            return with_failures(await self._proxy.answers(), self._failures.totals, names)
        except ProxyUnavailable:
            return None

    async def _seen(self) -> Observed | None:
        if self._traffic is None:
            return None
        try:
            return await self._read()
        except ProxyUnavailable:
            return None

    async def _read(self) -> Observed:
        seen = await self._proxy.read()
        self._failures.seen(seen)
        return seen

    async def _round(self) -> float:
        """Take one step; return after how many seconds to look again unless something changes first."""
        traffic = self._traffic = desired_traffic(self._models.values(), self._slices.values())
        self._limits = self._concurrency.limits(traffic)
        try:
            seen = await self._read()
            self._say(up=True)
            return await self._drive(traffic, seen)
        except ProxyUnavailable as error:
            self._say(up=False, error=error.message)
            if not self._routes:
                self._routes = self._proxy.stored_routes()
            self._routes, prepared = layout(traffic, self._routes)
            self._store(traffic, self._routes, prepared)
            return _ABSENT_SECONDS

    async def _drive(self, traffic: tuple[ModelTraffic, ...], seen: Observed) -> float:
        # A map that is newer than the configuration may name slots that HAProxy does not have.
        routes = {model: slot for model, slot in seen.routes.items() if slot in seen.slots}
        slots, missing = assigned(traffic, routes, seen.free())
        if missing:
            log.info("proxy.outgrown", models=[item.model for item in missing], slots=len(seen.slots))
            self._routes, prepared = layout(traffic, routes)
            self._store(traffic, self._routes, prepared)
            self._former.clear()  # the new worker's slots are new; the old one's requests end with it
            await self._proxy.reload()
            log.info("proxy.reloaded", slots=len(prepared))
            return _LEAVING_SECONDS
        self._remember(seen, slots)
        step = difference(traffic, slots, seen, self._limits)
        started = time.perf_counter()
        complete = await self._proxy.change(step.commands)
        if step.commands:
            milliseconds = round(1000 * (time.perf_counter() - started), 1)
            log.info("proxy.stepped", commands=len(step.commands), milliseconds=milliseconds)
        self._routes = slots
        self._store(traffic, slots, seen.slots)
        return _LOOK_SECONDS if complete and not step.leaving else _LEAVING_SECONDS

    def _remember(self, seen: Observed, slots: Mapping[str, str]) -> None:
        """Keep whose requests the slots still work on that their model has left."""
        for model, slot in seen.routes.items():
            if slot in seen.slots and slots.get(model) != slot:
                self._former[slot] = model
        self._former = {
            slot: model
            for slot, model in self._former.items()
            if slot in seen.slots and not seen.slots[slot].empty and slot not in slots.values()
        }

    def _store(self, traffic: Iterable[ModelTraffic], slots: Mapping[str, str], prepared: Iterable[str]) -> None:
        text = configuration(self._listener, traffic, slots, prepared, self._limits)
        self._proxy.store(text, map_text(slots))

    def _say(self, *, up: bool, error: str = "") -> None:
        if up != self._up:
            self._up = up
            if up:
                log.info("proxy.found")
            else:
                log.warning("proxy.missed", error=error)


async def mirrored(watches: Iterable[Watch], agent: Agent) -> None:
    """Run watches that fill the agent's mirrors, and the agent once each of them is complete; for ever."""
    jobs = tuple(watches)
    complete: set[int] = set()
    ready = asyncio.Event()

    def changed(index: int) -> None:
        complete.add(index)
        agent.wake()
        if len(complete) == len(jobs):
            ready.set()

    async def drive() -> None:
        await ready.wait()
        await agent.run()

    async with asyncio.TaskGroup() as group:
        for index, watch in enumerate(jobs):
            group.create_task(watch(partial(changed, index)))
        group.create_task(drive())
