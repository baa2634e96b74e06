"""Wakes models at rest as soon as a gateway reports something else of them than when they were last looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog

from trimtab.api.gateway import ModelStats
from trimtab.api.names import Key
from trimtab.effects.signals import GatewaySignals, SilentError

log = structlog.get_logger(__name__)

# A gateway of an earlier release answers at once: it is asked as often as if its models were awake.
_PACE_SECONDS = 1.0


class Listening:
    """Follows the gateways of namespaces with models at rest; times in seconds of `clock`."""

    def __init__(self, signals: GatewaySignals, wake: Callable[[Key], None], clock: Callable[[], float]) -> None:
        self._signals = signals
        self._wake = wake
        self._clock = clock
        self._resting: dict[str, dict[str, ModelStats]] = {}
        self._following: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Follow gateways until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            await asyncio.Event().wait()

    def attend(self, key: Key) -> None:
        """Note that a model is looked at, or gone: it rests no more."""
        self._resting.get(key.namespace, {}).pop(key.name, None)

    def rest(self, key: Key, seen: ModelStats, addresses: Collection[str]) -> bool:
        """Let a model rest until a gateway reports something else than `seen`; return whether it may.

        It may not where they did so while it was looked at.
        """
        stats = self._signals.latest(key.namespace)
        if self._group is None or stats is None or _differs(stats.get(key.name), seen):
            return False
        self._resting.setdefault(key.namespace, {})[key.name] = seen
        for namespace, address in list(self._following):
            if namespace == key.namespace and address not in addresses:
                self._following.pop((namespace, address)).cancel()
        for address in addresses:
            if (key.namespace, address) not in self._following:
                follow = self._follow(key.namespace, address)
                self._following[key.namespace, address] = self._group.create_task(follow)
        return True

    async def _follow(self, namespace: str, address: str) -> None:
        """Listen to one gateway for as long as a model of its namespace rests."""
        try:
            while self._resting.get(namespace):
                began = self._clock()
                await self._signals.changed(namespace, address)
                self._compare(namespace)
                await asyncio.sleep(max(0.0, _PACE_SECONDS - (self._clock() - began)))
        except SilentError as error:
            log.info("gateway.unheard", namespace=namespace, address=address, error=str(error))
            self._wake_all(namespace)
        finally:
            if self._following.get((namespace, address)) is asyncio.current_task():
                del self._following[namespace, address]

    def _compare(self, namespace: str) -> None:
        stats = self._signals.latest(namespace)
        if stats is None:
            self._wake_all(namespace)
            return
        resting = self._resting.get(namespace, {})
        for name, seen in list(resting.items()):
            if _differs(stats.get(name), seen):
                del resting[name]
                self._wake(Key(namespace, name))

    def _wake_all(self, namespace: str) -> None:
        for name in self._resting.pop(namespace, {}):
            self._wake(Key(namespace, name))


def _differs(now: ModelStats | None, seen: ModelStats) -> bool:
    """Whether anything is reported that was not; what nobody changed is the very same object."""
    return now is not seen and (now or ModelStats()) != seen
