"""What a recipe needs of the machine that a run is on, looked at before anything takes its time."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.api.compression import CompileEngine
from trimtab.workloads.compress.recipe import PlacedStep


def require_means(steps: Sequence[PlacedStep]) -> None:
    """Check that this image and CPU have what the steps need.

    Raises:
        Stalled: NotSupported, naming the field, what is missing and the remedy.
    """
    for placed in steps:
        if placed.step.compile is not None and placed.engine is CompileEngine.AOT_INDUCTOR:
            from trimtab.workloads.compress.aotinductor import require_compiler

            require_compiler(placed.field)
