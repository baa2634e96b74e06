"""The guardrail applied: outputs, scores, interval, latency, verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.api.compression import Device
from trimtab.api.conditions import Reason
from trimtab.api.guardrail import GuardrailMode, Verdict
from trimtab.api.quantities import drop_limit, fraction, seconds
from trimtab.api.runs import RunSpec
from trimtab.api.status import GuardrailStatus
from trimtab.errors import Stalled
from trimtab.planning.devices import FOREIGN
from trimtab.store import join
from trimtab.workloads.compress.baselines import Baselines, baseline_key
from trimtab.workloads.compress.data import RunData
from trimtab.workloads.compress.evaluate import Latency, Served, interleaved_latency, reference_device
from trimtab.workloads.compress.machine import Machine
from trimtab.workloads.compress.metrics import UnscorableError, judgement
from trimtab.workloads.compress.report.evidence import Outputs, evidence
from trimtab.workloads.compress.stopping import Stop


@dataclass(frozen=True, slots=True)
class Finding:
    """What the evaluation found."""

    guardrail: GuardrailStatus | None
    latency: Latency
    classes: int
    evidence: dict[str, Any] | None = None
    """What the report draws, as `report.evidence` returns it; None where nothing was judged."""

    @property
    def latency_ms(self) -> str:
        return f"{self.latency.candidate_ms:.3f}"

    @property
    def source_latency_ms(self) -> str:
        return f"{self.latency.baseline_ms:.3f}"


def judge(
    spec: RunSpec,
    machine: Machine,
    baseline: Path,
    candidate: Path,
    data: RunData,
    stop: Stop,
    tick: Callable[[float, str], None],
) -> Finding:
    """Run both models on the same samples in the serving engine, on the device that serves.

    The baseline, in ONNX Runtime, runs on a GPU or a CPU.

    Raises:
        Stalled: A model does not take the samples, or answers with something that the metric cannot be told from.
    """
    samples = data.evaluation
    target = spec.compression.target.device
    before_on = reference_device(target)
    after_on = Device.CPU if target in FOREIGN else target
    first = Served(baseline, machine.threads, samples, "spec.source.uri", before_on)
    second = Served(candidate, machine.threads, samples, "the compressed model", after_on)
    latency = interleaved_latency(first, second, samples, time.perf_counter, stop)
    answer = first.answer(samples.first(1))
    classes = int(answer.shape[1]) if answer.ndim == 2 else 0  # a model that gives classes has no scores to count
    guardrail = spec.guardrail
    if guardrail.mode is GuardrailMode.DISABLED:
        return Finding(None, latency, classes)
    if classes > 1:
        data.require_labels_below(classes)
    tick(0.0, f"{len(samples):,} samples")
    kept = Baselines(join(spec.output, spec.model, "baselines"), "spec.compression.output.uri")
    key = baseline_key(baseline, samples, machine, before_on)
    before = kept.outputs(key, lambda: first.outputs(samples, stop, lambda done: tick(done / 2, "baseline")))
    after = second.outputs(samples, stop, lambda done: tick(0.5 + done / 2, "compressed model"))
    limit, confidence = drop_limit(guardrail.max_drop), fraction(guardrail.confidence)
    try:
        judged = judgement(
            guardrail.metric, before, after, samples.y, limit, confidence, guardrail.min_samples, guardrail.top_k
        )
    except UnscorableError as error:
        raise Stalled(Reason.SOURCE_INVALID, f"spec.guardrail.metric: {guardrail.metric}: {error}") from error
    except ValueError as error:
        raise Stalled(Reason.INVALID_SPEC, f"spec.guardrail.confidence: {error}") from error
    shown = evidence(Outputs(before, after, samples.y), guardrail)
    status = _with_place(_with_latency(judged.status(), spec, latency.candidate_ms), target)
    return Finding(status, latency, classes, shown)


def _with_place(status: GuardrailStatus, target: Device) -> GuardrailStatus:
    """Say where a model was judged that no engine here runs on its device."""
    if target not in FOREIGN:
        return status
    sentence = f"judged in ONNX Runtime on a CPU, which proves nothing of the {target}"
    return status.model_copy(update={"message": f"{status.message}; {sentence}"})


def _with_latency(status: GuardrailStatus, spec: RunSpec, median_ms: float) -> GuardrailStatus:
    """Fail a model that is too slow, however accurate it is."""
    if spec.guardrail.max_latency is None:
        return status
    limit_ms = seconds(spec.guardrail.max_latency) * 1000
    sentence = f"median latency {median_ms:.3g} ms, limit {limit_ms:g} ms"
    verdict = status.verdict if median_ms <= limit_ms else Verdict.FAILED
    return status.model_copy(update={"verdict": verdict, "message": f"{status.message}; {sentence}"})
