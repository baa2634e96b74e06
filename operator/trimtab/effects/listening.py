"""Wakes models at rest as soon as a gateway reports something else of them than when they were last looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from trimtab.api.gateway import ModelStats
from trimtab.api.names import Key
from trimtab.effects.signals import FRESH_SECONDS, GatewaySignals, SilentError

log = structlog.get_logger(__name__)

# A gateway of an earlier release answers at once: it is asked as often as if its models were awake.
_PACE_SECONDS = 1.0


class Listening:
    """Follows the gateways of namespaces with models at rest; times in seconds of `clock`."""

    def __init__(self, signals: GatewaySignals, wake: Callable[[Key], None], clock: Callable[[], float]) -> None:
        self._signals = signals
        self._wake = wake
        self._clock = clock
        self._resting: dict[str, dict[str, int]] = {}
        self._attended: dict[Key, float] = {}
        self._changed_at: dict[str, float] = {}
        self._reported: dict[str, dict[str, ModelStats]] = {}
        self._following: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Follow gateways until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            await asyncio.Event().wait()

    def attend(self, key: Key) -> None:
        """Note that a model is looked at: it rests no more, and what it is seen with is from now at the earliest."""
        self._attended[key] = self._clock() - FRESH_SECONDS
        self._resting.get(key.namespace, {}).pop(key.name, None)

    def rest(self, key: Key, seen: ModelStats, addresses: Collection[str]) -> bool:
        """Let a model rest until a gateway reports something else than `seen`; return whether it may."""
        since = self._attended.pop(key, None)
        if self._group is None or since is None or not self._is_current(key, seen, since):
            return False
        self._resting.setdefault(key.namespace, {})[key.name] = _mark(seen)
        for namespace, address in list(self._following):
            if namespace == key.namespace and address not in addresses:
                self._following.pop((namespace, address)).cancel()
        for address in addresses:
            if (key.namespace, address) not in self._following:
                follow = self._follow(key.namespace, address)
                self._following[key.namespace, address] = self._group.create_task(follow)
        return True

    def _is_current(self, key: Key, seen: ModelStats, since: float) -> bool:
        """Whether gateways report nothing else of a model than it was seen with; changes of others are none of its."""
        if self._changed_at.get(key.namespace, since) <= since:
            return True
        reported = self._reported.get(key.namespace)
        return reported is not None and _mark(reported.get(key.name, ModelStats())) == _mark(seen)

    def forget(self, key: Key) -> None:
        """Drop a model that is gone."""
        self._attended.pop(key, None)
        self._resting.get(key.namespace, {}).pop(key.name, None)

    async def _follow(self, namespace: str, address: str) -> None:
        """Listen to one gateway for as long as a model of its namespace rests."""
        known: str | None = None
        try:
            while self._resting.get(namespace):
                began = self._clock()
                tag = await self._signals.changed(address, known)
                if tag is None or tag != known:
                    known = tag
                    await self._compare(namespace)
                await asyncio.sleep(max(0.0, _PACE_SECONDS - (self._clock() - began)))
        except SilentError as error:
            log.info("gateway.unheard", namespace=namespace, address=address, error=str(error))
            self._wake_all(namespace)
        finally:
            if self._following.get((namespace, address)) is asyncio.current_task():
                del self._following[namespace, address]
                if not any(where == namespace for where, _ in self._following):
                    self._reported.pop(namespace, None)

    async def _compare(self, namespace: str) -> None:
        self._changed_at[namespace] = self._clock()
        self._reported.pop(namespace, None)
        addresses = [address for where, address in self._following if where == namespace]
        stats = await self._signals.sample(namespace, addresses, fresh=True)
        if stats is None:
            self._wake_all(namespace)
            return
        self._reported[namespace] = stats.models
        resting = self._resting.get(namespace, {})
        for name, mark in list(resting.items()):
            if _mark(stats.models.get(name, ModelStats())) != mark:
                del resting[name]
                self._wake(Key(namespace, name))

    def _wake_all(self, namespace: str) -> None:
        for name in self._resting.pop(namespace, {}):
            self._wake(Key(namespace, name))


def _mark(stats: ModelStats) -> int:
    """Return a number that differs when anything that is reported does."""
    return hash(stats.model_dump_json())
