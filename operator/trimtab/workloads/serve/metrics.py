"""What the pod tells Prometheus: counts and histograms of inference requests, without a client library.

A histogram here is a list of counts and a bisection, so that measuring costs the hot path next to nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

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

    def lines(self, name: str, labels: str) -> Iterator[str]:
        cumulated = 0
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), self.counts, strict=True):
            cumulated += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {cumulated}'
        yield f"{name}_sum{{{labels}}} {self.total!r}"
        yield f"{name}_count{{{labels}}} {cumulated}"


class Metrics:
    """One pod's numbers; `model` and `revision` label each of them."""

    def __init__(self, model: str, revision: str) -> None:
        self._labels = f'model="{_escaped(model)}",revision="{_escaped(revision)}"'
        self.max_concurrency = 0  # nothing is welcome before there is a model
        self.requests: dict[int, int] = {}
        self.request_seconds = Histogram(SECONDS)
        self.queue_seconds = Histogram(SECONDS)
        self.batch_rows = Histogram(ROWS)
        self.in_flight = 0

    def batch_started(self, requests: int, rows: int) -> None:  # noqa: ARG002 - rows are what costs time
        self.batch_rows.observe(rows)

    def queue_left(self, seconds: float) -> None:
        self.queue_seconds.observe(seconds)

    def answered(self, status: int, seconds: float) -> None:
        """Count an inference request from its first byte to its answer."""
        self.requests[status] = self.requests.get(status, 0) + 1
        self.request_seconds.observe(seconds)

    def render(self, queue_depth: int) -> bytes:
        """Return everything in Prometheus' text format, version 0.0.4."""
        lines: list[str] = []
        add = lines.extend
        add(_family("requests_total", "counter", "Inference requests by status code of the answer."))
        add(
            f'trimtab_serve_requests_total{{{self._labels},code="{code}"}} {count}'
            for code, count in sorted(self.requests.items())
        )
        for name, histogram, text in (
            ("request_duration_seconds", self.request_seconds, "From the first byte of a request to its answer."),
            ("queue_duration_seconds", self.queue_seconds, "From the first byte of a request to the start of its run."),
            ("batch_rows", self.batch_rows, "Rows that ran together."),
        ):
            add(_family(name, "histogram", text))
            add(histogram.lines(f"trimtab_serve_{name}", self._labels))
        for name, value, text in (
            ("in_flight_requests", self.in_flight, "Inference requests taken and not yet answered."),
            ("queue_depth_requests", queue_depth, "Inference requests that no batch has taken yet."),
            ("max_concurrency_requests", self.max_concurrency, "Requests that this pod should be given at once."),
        ):
            add(_family(name, "gauge", text))
            lines.append(f"trimtab_serve_{name}{{{self._labels}}} {value}")
        add(_family("model_info", "gauge", "What this pod serves; always 1."))
        lines.append(f'trimtab_serve_model_info{{{self._labels},version="{__version__}"}} 1')
        lines.append("")
        return "\n".join(lines).encode()


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP trimtab_serve_{name} {text}", f"# TYPE trimtab_serve_{name} {kind}"


def _number(value: float) -> str:
    return f"{value:g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
