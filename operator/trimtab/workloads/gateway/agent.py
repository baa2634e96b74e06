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
from trimtab.planning.traffic import ModelTraffic, desired_traffic, model_of, retouched
from trimtab.workloads.gateway.concurrency import Concurrency, shares
from trimtab.workloads.gateway.configuration import Listener
from trimtab.workloads.gateway.difference import Difference, difference, routes_of
from trimtab.workloads.gateway.failures import Failures
from trimtab.workloads.gateway.files import Files
from trimtab.workloads.gateway.holding import Holder
from trimtab.workloads.gateway.latency import with_failures
from trimtab.workloads.gateway.observed import Observed
from trimtab.workloads.gateway.runtime import Proxy, ProxyUnavailable
from trimtab.workloads.gateway.slots import Profile, assigned, layout, profile_of
from trimtab.workloads.gateway.statistics import prometheus, report

log = structlog.get_logger(__name__)

# Nothing tells us that HAProxy restarted, or that a leaving server became idle: these are how soon we see it.
_LOOK_SECONDS = 5.0
_LEAVING_SECONDS = 0.5
_ABSENT_SECONDS = 0.2
# With many models a look at everything costs, and so does writing the files: changes of a moment are written together.
_LOOK_SHARE = 0.01
_WRITE_SECONDS = 1.0

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
        concurrency: Callable[[Callable[[str], None]], Concurrency],
    ) -> None:
        self._proxy = proxy
        self._listener = listener
        self._models = models
        self._slices = slices
        self._changed = asyncio.Event()
        self._due = asyncio.Event()
        # Held while commands run that were decided on what was seen before.
        self._lock = asyncio.Lock()
        self._everything = True
        self._touched: set[str] = set()
        self._since: set[str] = set()
        """Models whose servers changed since the last look began."""
        self._concurrency = concurrency(self.wake)
        # None before the first round: until then there are no numbers to report, and none is not zero.
        self._traffic: tuple[ModelTraffic, ...] | None = None
        self._routes: dict[str, str] = {}
        self._prepared: tuple[str, ...] = ()
        self._files = Files(proxy, listener)
        self._unwritten = asyncio.Event()
        # Models to look at again, and when.
        self._leaving: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        # Slots that a model has left, until their last request is through.
        self._former: dict[str, str] = {}
        self._failures = Failures()
        self._holder = Holder(proxy.path)
        self._up: bool | None = None

    def wake(self, model: str | None = None) -> None:
        """Say that a model's objects or replicas changed, or anything."""
        if model is None:
            self._everything = True
        else:
            self._touched.add(model)
        self._changed.set()

    async def run(self) -> None:
        """Keep HAProxy in step, for ever; the mirrors must be complete."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._look_on())
                group.create_task(self._write_on())
        finally:
            if self._timer:
                self._timer.cancel()
            await self._concurrency.close()
            await self._holder.close()

    async def _follow(self) -> None:
        """Take each change to HAProxy at once where that needs no look at everything."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            touched, self._touched = self._touched, set()
            if self._everything or self._traffic is None:
                self._everything = False
                self._traffic = desired_traffic(self._models.values(), self._slices.values())
                await self._holder.follow(self._traffic)
                self._due.set()
            elif touched:
                self._traffic = retouched(self._traffic, touched, self._models, self._slices)
                items = tuple(item for item in self._traffic if item.model in touched)
                await self._holder.follow(items, touched)
                async with self._lock:
                    if not await self._shift(touched, items):
                        self._due.set()

    async def _shift(self, touched: set[str], items: tuple[ModelTraffic, ...]) -> bool:
        """Bring the slots of some models in step; return False where that takes more than their servers.

        What it costs must not grow with the number of models: others' changes wait behind it.
        """
        slots = {item.route: self._routes.get(item.route, "") for item in items}
        gone = any(model_of(route) in touched for route in self._routes.keys() - slots.keys())
        if not items or gone or any(profile_of(slots[item.route]) != Profile.of(item) for item in items):
            return False
        try:
            seen = await self._proxy.read_slots(slots.values(), routes_of(slots))
            self._failures.seen(seen)
            self._since |= touched
            step = difference(items, slots, seen, self._shares(self._concurrency.known(items)))
            self._look_again(step.leaving if await self._apply(step) else touched)
        except ProxyUnavailable:
            return False
        self._unwritten.set()
        return True

    def _look_again(self, models: frozenset[str] | set[str]) -> None:
        """Wake for some models in a moment: their servers go when they are idle."""
        self._leaving |= models
        if self._leaving and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LEAVING_SECONDS, self._again)

    def _again(self) -> None:
        self._timer, leaving, self._leaving = None, self._leaving, set()
        for model in leaving:
            self.wake(model)

    async def _write_on(self) -> None:
        """Write the files after changes that took no look at everything."""
        while True:
            await self._unwritten.wait()
            self._unwritten.clear()
            await self._store()
            await asyncio.sleep(_WRITE_SECONDS)

    async def _look_on(self) -> None:
        """Look at everything whenever that is due."""
        delay = 0.0
        while True:
            try:
                async with asyncio.timeout(delay):
                    await self._due.wait()
            except TimeoutError:
                pass
            self._due.clear()
            if self._traffic is None:
                self._changed.set()
                await self._due.wait()
            started = time.perf_counter()
            delay = await self._round()
            delay = max(delay, (time.perf_counter() - started) / _LOOK_SHARE) if delay == _LOOK_SECONDS else delay

    async def stats(self, now: float) -> GatewayStats:
        """Return the report for `now` (Unix time, seconds)."""
        seen = await self._seen()
        # Nobody compares a revision with itself: where each model has one, the table is not even asked for.
        rolling = any(len(item.revisions) > 1 for item in self._traffic or ())
        revisions = await self._revisions() if seen and rolling else None
        return await asyncio.to_thread(self._report, seen, revisions, self._limits(), now)

    async def metrics(self, now: float) -> str:
        """Return the report in Prometheus' text format."""
        seen = await self._seen()
        revisions = await self._revisions() if seen else None
        limits = self._limits()
        return await asyncio.to_thread(lambda: prometheus(self._report(seen, revisions, limits, now), seen))

    def _report(
        self,
        seen: Observed | None,
        revisions: Mapping[str, RevisionStats] | None,
        limits: Mapping[str, int],
        now: float,
    ) -> GatewayStats:
        return report(self._traffic or (), seen, limits, self._former, now, revisions, dict(self._holder.wakes))

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
        async with self._lock:  # what is under way would be seen half done
            self._since.clear()
        await asyncio.to_thread(self._files.certificates.look)
        try:
            seen = await self._read()
            self._say(up=True)
            return await self._drive(seen)
        except ProxyUnavailable as error:
            self._say(up=False, error=error.message)
            if not self._routes:
                self._routes = self._proxy.stored_routes()
            self._routes, self._prepared = layout(self._traffic or (), self._routes)
            await self._store()
            return _ABSENT_SECONDS

    async def _drive(self, seen: Observed) -> float:
        async with self._lock:
            traffic = self._traffic or ()
            # A map that is newer than the configuration may name slots that HAProxy does not have.
            routes = {model: slot for model, slot in seen.routes.items() if slot in seen.slots}
            # What changed while we looked was taken care of meanwhile: what we saw of it is out of date, and the
            # slot that it has now stays its own until we look again.
            kept = {
                item.route: routes[item.route] for item in traffic if item.model in self._since and item.route in routes
            }
            fresh = tuple(item for item in traffic if item.route not in kept)
            slots, missing = assigned(fresh, routes, seen.free())
            slots |= kept
            if missing:
                log.info("proxy.outgrown", models=[item.model for item in missing], slots=len(seen.slots))
            if missing or await self._begins_or_ends_with_tls():
                self._routes, self._prepared = layout(traffic, routes)
                await self._store()
                self._former.clear()  # the new worker's slots are new; the old one's requests end with it
                await self._proxy.reload()
                log.info("proxy.reloaded", slots=len(self._prepared))
                return _LEAVING_SECONDS
            self._remember(seen, slots)
            step = difference(fresh, slots, seen, self._shares(self._limits()))
            complete = await self._apply(step)
            self._routes, self._prepared = slots, tuple(seen.slots)
        self._look_again(step.leaving)
        await self._store()
        return _LOOK_SECONDS if complete and not step.retiring else _LEAVING_SECONDS

    async def _begins_or_ends_with_tls(self) -> bool:
        """Return whether that takes a reload; a certificate that was only renewed takes none."""
        certificates = self._files.certificates
        if certificates.file is None:
            return False
        shown = await self._proxy.certificate(certificates.file)
        if (pem := certificates.renewed(shown)) and await self._proxy.renew(certificates.file, pem):
            log.info("certificate.renewed")
        return certificates.asks_for_reload(shown)

    async def _apply(self, step: Difference) -> bool:
        """Run commands; return whether each was carried out."""
        started = time.perf_counter()
        complete = await self._proxy.change(step.commands)
        if step.commands:
            milliseconds = round(1000 * (time.perf_counter() - started), 1)
            log.info("proxy.stepped", commands=len(step.commands), milliseconds=milliseconds)
        return complete

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

    async def _store(self) -> None:
        await self._files.write(self._traffic or (), self._routes, self._prepared, self._shares(self._limits()))

    def _limits(self) -> dict[str, int]:
        return self._concurrency.limits(self._traffic or ())

    def _shares(self, limits: Mapping[str, int]) -> dict[str, int]:
        return shares(limits, self._listener.gateways)

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
        if index not in complete:
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
