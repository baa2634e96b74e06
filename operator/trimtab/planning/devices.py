"""What a recipe for a GPU, NPU, FPGA or TPU may hold: what the engines there take, and what can be proven there.

The verdict is one of the engine that serves, on the kind of device that it serves on. GPUs and NPUs have such an engine
here. FPGAs and TPUs have not: what is measured of their models is measured on a CPU, so that it can be told, but not
enforced.
"""

from __future__ import annotations

from collections.abc import Iterator

from trimtab.api.compression import CompileEngine, Device, Preset, Scheme
from trimtab.api.guardrail import GuardrailMode, OnFail
from trimtab.api.optimizedmodel import OptimizedModelSpec

Objection = tuple[str, str, str]
"""Field, value, remedy."""

FOREIGN = frozenset({Device.FPGA, Device.TPU})
"""Devices that no engine of ours runs on."""
_TARGET = "spec.compression.target.device"


def objections(spec: OptimizedModelSpec) -> Iterator[Objection]:
    """Yield what a spec asks for that is not done for its device."""
    device, compression = spec.compression.target.device, spec.compression
    if device is Device.CPU:
        return
    if compression.search is not None:
        yield "spec.compression.search", f"a search for {device}", "use steps: its recipes are timed on CPUs"
    elif compression.preset not in {None, Preset.NONE}:
        remedy = "use steps or preset None: presets choose what is fast on CPUs"
        yield "spec.compression.preset", f"{compression.preset} for {device}", remedy
    else:
        yield from _CHECKS[device](spec)


def _gpu(spec: OptimizedModelSpec) -> Iterator[Objection]:
    for index, step in enumerate(spec.compression.steps or ()):
        path = f"spec.compression.steps[{index}]"
        if step.quantize is not None and step.quantize.scheme is not Scheme.FP16:
            remedy = "use FP16: ONNX Runtime with CUDA has no kernels for the others"
            yield f"{path}.quantize.scheme", f"{step.quantize.scheme} for GPU", remedy
        if step.compile is not None:
            remedy = "remove the step: ONNX Runtime with CUDA takes the model as it is, and fuses as it loads"
            yield f"{path}.compile.engine", f"{step.compile.engine} for GPU", remedy


def _npu(spec: OptimizedModelSpec) -> Iterator[Objection]:
    steps = spec.compression.steps or ()
    if not any(step.compile is not None and step.compile.engine is CompileEngine.OPEN_VINO for step in steps):
        yield _TARGET, "NPU without OpenVino", "add a step compile: {engine: OpenVino}, the engine that runs on NPUs"
    for index, step in enumerate(steps):
        if step.quantize is not None and step.quantize.scheme is Scheme.BF16:
            yield f"spec.compression.steps[{index}].quantize.scheme", "BF16 for NPU", "use INT8 or FP16"
    if spec.guardrail.on_fail is OnFail.SERVE_ORIGINAL:
        remedy = "use KeepPrevious: the original is for ONNX Runtime, which does not run on NPUs"
        yield "spec.guardrail.onFail", "ServeOriginal for NPU", remedy


def _fpga(spec: OptimizedModelSpec) -> Iterator[Objection]:
    steps = spec.compression.steps or ()
    if not any(step.quantize is not None and step.quantize.scheme is Scheme.INT8 for step in steps):
        remedy = "add a step quantize: {scheme: INT8}: FINN and Vitis AI take ONNX with QDQ nodes"
        yield _TARGET, "FPGA without INT8", remedy
    yield from _foreign(spec)


def _tpu(spec: OptimizedModelSpec) -> Iterator[Objection]:
    for index, step in enumerate(spec.compression.steps or ()):
        if step.quantize is not None or step.cluster is not None:
            remedy = (
                "remove the step: the image that serves turns the network into what XLA takes, which is unquantized"
            )
            yield f"spec.compression.steps[{index}].{step.technique}", "for TPU", remedy
    yield from _foreign(spec)


def _foreign(spec: OptimizedModelSpec) -> Iterator[Objection]:
    device, guardrail = spec.compression.target.device, spec.guardrail
    for index, step in enumerate(spec.compression.steps or ()):
        if step.compile is not None:
            remedy = f"remove the step: the tools for {device}s start from the ONNX file"
            yield f"spec.compression.steps[{index}].compile.engine", f"{step.compile.engine} for {device}", remedy
    if guardrail.mode is GuardrailMode.ENFORCE:
        remedy = f"use Report or Disabled: no engine here runs on {device}s, so a verdict is a CPU's, and proves less"
        yield "spec.guardrail.mode", f"Enforce for {device}", remedy
    if guardrail.max_latency is not None:
        yield "spec.guardrail.maxLatency", f"{guardrail.max_latency} for {device}", "remove it: it would be a CPU's"
    if guardrail.on_fail is OnFail.SERVE_ORIGINAL:
        remedy = f"use KeepPrevious: nothing is kept from serving where no verdict is one of {device}s"
        yield "spec.guardrail.onFail", f"ServeOriginal for {device}", remedy


_CHECKS = {Device.GPU: _gpu, Device.NPU: _npu, Device.FPGA: _fpga, Device.TPU: _tpu}
