"""What a recipe needs of the machine that a run is on, looked at before anything takes its time."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.api.compression import CompileEngine, Device, Precision, Scheme
from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.planning.devices import FOREIGN
from trimtab.workloads.compress.machine import Machine
from trimtab.workloads.compress.recipe import PlacedStep
from trimtab.workloads.serve.devices import require_device


def require_target(device: Device) -> None:
    """Check that this image can judge what is to run on a device; what it cannot run there, it judges on a CPU.

    Raises:
        Stalled: NotSupported, it lacks the engine's part for the device.
    """
    if device not in FOREIGN:
        require_device(device)


def require_means(steps: Sequence[PlacedStep], machine: Machine) -> None:
    """Check that this image and CPU have what the steps need.

    Raises:
        Stalled: NotSupported, naming the field, what is missing and the remedy.
    """
    for placed in steps:
        if placed.precision is Precision.BF16 and not machine.bf16:
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"{placed.field}.precision: BF16, but this CPU ({machine.cpu}) has no instructions for it and would "
                "take many times longer; use Auto, or let the Job run on nodes with AVX512_BF16 or AMX "
                "(spec.compression.job.pool)",
            )
        quantize = placed.step.quantize
        if quantize is not None and quantize.scheme is Scheme.BF16 and not machine.bf16:
            raise Stalled(
                Reason.NOT_SUPPORTED,
                f"{placed.field}.scheme: BF16, but this CPU ({machine.cpu}) has no instructions for it, and an engine "
                "would emulate it; use FP16, or let Job and replicas run on nodes with AVX512_BF16 or AMX "
                "(spec.compression.job.pool, spec.capacity.pools)",
            )
        if placed.step.compile is not None and placed.engine is CompileEngine.AOT_INDUCTOR:
            from trimtab.workloads.compress.aotinductor import require_compiler

            require_compiler(placed.field)
