"""Prometheus as the source of models' load: a few queries for all models, however many there are."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from trimtab.api.names import Key
from trimtab.planning.loads import Load

log = structlog.get_logger(__name__)

_FRESH_S = 2.0
_TIMEOUT_S = 5
_CPU = 'container_cpu_usage_seconds_total{container="serve"}'
_BY_MODEL = "sum by (namespace, model)"
Series = dict[tuple[str, str], float]


def queries(window_s: float) -> dict[str, str]:
    """Return what Prometheus is asked, by what it answers.

    Only samples of the last `window_s` seconds count, not of the five minutes that Prometheus looks back by itself: a
    target that fell silent has no load, rather than the one that it had. A rate takes two of them.
    """

    def last(name: str) -> str:
        return f"last_over_time(trimtab_gateway_{name}[{window_s:.0f}s])"

    def rate(series: str) -> str:
        return f"rate({series}[{window_s:.0f}s])"

    return {
        "in_flight": f"{_BY_MODEL} ({last('in_flight')})",
        "queued": f"{_BY_MODEL} ({last('queued')})",
        "rate": f"{_BY_MODEL} ({rate('trimtab_gateway_requests_total')})",
        "latency": f"max by (namespace, model) ({last('request_duration_seconds')})",
        "gateways": f"count by (namespace) ({last('up')} == 1)",
        "cpu": f"sum by (namespace, pod) ({rate(_CPU)})",
    }


@dataclass(frozen=True, slots=True)
class _Answers:
    at: float
    """When Prometheus was asked, Unix seconds."""
    series: Mapping[str, Series] = field(default_factory=dict)


class PrometheusSignals:
    """Asks one Prometheus. What does not answer, or knows nothing of a model, is no load of zero."""

    def __init__(
        self,
        url: str,
        window_s: float,
        clock: Callable[[], float],
        token_file: Path | None = None,
    ) -> None:
        """`window_s` is how old a sample may be, `clock` in Unix seconds; `token_file` is read at every question."""
        self._url = url
        self._queries = queries(window_s)
        self._clock = clock
        self._token_file = token_file
        # One thread: the client's session is not made for several.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="prometheus")
        self._lock = asyncio.Lock()
        self._answers: _Answers | None = None
        self._asked_at = -math.inf
        self._silent = False

    async def load(self, key: Key, gateways: int) -> Load | None:
        """Return a model's load, None where it is not known: also while fewer than `gateways` of them report."""
        async with self._lock:
            if self._clock() - self._asked_at >= _FRESH_S:
                self._asked_at = self._clock()
                self._answers = await self._ask()
            answers = self._answers
        if answers is None or answers.series["gateways"].get((key.namespace, ""), 0) < max(gateways, 1):
            return None
        latency = answers.series["latency"].get(key)
        return Load(
            at=answers.at,
            in_flight=answers.series["in_flight"].get(key),
            queued=answers.series["queued"].get(key),
            rate=answers.series["rate"].get(key),
            latency_ms=None if latency is None else 1000 * latency,
            cpu={pod: cores for (namespace, pod), cores in answers.series["cpu"].items() if namespace == key.namespace},
        )

    async def close(self) -> None:
        """End the thread, once the question that runs has been answered."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    async def _ask(self) -> _Answers | None:
        from prometheus_api_client import PrometheusApiClientException  # noqa: PLC0415
        from requests import RequestException  # noqa: PLC0415

        at = self._clock()
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, self._query_all)
        except (RequestException, PrometheusApiClientException, OSError, ValueError, KeyError) as error:
            if not self._silent:  # once, not at every question
                log.warning("prometheus.fell_silent", url=self._url, error=str(error) or type(error).__name__)
            self._silent = True
            return None
        if self._silent:
            log.info("prometheus.answered_again", url=self._url)
        self._silent = False
        return _Answers(at, found)

    def _query_all(self) -> dict[str, Series]:
        from prometheus_api_client import PrometheusConnect  # noqa: PLC0415 - costs what only its users should pay
        from requests.packages.urllib3.util.retry import Retry  # noqa: PLC0415

        token = self._token_file.read_text().strip() if self._token_file is not None else None
        headers = {"Authorization": f"Bearer {token}"} if token else None
        # Whoever asks every other second need not try again in between.
        with PrometheusConnect(self._url, headers=headers, retry=Retry(0), timeout=_TIMEOUT_S) as prometheus:
            return {name: dict(_series(prometheus.custom_query(text))) for name, text in self._queries.items()}


def _series(result: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield the values of an instant vector by namespace and model, pod, or nothing; what is no number is left out."""
    for entry in result:
        labels = entry["metric"]
        value = float(entry["value"][1])
        if math.isfinite(value) and "namespace" in labels:
            yield (labels["namespace"], labels.get("model") or labels.get("pod") or ""), value
