"""INT8 where it does no harm: layers are ranked by what int8 does to the outputs, and the worst ones stay FP32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx import ModelProto

from trimtab.api.compression import Quantize
from trimtab.api.guardrail import Guardrail
from trimtab.api.quantities import drop_limit, fraction
from trimtab.workloads.compress.datasets import Array, Samples
from trimtab.workloads.compress.metrics import UnscorableError, judgement
from trimtab.workloads.compress.techniques.quantize.calibrating import JUDGED, error, observe, said, within
from trimtab.workloads.compress.techniques.quantize.layers import Layer, select
from trimtab.workloads.compress.techniques.quantize.static import watched, write_int8
from trimtab.workloads.compress.techniques.registry import Context

_RANKED_ON = 16  # samples: an order of layers needs fewer than a verdict
_OBSERVED, _RANKED = 0.2, 0.8  # shares of the time, for progress


def hybrid(step: Quantize, model: ModelProto, target: Path, context: Context) -> dict[str, Any]:
    """Write an int8 graph that keeps the fewest of the most sensitive layers in FP32.

    A layer's sensitivity is the relative error of the outputs when it alone is int8. Layers are kept in that order
    until the guardrail's limit holds on the calibration samples; the verdict itself is taken on others.
    """
    chosen, kept = select(model, step.keep or [], context)
    samples = context.data.calibration[context.field]
    ranges, _ = observe(model, watched(model, chosen), samples, within(context, 0.0, _OBSERVED))
    judged = samples.first(JUDGED * 2)
    wanted = said(context.folder / f"prepared-{context.seed}.onnx", judged, context)

    def write(layers: tuple[Layer, ...]) -> None:
        write_int8(model, layers, ranges, target, context)

    few = judged.first(_RANKED_ON)
    ranking_context, ranking = within(context, _OBSERVED, _RANKED), []
    for index, layer in enumerate(chosen):
        context.stop.check()
        ranking_context.tick(index / len(chosen), f"sensitivity of layer {index + 1} of {len(chosen)}")
        write((layer,))
        ranking.append((layer.name, error(wanted[: len(few)], said(target, few, context))))
    ranking.sort(key=lambda entry: (-entry[1], entry[0]))

    def holds(count: int) -> bool:
        context.stop.check()
        context.tick(_RANKED, f"int8 with {count} of {len(chosen)} layers kept")
        spared = {name for name, _ in ranking[:count]}
        write(tuple(layer for layer in chosen if layer.name not in spared))
        return limit_holds(context.data.guardrail, wanted, said(target, judged, context), judged)

    count = fewest(len(chosen), holds)
    held = holds(count)
    return {
        "calibrationSamples": len(samples),
        "reduceRange": context.reduce_range,
        "sensitivity": [[name, round(value, 6)] for name, value in ranking],
        "kept": sorted({*kept, *(name for name, _ in ranking[:count])}),
        "limitHeldInCalibration": held,
    }


def fewest(most: int, holds: Callable[[int], bool]) -> int:
    """Return the smallest count from 0 to `most` that holds, taking it that more always hold where fewer do.

    Doubling first: few layers are bad as a rule, and every question costs a graph. `most` is returned without asking.
    """
    low, high = -1, 0
    while high < most and not holds(high):
        low, high = high, max(2 * high, 1)
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def limit_holds(guardrail: Guardrail, wanted: Array, found: Array, samples: Samples) -> bool:
    """Tell whether the drop on some samples is within the guardrail's limit; without labels, by the error alone.

    The drop itself is compared, not its interval: so few samples prove nothing, and the guardrail judges afterwards.
    """
    limit = drop_limit(guardrail.max_drop)
    try:
        judged = judgement(
            guardrail.metric, wanted, found, samples.y, limit, fraction(guardrail.confidence), 1, guardrail.top_k
        )
    except (UnscorableError, ValueError):
        return error(wanted, found) <= limit.value
    return judged.drop <= judged.limit
