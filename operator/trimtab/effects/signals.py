"""What the gateways report, scraped once per namespace and shared by its models."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from functools import reduce

import aiohttp
import structlog
from pydantic import ValidationError

from trimtab.api.gateway import EndpointState, EndpointStats, GatewayStats, ModelStats, RevisionStats
from trimtab.api.names import GATEWAY_STATS_PORT

log = structlog.get_logger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=1.5)
# Models of a namespace reconcile at different moments of the same second; one scrape serves them all.
FRESH_SECONDS = 0.8
# For how long a gateway is asked to wait for a change, and how much longer its answer may take.
_WAIT_SECONDS = 20
_WAIT_TIMEOUT = aiohttp.ClientTimeout(total=_WAIT_SECONDS + 5, sock_connect=1.5)
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError)


class SilentError(Exception):
    """A gateway does not answer."""


def gateway_session() -> aiohttp.ClientSession:
    """Return a session for any number of gateways at once; the caller closes it.

    Each gateway of models at rest holds a connection for as long as nothing happens. With aiohttp's limit of a hundred,
    a hundred of them would leave none for the models that are awake.
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


class GatewaySignals:
    """Scrapes the gateways of a namespace; a scrape that fails is None, never zero."""

    def __init__(self, session: aiohttp.ClientSession, clock: Callable[[], float]) -> None:
        self._session = session
        self._clock = clock
        self._cache: dict[str, tuple[float, GatewayStats | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._silent: dict[str, set[str]] = {}

    async def sample(self, namespace: str, addresses: Iterable[str], *, fresh: bool = False) -> GatewayStats | None:
        """Return the sum over the namespace's gateways, or None when any of them did not answer; `fresh`: of now."""
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            at, stats = self._cache.get(namespace, (float("-inf"), None))
            if fresh or self._clock() - at >= FRESH_SECONDS:
                stats = await self._scrape_all(namespace, sorted(addresses))
                self._cache[namespace] = (self._clock(), stats)
            return stats

    def forget(self, namespace: str) -> None:
        """Drop what is known of a namespace without models."""
        self._cache.pop(namespace, None)
        self._locks.pop(namespace, None)
        self._silent.pop(namespace, None)

    async def _scrape_all(self, namespace: str, addresses: list[str]) -> GatewayStats | None:
        answers = await asyncio.gather(*(self._scrape(address) for address in addresses))
        before = self._silent.get(namespace, set())
        samples: list[GatewayStats | None] = []
        silent = set()
        for address, answer in zip(addresses, answers, strict=True):
            samples.append(answer if isinstance(answer, GatewayStats) else None)
            if isinstance(answer, str):
                silent.add(address)
                if address not in before:  # once, not once a second
                    log.warning("gateway.fell_silent", namespace=namespace, address=address, error=answer)
            elif address in before:
                log.info("gateway.answered_again", namespace=namespace, address=address)
        self._silent[namespace] = silent
        if not samples or any(sample is None or not sample.proxy_up for sample in samples):
            return None
        return merged([sample for sample in samples if sample is not None])

    async def changed(self, address: str, known: str | None) -> str | None:
        """Wait until a gateway's report is another one than `known`, or for a while; return what names it now.

        None where the gateway names none, as those of earlier releases: then it answers at once.

        Raises:
            SilentError: It does not answer.
        """
        headers = {"Prefer": f"wait={_WAIT_SECONDS}", **({"If-None-Match": known} if known else {})}
        try:
            async with self._session.get(_url(address), headers=headers, timeout=_WAIT_TIMEOUT) as response:
                response.raise_for_status()
                await response.read()
                return response.headers.get("ETag")
        except _FAILURES as error:
            raise SilentError(f"{address}: {error or type(error).__name__}") from error

    async def _scrape(self, address: str) -> GatewayStats | str:
        """Return a gateway's report, or why there is none."""
        try:
            async with self._session.get(_url(address), timeout=_TIMEOUT) as response:
                response.raise_for_status()
                return GatewayStats.model_validate_json(await response.read())
        except (*_FAILURES, ValidationError) as error:
            return str(error) or type(error).__name__


def _url(address: str) -> str:
    return f"http://{address}:{GATEWAY_STATS_PORT}/v1/stats"


def merged(samples: list[GatewayStats]) -> GatewayStats:
    """Return the sum of several gateways' reports; an endpoint that several of them know is one endpoint."""
    names = {name: None for sample in samples for name in sample.models}
    return GatewayStats(
        time=min(sample.time for sample in samples),
        proxy_up=all(sample.proxy_up for sample in samples),
        models={name: reduce(_sum, (sample.models.get(name, ModelStats()) for sample in samples)) for name in names},
    )


# What several gateways say of one endpoint is as good as the worst of it.
_WORST_FIRST = (EndpointState.DRAINING, EndpointState.UNHEALTHY, EndpointState.STARTING, EndpointState.HEALTHY)


def _sum(one: ModelStats, other: ModelStats) -> ModelStats:
    ours, theirs = ({endpoint.address: endpoint for endpoint in stats.endpoints} for stats in (one, other))
    # Who takes away what served before needs to know that every gateway has the new one: some may lag behind.
    endpoints = {address: _joint(found, _unheard_of(found)) for address, found in {**ours, **theirs}.items()}
    endpoints |= {address: _joint(ours[address], theirs[address]) for address in ours.keys() & theirs.keys()}
    return ModelStats(
        in_flight=one.in_flight + other.in_flight,
        queued=one.queued + other.queued,
        requests_total=one.requests_total + other.requests_total,
        errors_total=one.errors_total + other.errors_total,
        latency_ms_average=max(one.latency_ms_average, other.latency_ms_average),
        endpoints=list(endpoints.values()),
        revisions={
            name: _both(one.revisions.get(name, RevisionStats()), other.revisions.get(name, RevisionStats()))
            for name in {*one.revisions, *other.revisions}
        },
    )


def _both(one: RevisionStats, other: RevisionStats) -> RevisionStats:
    return RevisionStats(
        requests=one.requests + other.requests,
        errors=one.errors + other.errors,
        latencies=dict(Counter(one.latencies) + Counter(other.latencies)),
    )


def _unheard_of(endpoint: EndpointStats) -> EndpointStats:
    """Return what a gateway would say of an endpoint that it does not know."""
    return endpoint.model_copy(update={"state": EndpointState.STARTING, "in_flight": 0})


def _joint(one: EndpointStats, other: EndpointStats) -> EndpointStats:
    return one.model_copy(
        update={
            "state": min(one.state, other.state, key=_WORST_FIRST.index),
            "in_flight": one.in_flight + other.in_flight,
            "max_concurrency": max(one.max_concurrency, other.max_concurrency),
        }
    )
