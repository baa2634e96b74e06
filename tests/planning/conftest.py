"""Builders of worlds: each gives a valid one, the test changes what it is about."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.api.conditions import Condition
from trimtab.api.gateway import EndpointState, EndpointStats, ModelStats
from trimtab.api.guardrail import Metric, Verdict
from trimtab.api.names import Key
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.runs import RunResult
from trimtab.api.status import ArtifactStatus, GuardrailStatus, OptimizedModelStatus
from trimtab.planning.settings import Settings
from trimtab.planning.snapshot import Owner, Snapshot

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key("default", "digits")


def spec_of(**changes: Any) -> OptimizedModelSpec:
    """Return the ten-line spec; keyword arguments replace its parts."""
    parts: dict[str, Any] = {
        "source": {"uri": "file:///models/digits"},
        "compression": {"preset": "Fast", "output": {"uri": "file:///artifacts"}},
        "guardrail": {"dataset": {"uri": "file:///data/digits.npz"}},
        "serving": {"maxReplicas": 4},
    }
    return OptimizedModelSpec.model_validate({**parts, **changes})


def verdict_of(verdict: Verdict, drop: float = 0.002) -> GuardrailStatus:
    return GuardrailStatus(
        verdict=verdict,
        metric=Metric.ACCURACY,
        baseline="0.98",
        candidate=str(0.98 - drop),
        drop=str(drop),
        lower=str(drop - 0.005),
        upper=str(drop + 0.005),
        limit="0.01",
        confidence="95%",
        samples=900,
        message=f"accuracy fell {100 * drop:.1f}pp, limit 1pp",
    )


def result_of(verdict: Verdict = Verdict.PASSED, digest: str = "sha256:" + "a" * 64) -> RunResult:
    artifact = ArtifactStatus(uri="file:///artifacts/x", digest=digest, bytes=100, source_bytes=1000)
    return RunResult(artifact=artifact, guardrail=verdict_of(verdict), latency_ms="0.2", source_latency_ms="0.5")


def traffic_of(*revisions: str, node: str = "node-a") -> ModelStats:
    """Return what a gateway says that has one healthy replica per name given."""
    return ModelStats(
        endpoints=[
            EndpointStats(
                address=f"127.1.0.{index}:8080",
                pod=f"{revision}-{index}",
                revision=revision,
                node=node,
                state=EndpointState.HEALTHY,
                max_concurrency=16,
            )
            for index, revision in enumerate(revisions)
        ]
    )


@pytest.fixture
def a_snapshot() -> Callable[..., Snapshot]:
    def build(**changes: Any) -> Snapshot:
        base = Snapshot(
            key=KEY,
            uid="uid-1",
            generation=1,
            spec=spec_of(),
            invalid=None,
            status=OptimizedModelStatus(),
            conditions=(),
            settings=Settings("trimtab/compress:1", "trimtab/serve:1", "trimtab/gateway:1"),
            now=NOW,
            owners=(Owner("digits", "uid-1"),),
            gateway_ready=True,
        )
        return replace(base, **changes)

    return build


@pytest.fixture
def after() -> Callable[..., Snapshot]:
    """Return the world after a plan was carried out: its status is what the next look sees."""

    def advance(snapshot: Snapshot, status: dict[str, Any], **changes: Any) -> Snapshot:
        parsed = OptimizedModelStatus.model_validate(status)
        conditions = tuple(Condition.read(entry) for entry in status.get("conditions", ()))
        return replace(snapshot, **{"status": parsed, "conditions": conditions, **changes})

    return advance


@pytest.fixture
def make() -> Any:
    """Return the parts that worlds are made of."""

    class Parts:
        spec = staticmethod(spec_of)
        result = staticmethod(result_of)
        verdict = staticmethod(verdict_of)
        traffic = staticmethod(traffic_of)
        now = NOW
        key = KEY

    return Parts
