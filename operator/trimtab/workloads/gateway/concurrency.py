"""How many requests each replica takes at once, asked of its runtime when it becomes ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Any

import aiohttp
import structlog

from trimtab.planning.traffic import ModelTraffic

log = structlog.get_logger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=2)
_BACKOFF_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0)
# Above this HAProxy would not queue anything anyway; a runtime that says more is mistaken.
_MOST = 100_000


class Concurrency:
    """Asks replicas and remembers their answers, as long as they exist."""

    def __init__(self, session: aiohttp.ClientSession, changed: Callable[[str], None]) -> None:
        self._session = session
        self._changed = changed
        self._limits: dict[tuple[str, str], int] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}

    def limits(self, traffic: Iterable[ModelTraffic]) -> dict[str, int]:
        """Return address → requests at once, for all replicas that have answered; start asking the others.

        What is known of replicas that are not in `traffic` is forgotten.
        """
        items = tuple(traffic)
        wanted = {(endpoint.address, endpoint.pod) for item in items for endpoint in item.endpoints}
        for key in self._limits.keys() - wanted:
            del self._limits[key]
        for key in self._asking.keys() - wanted:
            self._asking.pop(key).cancel()
        return self.known(items)

    def known(self, traffic: Iterable[ModelTraffic]) -> dict[str, int]:
        """Return the same for the replicas of some models, and forget nothing."""
        known: dict[str, int] = {}
        for item in traffic:
            for endpoint in item.endpoints:
                key = (endpoint.address, endpoint.pod)  # an address may get another pod later
                if key in self._limits:
                    known[endpoint.address] = self._limits[key]
                elif endpoint.admitted and endpoint.pod and key not in self._asking:
                    self._asking[key] = asyncio.create_task(self._ask(key, item.model))
        return known

    async def close(self) -> None:
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        self._asking.clear()

    async def _ask(self, key: tuple[str, str], model: str) -> None:
        url = f"http://{key[0]}/v2/models/{model}"
        failures = 0
        while True:
            try:
                async with self._session.get(url, timeout=_TIMEOUT) as response:
                    response.raise_for_status()
                    self._limits[key] = max_concurrency(await response.json(content_type=None))
                log.info("replica.asked", address=key[0], pod=key[1], max_concurrency=self._limits[key])
                break
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                delay = _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
                failures += 1
                if failures == len(_BACKOFF_SECONDS):
                    log.warning("replica.limit_unknown", url=url, error=str(error) or type(error).__name__)
                await asyncio.sleep(delay)
        del self._asking[key]
        self._changed(model)


def shares(limits: Mapping[str, int], gateways: int) -> dict[str, int]:
    """Return how many requests each of several gateways may have at a replica at once.

    One more than its part: load is never spread evenly over gateways, and the runtime queues what is too much.
    """
    if gateways == 1:
        return dict(limits)
    return {address: min(limit, ceil(limit / gateways) + 1) for address, limit in limits.items()}


def max_concurrency(metadata: Any) -> int:
    """Return what a model's metadata publishes as `parameters.max_concurrency`.

    Raises:
        ValueError: It publishes none, or no number from 1 to 100,000.
    """
    parameters = metadata.get("parameters") if isinstance(metadata, dict) else None
    value = parameters.get("max_concurrency") if isinstance(parameters, dict) else None
    try:
        number = int(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        number = 0
    if not 1 <= number <= _MOST:
        raise ValueError(f"parameters.max_concurrency is {value!r}; a runtime publishes a number from 1 to {_MOST}")
    return number
