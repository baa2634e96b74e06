"""Accuracy and coverage: what a variant lost against eager PyTorch, with the interval that our guardrail uses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from compressing import ANSWERS, Variant
from samples import Data

from trimtab.api.guardrail import Metric
from trimtab.api.quantities import drop_limit
from trimtab.workloads.compress import coverage, openvino
from trimtab.workloads.compress.metrics import judgement

MAX_DROP = "1pp"
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How well a variant answers; shares of 1."""

    accuracy: float
    drop: float
    lower: float
    upper: float
    verdict: str
    cosine: float
    """Mean over the samples, of its logits and those of eager PyTorch."""


def fidelity(reference: Variant, variant: Variant, data: Data) -> Fidelity:
    before, after = np.load(reference.folder / ANSWERS), np.load(variant.folder / ANSWERS)
    limit = drop_limit(MAX_DROP)
    judged = judgement(Metric.ACCURACY, before, after, data.test_labels, limit, CONFIDENCE, 100, 1)
    return Fidelity(
        judged.candidate, judged.drop, judged.lower, judged.upper, judged.verdict.value, _cosine(before, after)
    )


def covered(variant: Variant) -> float | None:
    """Return the share of weights that are stored in fewer bits; None where it cannot be told."""
    told: float | None = variant.made["weights"]
    path = Path(variant.made["file"])
    if told is not None:
        return told
    if path.suffix == ".onnx":
        return _in_fewer_bits(onnx.load(path))
    return openvino.coverage(path).weights if path.suffix == ".xml" else None


def _in_fewer_bits(model: onnx.ModelProto) -> float:
    """Return the share of the numbers in tables; whichever operators a tool makes of its layers."""
    sizes = [(math.prod(tensor.dims), tensor.data_type) for tensor in model.graph.initializer if len(tensor.dims) > 1]
    small = coverage.BITS_8 | coverage.BITS_16
    return sum(size for size, kind in sizes if kind in small) / max(sum(size for size, _ in sizes), 1)


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first.astype(np.float64), second.astype(np.float64)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(1) / np.maximum(norms, 1e-12)).mean())
