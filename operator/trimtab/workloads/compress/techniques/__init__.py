"""The steps of a recipe by technique. Importing this package imports torch."""

from trimtab.workloads.compress.techniques import (  # registers
    cluster,
    compile,  # noqa: A004
    distill,
    finetune,
    prune,
    quantize,
    reduce,
)
from trimtab.workloads.compress.techniques.registry import Context, Model, StepReport, run_step

__all__ = [
    "Context",
    "Model",
    "StepReport",
    "cluster",
    "compile",
    "distill",
    "finetune",
    "prune",
    "quantize",
    "reduce",
    "run_step",
]
