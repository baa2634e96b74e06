"""The steps of a recipe by technique. Importing this package imports torch."""

from trimtab.workloads.compress.techniques import compile, distill, finetune, prune, quantize, reduce  # noqa: A004 - registers
from trimtab.workloads.compress.techniques.registry import Context, Model, StepReport, run_step

__all__ = ["Context", "Model", "StepReport", "compile", "distill", "finetune", "prune", "quantize", "reduce", "run_step"]
