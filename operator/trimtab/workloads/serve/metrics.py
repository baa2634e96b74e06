"""What the pod tells Prometheus: counts and histograms of inference requests, without a client library.

A histogram here is a list of counts and a bisection, so that measuring costs the hot path next to nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from trimtab.version import __version__

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Histogram:
    """Counts of observations up to each bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Iterable[float]) -> None:
        for value in values:
            self.counts[bisect_left(self.bounds, value)] += 1
            self.total += value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        cumulated = 0
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), self.counts, strict=True):
            cumulated += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {cumulated}'
        yield f"{name}_sum{{{labels}}} {self.total!r}"
        yield f"{name}_count{{{labels}}} {cumulated}"


class Metrics:
    """One model's numbers; `model` and `revision` label each of them."""

    def __init__(self, model: str, revision: str) -> None:
        self.labels = f'model="{_escaped(model)}",revision="{_escaped(revision)}"'
        self.max_concurrency = 0  # nothing is welcome before there is a model
        self.requests: dict[int, int] = {}
        self.request_seconds = Histogram(SECONDS)
        self.queue_seconds = Histogram(SECONDS)
        self.batch_rows = Histogram(ROWS)
        self.in_flight = 0
        self.queue_depth = 0
        self.cache_hits = 0
        self.cache_misses = 0
        self.cache_joined = 0
        self.cache_entries = 0
        self.abandoned = 0
        self.loads = 0
        self.loaded = False
        self.load_seconds = 0.0
        self.memory_bytes = 0

    def batch_started(self, requests: int, rows: int) -> None:  # noqa: ARG002 - rows are what costs time
        self.batch_rows.observe(rows)

    def queue_left(self, seconds: Iterable[float]) -> None:
        self.queue_seconds.observe_all(seconds)

    def answered(self, status: int, seconds: float) -> None:
        """Count an inference request from its first byte to its answer."""
        self.requests[status] = self.requests.get(status, 0) + 1
        self.request_seconds.observe(seconds)


_HISTOGRAMS = (
    ("request_duration_seconds", "request_seconds", "From the first byte of a request to its answer."),
    ("queue_duration_seconds", "queue_seconds", "From the first byte of a request to the start of its run."),
    ("batch_rows", "batch_rows", "Rows that ran together."),
)
_NUMBERS = (
    ("in_flight_requests", "gauge", "in_flight", "Inference requests taken and not yet answered."),
    ("queue_depth_requests", "gauge", "queue_depth", "Inference requests that no batch has taken yet."),
    ("max_concurrency_requests", "gauge", "max_concurrency", "Requests that this pod should be given at once."),
    ("abandoned_requests_total", "counter", "abandoned", "Requests whose client left before their run."),
    ("cache_hits_total", "counter", "cache_hits", "Requests answered from the response cache."),
    ("cache_misses_total", "counter", "cache_misses", "Requests that the response cache had no answer for."),
    ("cache_joined_total", "counter", "cache_joined", "Requests that waited for the answer to an equal one."),
    ("cache_entries", "gauge", "cache_entries", "Answers in the response cache."),
    ("loads_total", "counter", "loads", "Times that the model was loaded."),
    ("load_duration_seconds", "gauge", "load_seconds", "From the start of the last load to the first answer."),
    ("model_loaded", "gauge", "loaded", "Whether the model is in memory."),
    ("model_memory_bytes", "gauge", "memory_bytes", "Memory that the model took when it was loaded."),
)


def render(models: Sequence[Metrics]) -> bytes:
    """Return the numbers of all models in Prometheus' text format, version 0.0.4."""
    lines: list[str] = []
    _family(lines, "requests_total", "counter", "Inference requests by status code of the answer.")
    for model in models:
        for code, count in sorted(model.requests.items()):
            lines.append(f'trimtab_serve_requests_total{{{model.labels},code="{code}"}} {count}')
    for name, attribute, text in _HISTOGRAMS:
        _family(lines, name, "histogram", text)
        for model in models:
            histogram: Histogram = getattr(model, attribute)
            lines.extend(histogram.lines(f"trimtab_serve_{name}", model.labels))
    for name, kind, attribute, text in _NUMBERS:
        _family(lines, name, kind, text)
        lines.extend(_values(name, attribute, models))
    _family(lines, "model_info", "gauge", "What this pod serves; always 1.")
    lines.extend(f'trimtab_serve_model_info{{{model.labels},version="{__version__}"}} 1' for model in models)
    lines.append("")
    return "\n".join(lines).encode()


def _values(name: str, attribute: str, models: Iterable[Metrics]) -> Iterator[str]:
    for model in models:
        value = getattr(model, attribute)
        yield f"trimtab_serve_{name}{{{model.labels}}} {int(value) if isinstance(value, bool) else value}"


def _family(lines: list[str], name: str, kind: str, text: str) -> None:
    lines += (f"# HELP trimtab_serve_{name} {text}", f"# TYPE trimtab_serve_{name} {kind}")


def _number(value: float) -> str:
    return f"{value:g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
