"""What the gateways report, scraped once per namespace and shared by its models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

import aiohttp
import structlog

from trimtab.api.gateway import ModelStats
from trimtab.api.names import GATEWAY_STATS_PORT
from trimtab.effects.reports import Reports

log = structlog.get_logger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=1.5)
# Models of a namespace reconcile at different moments of the same second; one scrape serves them all.
FRESH_SECONDS = 0.8
# For how long a gateway is asked to wait for a change, and how much longer its answer may take.
_WAIT_SECONDS = 20
_WAIT_TIMEOUT = aiohttp.ClientTimeout(total=_WAIT_SECONDS + 5, sock_connect=1.5)
# A thousand models with a hundred replicas each come to less.
_MOST_BYTES = 32 * 2**20
_CHUNK = 2**16
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


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
        self._namespaces: dict[str, _Namespace] = {}

    async def sample(self, namespace: str, addresses: Iterable[str]) -> Mapping[str, ModelStats] | None:
        """Return the sum over the namespace's gateways by model, or None when any of them did not answer."""
        known = self._namespaces.setdefault(namespace, _Namespace())
        async with known.lock:
            if self._clock() - known.at >= FRESH_SECONDS:
                await self._scrape_all(namespace, known, sorted(addresses))
                known.at = self._clock()
            return known.reports.total()

    def latest(self, namespace: str) -> Mapping[str, ModelStats] | None:
        """Return the sum of what those that were last sampled have said since."""
        known = self._namespaces.get(namespace)
        return known.reports.total() if known else None

    def forget(self, namespace: str) -> None:
        """Drop what is known of a namespace without models."""
        self._namespaces.pop(namespace, None)

    async def _scrape_all(self, namespace: str, known: _Namespace, addresses: list[str]) -> None:
        known.reports.follow(addresses)
        problems = await asyncio.gather(*(self._scrape(known.reports, address) for address in addresses))
        silent = set()
        for address, problem in zip(addresses, problems, strict=True):
            if problem is not None:
                silent.add(address)
                if address not in known.silent:  # once, not once a second
                    log.warning("gateway.fell_silent", namespace=namespace, address=address, error=problem)
            elif address in known.silent:
                log.info("gateway.answered_again", namespace=namespace, address=address)
        known.silent = silent

    async def changed(self, namespace: str, address: str) -> None:
        """Wait until a gateway reports something else than what is known of it, or for a while; `latest` has it then.

        Gateways of earlier releases answer at once.

        Raises:
            SilentError: It does not answer.
        """
        known = self._namespaces.get(namespace) or _Namespace()
        try:
            await self._ask(known.reports, address, {"Prefer": f"wait={_WAIT_SECONDS}"}, _WAIT_TIMEOUT)
        except _FAILURES as error:
            raise SilentError(f"{address}: {error or type(error).__name__}") from error

    async def _scrape(self, reports: Reports, address: str) -> str | None:
        """Have a gateway's report of now; return why there is none."""
        try:
            await self._ask(reports, address, {}, _TIMEOUT)
        except _FAILURES as error:
            return str(error) or type(error).__name__
        return None

    async def _ask(
        self, reports: Reports, address: str, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> None:
        tag = reports.tag(address)
        asked = {**headers, "If-None-Match": tag} if tag else headers
        try:
            # Whoever may label a pod may be asked instead of a gateway: they lead us nowhere, and fill no memory.
            going = self._session.get(_url(address), headers=asked, timeout=timeout, allow_redirects=False)
            async with going as response:
                response.raise_for_status()
                body = await _body(response)
                if tag and response.status == HTTPStatus.NOT_MODIFIED:
                    reports.confirm(address, tag)
                else:
                    reports.take(address, body, response.headers.get("ETag"))
        except _FAILURES:
            reports.lose(address)
            raise


class _Namespace:
    """What is known of a namespace's gateways."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.at = float("-inf")
        self.reports = Reports()
        self.silent: set[str] = set()


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise ValueError(f"a report of more than {_MOST_BYTES // 2**20} MiB is none")
    return bytes(body)


def _url(address: str) -> str:
    return f"http://{address}:{GATEWAY_STATS_PORT}/v1/stats"
