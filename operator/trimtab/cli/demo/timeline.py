"""What the demo saw, as plain values: everything that the table, the JSON and the report are made from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at model and load; rates and percentiles are over the last few seconds."""

    at: float
    """Seconds since the load began."""
    wanted: int
    """Replicas that the autoscaler wants."""
    on_demand: int
    """Ready replicas on on-demand nodes."""
    spot: int
    """Ready replicas on spot nodes."""
    offered_per_s: float
    """Requests per second that the load aims at."""
    answered_per_s: float
    """Requests per second that were answered."""
    p95_ms: float
    """Of the answers, milliseconds."""
    sent: int
    """Requests so far."""
    failed: int
    """Of them without a right answer."""
    cost_per_hour: float
    """Of the replicas, from the pools' prices."""
    all_on_demand_per_hour: float
    """The same replicas on on-demand nodes alone."""

    @property
    def ready(self) -> int:
        return self.on_demand + self.spot


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened."""

    at: float
    """Seconds since the load began."""
    text: str
    kind: Literal["decision", "interruption", "replaced", "load"]


@dataclass(frozen=True, slots=True)
class Proof:
    """What the compression Job proved; scores are shares of 1, latencies milliseconds."""

    bytes_before: int
    bytes_after: int
    accuracy_before: float
    accuracy_after: float
    drop: float
    lower: float
    upper: float
    limit: float
    confidence: str
    samples: int
    verdict: str
    message: str
    latency_before_ms: float
    latency_after_ms: float

    @classmethod
    def read(cls, status: dict[str, Any]) -> Proof:
        """Read it from an OptimizedModel's status with an active revision."""
        revision = status["activeRevision"]
        guardrail = revision.get("guardrail") or status["guardrail"]
        return cls(
            bytes_before=int(revision["artifact"]["sourceBytes"]),
            bytes_after=int(revision["artifact"]["bytes"]),
            accuracy_before=float(guardrail["baseline"]),
            accuracy_after=float(guardrail["candidate"]),
            drop=float(guardrail["drop"]),
            lower=float(guardrail["lower"]),
            upper=float(guardrail["upper"]),
            limit=float(guardrail["limit"]),
            confidence=str(guardrail["confidence"]),
            samples=int(guardrail["samples"]),
            verdict=str(guardrail["verdict"]),
            message=str(guardrail.get("message", "")),
            latency_before_ms=float(revision.get("sourceLatencyMs") or math.nan),
            latency_after_ms=float(revision.get("latencyMs") or math.nan),
        )


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of the load."""

    sent: int
    failed: int
    right: int
    """Answers that named the digit that a person had written."""
    p50_ms: float
    p95_ms: float
    failures: tuple[str, ...] = ()
    """The first few, in words."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole demo."""

    proof: Proof
    requests: Requests
    interruptions: int
    samples: tuple[Sample, ...]
    marks: tuple[Mark, ...]
    seconds: float
    """From start to end."""

    @property
    def peak(self) -> Sample:
        """The first moment with the most ready replicas."""
        return max(self.samples, key=lambda sample: sample.ready)

    def to_json(self) -> dict[str, Any]:
        """Return what `--output json` prints; scores are shares of 1, costs per hour in the pools' currency."""
        proof, requests, peak = self.proof, self.requests, self.peak
        cost, alternative = average_cost(self.samples)
        return {
            "requests": {
                "sent": requests.sent,
                "failed": requests.failed,
                "p95Ms": round(requests.p95_ms, 2),
                "p50Ms": round(requests.p50_ms, 2),
                "accuracy": round(requests.right / max(1, requests.sent - requests.failed), 4),
                "failures": list(requests.failures),
            },
            "model": {
                "bytesBefore": proof.bytes_before,
                "bytesAfter": proof.bytes_after,
                "accuracyBefore": proof.accuracy_before,
                "accuracyAfter": proof.accuracy_after,
                "drop": proof.drop,
                "interval": [proof.lower, proof.upper],
                "verdict": proof.verdict,
                "latencyBeforeMs": _number(proof.latency_before_ms),
                "latencyAfterMs": _number(proof.latency_after_ms),
            },
            "capacity": {
                "onDemand": peak.on_demand,
                "spot": peak.spot,
                "interruptions": self.interruptions,
                "costPerHour": round(cost, 4),
                "allOnDemandPerHour": round(alternative, 4),
            },
            "seconds": round(self.seconds, 1),
        }

    def recording(self) -> dict[str, Any]:
        """Return everything, for other tools to draw."""
        return {
            **self.to_json(),
            "samples": [asdict(sample) for sample in self.samples],
            "marks": [asdict(mark) for mark in self.marks],
        }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed; 0 where there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def average_cost(samples: Sequence[Sample]) -> tuple[float, float]:
    """Return cost and all-on-demand cost per hour, averaged over time; a sample holds until the next."""
    if not samples:
        return 0.0, 0.0
    spans = [after.at - before.at for before, after in itertools.pairwise(samples)]
    total = sum(spans)
    if total <= 0:
        return samples[-1].cost_per_hour, samples[-1].all_on_demand_per_hour
    cost = sum(span * sample.cost_per_hour for span, sample in zip(spans, samples, strict=False))
    alternative = sum(span * sample.all_on_demand_per_hour for span, sample in zip(spans, samples, strict=False))
    return cost / total, alternative / total


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
