"""What the gateways report, scraped once per namespace and shared by its models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import aiohttp
import structlog
from pydantic import ValidationError

from trimtab.api.gateway import GatewayStats, ModelStats
from trimtab.api.names import GATEWAY_STATS_PORT

log = structlog.get_logger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=1.5)
# Models of a namespace reconcile at different moments of the same second; one scrape serves them all.
_FRESH_SECONDS = 0.8


class GatewaySignals:
    """Scrapes the gateways of a namespace; a scrape that fails is None, never zero."""

    def __init__(self, session: aiohttp.ClientSession, clock: Callable[[], float]) -> None:
        self._session = session
        self._clock = clock
        self._cache: dict[str, tuple[float, GatewayStats | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def sample(self, namespace: str, addresses: Iterable[str]) -> GatewayStats | None:
        """Return the sum over the namespace's gateways, or None when any of them did not answer."""
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            at, stats = self._cache.get(namespace, (float("-inf"), None))
            if self._clock() - at >= _FRESH_SECONDS:
                stats = await self._scrape_all(sorted(addresses))
                self._cache[namespace] = (self._clock(), stats)
            return stats

    def forget(self, namespace: str) -> None:
        """Drop what is known of a namespace without models."""
        self._cache.pop(namespace, None)
        self._locks.pop(namespace, None)

    async def _scrape_all(self, addresses: list[str]) -> GatewayStats | None:
        if not addresses:
            return None
        samples = await asyncio.gather(*(self._scrape(address) for address in addresses))
        if any(sample is None or not sample.proxy_up for sample in samples):
            return None
        return merged([sample for sample in samples if sample is not None])

    async def _scrape(self, address: str) -> GatewayStats | None:
        url = f"http://{address}:{GATEWAY_STATS_PORT}/v1/stats"
        try:
            async with self._session.get(url, timeout=_TIMEOUT) as response:
                response.raise_for_status()
                return GatewayStats.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            log.warning("gateway.scrape_failed", url=url, error=str(error) or type(error).__name__)
            return None


def merged(samples: list[GatewayStats]) -> GatewayStats:
    """Return the sum of several gateways' reports; endpoints are listed once per gateway."""
    models: dict[str, ModelStats] = {}
    for sample in samples:
        for name, stats in sample.models.items():
            models[name] = _sum(models[name], stats) if name in models else stats
    return GatewayStats(
        time=min(sample.time for sample in samples),
        proxy_up=all(sample.proxy_up for sample in samples),
        models=models,
    )


def _sum(one: ModelStats, other: ModelStats) -> ModelStats:
    return ModelStats(
        in_flight=one.in_flight + other.in_flight,
        queued=one.queued + other.queued,
        requests_total=one.requests_total + other.requests_total,
        errors_total=one.errors_total + other.errors_total,
        latency_ms_average=max(one.latency_ms_average, other.latency_ms_average),
        endpoints=[*one.endpoints, *other.endpoints],
    )
