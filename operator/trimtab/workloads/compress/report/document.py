"""What a run says about itself: report.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.api.runs import RunResult, RunSpec
from trimtab.api.status import ArtifactStatus, GuardrailStatus
from trimtab.version import __version__
from trimtab.workloads.compress.machine import Machine
from trimtab.workloads.compress.search.summary import recipe_yaml

if TYPE_CHECKING:
    from trimtab.workloads.compress.judging import Finding
    from trimtab.workloads.compress.recipe import PlacedStep
    from trimtab.workloads.compress.techniques.registry import StepReport  # brings torch, which reading needs not

REPORT = "report.json"
REPORT_FOLDER = "report"  # with a manifest of its own: what it tells of times is no part of the artifact's identity


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that a run found out."""

    spec: RunSpec
    key: str
    source_digest: str
    data_digests: dict[str, str]
    machine: Machine
    steps: tuple[StepReport, ...]
    model_bytes: int
    source_bytes: int
    finding: Finding
    samples: int
    warnings: tuple[str, ...]
    recipe: tuple[PlacedStep, ...]
    reasons: tuple[str, ...] = ()
    """Why a preset chose the recipe."""
    search: dict[str, Any] | None = None
    """What a search tried and chose; None for a given recipe."""

    def document(self) -> dict[str, Any]:
        """Return the report: plain JSON."""
        return {
            "model": self.spec.model,
            "namespace": self.spec.namespace,
            "key": self.key,
            "rerun": self.spec.salt,
            "source": {"uri": self.spec.source.uri, "digest": self.source_digest, "bytes": self.source_bytes},
            "data": self.data_digests,
            "bytes": self.model_bytes,
            "recipe": [step.title for step in self.steps],
            "steps": [
                {"title": step.title, "technique": step.technique, "facts": dict(step.facts)} for step in self.steps
            ],
            "recipeYaml": recipe_yaml([placed.step.wire() for placed in self.recipe]),
            "why": list(self.reasons),
            "seeds": [placed.seed for placed in self.recipe],
            "guardrail": self.finding.guardrail.wire() if self.finding.guardrail else None,
            "maxDrop": self.spec.guardrail.max_drop,
            "samples": self.samples,
            "latencyMs": self.finding.latency_ms,
            "sourceLatencyMs": self.finding.source_latency_ms,
            "latencies": {
                "baseline": [float(f"{time:.4g}") for time in self.finding.latency.baseline],
                "candidate": [float(f"{time:.4g}") for time in self.finding.latency.candidate],
            },
            "evidence": self.finding.evidence,
            "search": self.search,
            "warnings": list(self.warnings),
            "environment": {
                "trimtab": __version__,
                "cpu": self.machine.cpu,
                "threads": self.machine.threads,
                "vnni": self.machine.vnni,
                "libraries": self.machine.libraries,
            },
        }


def result_of(report: dict[str, Any], uri: str, digest: str, *, reused: bool) -> RunResult:
    """Return what the Job answers, from a report and where its artifact is."""
    guardrail = report["guardrail"]
    return RunResult(
        artifact=ArtifactStatus(uri=uri, digest=digest, bytes=report["bytes"], source_bytes=report["source"]["bytes"]),
        guardrail=GuardrailStatus.model_validate(guardrail) if guardrail else None,
        latency_ms=report["latencyMs"],
        source_latency_ms=report["sourceLatencyMs"],
        reused=reused,
        recipe=report["recipe"],
    )


def read_report(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / REPORT).read_bytes())
    return document
