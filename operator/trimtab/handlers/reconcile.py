"""One reconcile: gather, plan, execute, say. Failures become condition, event and log in one place."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from trimtab.api.names import Key
from trimtab.effects.execute import Executor
from trimtab.effects.fleet import Fleet
from trimtab.effects.gather import Gatherer
from trimtab.effects.kubernetes import ApiError
from trimtab.effects.world import World
from trimtab.errors import NotYet
from trimtab.handlers.looks import Looks
from trimtab.handlers.wakes import FLEET
from trimtab.planning.model import Memory, plan

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# The object as such is refused; a conflict or an overloaded server is over at the next try.
_REFUSALS = {400, 403, 404, 422}


class Reconciler:
    """Brings one key at a time to where its spec wants it."""

    def __init__(
        self,
        world: World,
        gatherer: Gatherer,
        executor: Executor,
        fleet: Fleet,
        looks: Looks,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` in [0, 1) spreads the looks at models at rest."""
        self._world = world
        self._gatherer = gatherer
        self._executor = executor
        self._fleet = fleet
        self._looks = looks
        self._jitter = jitter
        self._memory: dict[Key, Memory] = {}
        self._put_off: dict[Key, str] = {}

    async def __call__(self, key: Key) -> float | None:
        """Reconcile `key`; return the seconds until the next look."""
        began = time.perf_counter()
        try:
            wake = await (self._fleet.reconcile() if key == FLEET else self._model(key))
            if self._put_off.pop(key, None) is not None:
                log.info("reconcile.resumed", key=str(key))
        except NotYet as error:
            wake = error.retry_after or _RETRY_SECONDS
            if self._put_off.get(key) != error.message:  # once, not at every try
                self._put_off[key] = error.message
                log.warning("reconcile.put_off", key=str(key), reason=error.reason, error=error.message)
        seconds = time.perf_counter() - began
        self._looks.note(seconds)
        log.debug("reconcile.finished", key=str(key), seconds=round(seconds, 4), wake=wake)
        return wake

    async def _model(self, key: Key) -> float | None:
        snapshot = await self._gatherer.snapshot(key)
        if snapshot is None:
            self._memory.pop(key, None)
            self._put_off.pop(key, None)
            self._gatherer.forget(key)
            return None
        before = self._memory.get(key, Memory())
        decided, after = plan(snapshot, before)
        body: dict[str, Any] = {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "OptimizedModel",
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": snapshot.uid},
        }
        # The status goes first: it is what remembers a decision (the candidate, the traffic that must move before
        # pods go), so that a crash in between leaves a plan that is carried out again, not one that is forgotten.
        wrote = decided.status != snapshot.status.wire()
        if wrote:
            try:
                self._gatherer.wrote(key, await self._executor.write_status(key, decided.status))
            except ApiError as error:
                if error.status == 404:  # deleted meanwhile
                    return None
                raise
        try:
            changes = await self._executor.execute(body, decided.actions)
        except ApiError as error:
            if error.status in _REFUSALS:  # the user should know; the next look says it
                self._memory[key] = replace(before, refused=error.message)
            raise
        self._memory[key] = after.kept()
        if changes:
            log.info("model.reconciled", model=str(key), changes=changes)
        elif not wrote and decided.rest_seconds is not None and self._gatherer.rest(key, snapshot.traffic):
            self._memory[key] = after.at_rest()
            return decided.rest_seconds * (0.75 + self._jitter() / 2)
        return decided.requeue_after
