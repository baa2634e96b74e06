"""What the API can say but this version does not do: refused with a reason, never silently ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from trimtab.api.base import CapacityType
from trimtab.api.capacity import CapacityPoolSpec
from trimtab.api.compression import (
    CompileEngine,
    Compression,
    Preset,
    PruneMethod,
    PruneSchedule,
    QuantizeMethod,
    Scheme,
    Step,
)
from trimtab.api.conditions import Reason
from trimtab.api.guardrail import GuardrailMode, OnFail
from trimtab.api.optimizedmodel import OptimizedModelSpec
from trimtab.api.serving import Engine, ScalingMetric
from trimtab.errors import Stalled
from trimtab.planning.devices import objections
from trimtab.planning.settings import Settings


class Refusal(NamedTuple):
    """A field whose value does nothing yet, and what to write instead."""

    field: str
    value: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.value} is not supported by this version; {self.remedy}"


SCHEMES = ("file", "s3")
_COMPILED_FOR = {
    Engine.ONNX_RUNTIME: CompileEngine.ONNX_RUNTIME,
    Engine.OPEN_VINO: CompileEngine.OPEN_VINO,
    Engine.TORCH: CompileEngine.AOT_INDUCTOR,
}


def refusals(spec: OptimizedModelSpec) -> list[Refusal]:
    """Return every part of a spec that this version does not do."""
    found = list(_source(spec))
    found += _compression(spec)
    found += _guardrail(spec)
    found += _serving(spec)
    if spec.reoptimize is not None:
        found.append(Refusal("spec.reoptimize", "continuous optimisation", "remove it and use spec.rerun.reason"))
    return found


def require_metric(spec: OptimizedModelSpec, settings: Settings) -> None:
    """Check that the installation measures what a model is to follow.

    Raises:
        Stalled: NotSupported.
    """
    if spec.serving.scaling.metric is ScalingMetric.CPU and settings.prometheus_url is None:
        remedy = "use another metric, or have the operator started with --prometheus-url: gateways measure no CPU"
        refusal = Refusal("spec.serving.scaling.metric", "CPU without Prometheus", remedy)
        raise Stalled(Reason.NOT_SUPPORTED, str(refusal))


def pool_refusals(spec: CapacityPoolSpec) -> list[Refusal]:
    """Return every part of a pool that this version does not do."""
    found = []
    if spec.instance_types and spec.provider.karpenter is None and spec.provider.labels is None:
        types = ", ".join(spec.instance_types)
        remedy = "leave it out: the provider's own group says what its machines are"
        found.append(Refusal("spec.instanceTypes", types, remedy))
    url = spec.interruption.queue_url
    if url is not None and url.split("://")[0] not in {"http", "https"}:
        remedy = "give the address of an SQS queue: https://sqs.<region>.amazonaws.com/<account>/<name>"
        found.append(Refusal("spec.interruption.queueUrl", url, remedy))
    if spec.capacity_type is CapacityType.RESERVED:  # no replica is ever placed by it
        remedy = "use OnDemand: what is reserved is taken first wherever it may be bought on demand"
        found.append(Refusal("spec.capacityType", "Reserved", remedy))
    return found


def _source(spec: OptimizedModelSpec) -> Iterator[Refusal]:
    uris = {
        "spec.source.uri": spec.source.uri,
        "spec.guardrail.dataset.uri": spec.guardrail.dataset.uri,
        "spec.compression.output.uri": spec.compression.output.uri if spec.compression.output else None,
    }
    for field, uri in uris.items():
        if uri is not None and uri.split("://")[0] not in SCHEMES:
            yield Refusal(field, uri, "use file:// or s3://")


def _compression(spec: OptimizedModelSpec) -> Iterator[Refusal]:
    compression = spec.compression
    search = compression.search
    if search is not None and spec.guardrail.mode is GuardrailMode.DISABLED:
        yield Refusal("spec.guardrail.mode", "Disabled with a search, which needs one to hold", "use Enforce or Report")
    for index, step in enumerate(search.space or () if search else ()):
        where = f"spec.compression.search.space[{index}]"
        yield from _step(where, step)
        if step.distill is not None and step.distill.student is not None and step.distill.student.uri is not None:
            remedy = "use width or depth, or give it in steps"
            yield Refusal(f"{where}.distill.student.uri", step.distill.student.uri, remedy)
    yield from (Refusal(*objection) for objection in objections(spec))
    if compression.workers > 1 and search is not None:
        remedy = "use 1: its recipes are compared by times that are taken in one pod"
        yield Refusal("spec.compression.workers", f"{compression.workers} with a search", remedy)
    for index, step in enumerate(compression.steps or ()):
        yield from _step(f"spec.compression.steps[{index}]", step)
    yield from _bf16(compression)


def _bf16(compression: Compression) -> Iterator[Refusal]:
    """Refuse BF16 where no engine would compute in it; a search may leave out the step that makes it one."""
    engines = [step.compile.engine for step in compression.steps or () if step.compile is not None]
    for index, step in enumerate(compression.steps or ()):
        if step.quantize is not None and step.quantize.scheme is Scheme.BF16 and CompileEngine.OPEN_VINO not in engines:
            remedy = "add a step compile: {engine: OpenVino}, or use FP16: ONNX Runtime has no BF16 kernels for CPUs"
            yield Refusal(f"spec.compression.steps[{index}].quantize.scheme", "BF16 without OpenVino", remedy)
    for index, step in enumerate(compression.search.space or () if compression.search else ()):
        if step.quantize is not None and step.quantize.scheme is Scheme.BF16:
            path = f"spec.compression.search.space[{index}].quantize.scheme"
            yield Refusal(path, "BF16 in a search", "give it in steps, with compile: {engine: OpenVino}")


def step_refusals(path: str, step: Step) -> list[Refusal]:
    """Return every part of a step that this version does not do; `path` is where it stands."""
    return list(_step(path, step))


def _step(path: str, step: Step) -> Iterator[Refusal]:
    for check in _STEP_CHECKS:
        yield from check(path, step)


def _prune(path: str, step: Step) -> Iterator[Refusal]:
    if step.prune is None:
        return
    if step.prune.epochs is not None and step.prune.schedule is not PruneSchedule.GRADUAL:
        remedy = "use schedule Gradual, or give the epochs to a finetune or distill step behind it"
        value = f"{step.prune.epochs} with schedule OneShot, where nothing trains,"
        yield Refusal(f"{path}.prune.epochs", value, remedy)
    if step.prune.method is PruneMethod.LAYERS and step.prune.scope is not None:
        yield Refusal(f"{path}.prune.scope", f"{step.prune.scope} with method Layers", "leave it out")


def _quantize(path: str, step: Step) -> Iterator[Refusal]:
    if step.quantize is None:
        return
    scheme, method = step.quantize.scheme, step.quantize.method
    if method is QuantizeMethod.QUANTIZATION_AWARE and scheme is not Scheme.INT8:
        yield Refusal(f"{path}.quantize.method", f"{method} with scheme {scheme}", "use scheme INT8, or PostTraining")
    if step.quantize.epochs is not None and method is not QuantizeMethod.QUANTIZATION_AWARE:
        remedy = "use method QuantizationAware, or remove it"
        value = f"{step.quantize.epochs} with method PostTraining, where nothing trains,"
        yield Refusal(f"{path}.quantize.epochs", value, remedy)


def _train(path: str, step: Step) -> Iterator[Refusal]:
    if step.distill is not None:
        student = step.distill.student
        if student is not None and student.uri is not None and student.uri.split("://")[0] not in SCHEMES:
            yield Refusal(f"{path}.distill.student.uri", student.uri, "use file:// or s3://")


_STEP_CHECKS: tuple[Callable[[str, Step], Iterator[Refusal]], ...] = (_prune, _quantize, _train)


def _guardrail(spec: OptimizedModelSpec) -> Iterator[Refusal]:
    engine = spec.serving.engine
    if spec.guardrail.on_fail is OnFail.SERVE_ORIGINAL and engine not in {Engine.AUTO, Engine.ONNX_RUNTIME}:
        remedy = "use Auto: the original is judged and served in OnnxRuntime"
        yield Refusal("spec.serving.engine", f"{engine} with guardrail.onFail: ServeOriginal", remedy)


def _engine(spec: OptimizedModelSpec) -> Iterator[Refusal]:
    """Refuse an engine that the steps do not compile for; presets and searches keep to the one that is named."""
    wanted, compression = spec.serving.engine, spec.compression
    if compression.search is not None and wanted not in {Engine.AUTO, Engine.ONNX_RUNTIME}:
        remedy = "use Auto or OnnxRuntime: a search starts from the original in ONNX Runtime and may deliver it"
        yield Refusal("spec.serving.engine", f"{wanted} with a search", remedy)
    keeps = compression.preset not in {None, Preset.NONE} and wanted is not Engine.TORCH
    if wanted is not Engine.AUTO and compression.search is None and not keeps:
        compiled = [step.compile.engine for step in compression.steps or () if step.compile is not None]
        engine = compiled[-1] if compiled else CompileEngine.ONNX_RUNTIME
        needed = _COMPILED_FOR[wanted]
        if engine is not needed:
            remedy = f"use Auto, or compression.steps with one compile: {{engine: {needed}}}"
            yield Refusal("spec.serving.engine", f"{wanted} for a model compiled for {engine}", remedy)


def _serving(spec: OptimizedModelSpec) -> Iterator[Refusal]:
    serving = spec.serving
    yield from _engine(spec)
    if serving.min_replicas == 0 and serving.scaling.idle_after is None:
        remedy = "set it: after so long without a request there is no replica"
        yield Refusal("spec.serving.scaling.idleAfter", "minReplicas 0 without it", remedy)
    if serving.grpc and serving.min_replicas == 0:
        yield Refusal("spec.serving.grpc", "true with minReplicas 0", "set minReplicas to 1: calls cannot wake a model")
    if serving.grpc and serving.load_balancing.session_affinity is not None:
        remedy = "leave out sessionAffinity: calls follow the policy alone"
        yield Refusal("spec.serving.grpc", "true with loadBalancing.sessionAffinity", remedy)
    known_unasked = {ScalingMetric.CONCURRENCY, ScalingMetric.REQUEST_RATE}
    if serving.scaling.metric not in known_unasked and serving.scaling.target is None:
        remedy = "set it: the metric's value per replica when fully used"
        yield Refusal("spec.serving.scaling.target", f"none with metric {serving.scaling.metric}", remedy)
    if serving.scaling.idle_after is not None and serving.min_replicas > 0:
        remedy = "set minReplicas to 0, or leave it out"
        yield Refusal("spec.serving.scaling.idleAfter", f"minReplicas {serving.min_replicas} with it", remedy)
    if serving.rollout.max_surge == 0 and serving.rollout.max_unavailable == 0:
        yield Refusal("spec.serving.rollout", "maxSurge 0 with maxUnavailable 0", "allow one of them, or nothing moves")
