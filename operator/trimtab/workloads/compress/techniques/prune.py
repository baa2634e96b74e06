"""Remove what matters least: channels and heads, single weights, or whole layers; at once or while training."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from trimtab.api.compression import Prune, PruneMethod, PruneSchedule, Scope
from trimtab.api.quantities import fraction
from trimtab.workloads.compress.network import tensors_of
from trimtab.workloads.compress.structure import Cut
from trimtab.workloads.compress.techniques.channels import cost, pruned, units
from trimtab.workloads.compress.techniques.gradual import CHANNEL_STAGES, WEIGHT_STAGES, pruned_gradually
from trimtab.workloads.compress.techniques.layers import layers_facts, shallower, without_layers
from trimtab.workloads.compress.techniques.magnitude import sparser, sparsity_facts
from trimtab.workloads.compress.techniques.registry import Context, Model, technique

__all__ = ["prune", "pruned"]


@technique(Prune)
def prune(step: Prune, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return a smaller or sparser network; after OneShot its accuracy suffers until a training step follows."""
    network = context.network(model)
    method, share = step.method or PruneMethod.STRUCTURED, fraction(step.sparsity)
    scope = step.scope or Scope.PER_LAYER
    facts: dict[str, Any] = {"method": method.value, "sparsity": step.sparsity}
    if method is PruneMethod.LAYERS and step.schedule is not PruneSchedule.GRADUAL:
        smaller, cut, more = shallower(network, share, _seen(context), context)
        return Model(network=smaller, cuts=(*model.cuts, cut)), facts | more | _costs(network, smaller, context)

    def cutter(current: nn.Module, gone: float) -> tuple[nn.Module, Cut]:
        if method is PruneMethod.MAGNITUDE:
            return sparser(current, gone, scope, context)
        if method is PruneMethod.LAYERS:
            return without_layers(current, gone, _seen(context), context, whole=network)
        return pruned(current, gone, scope, context, whole=network)

    if step.schedule is PruneSchedule.GRADUAL:
        stages = WEIGHT_STAGES if method is PruneMethod.MAGNITUDE else CHANNEL_STAGES
        smaller, cuts, more = pruned_gradually(network, share, stages, step.epochs, cutter, context)
        facts |= more
    else:
        smaller, cut = cutter(network, share)
        cuts = (cut,)
    if method is PruneMethod.LAYERS:
        facts |= layers_facts(network, smaller, cuts, _seen(context)) | _costs(network, smaller, context)
        return Model(network=smaller, cuts=(*model.cuts, *cuts)), facts
    if method is PruneMethod.MAGNITUDE:
        facts |= sparsity_facts(smaller)
    else:
        before, after = units(network, context), units(smaller, context)
        facts |= {"channelsRemovedPercent": round(100 * (1 - after / before), 1)}
        facts |= _costs(network, smaller, context)
    return Model(network=smaller, cuts=(*model.cuts, *cuts)), facts


def _seen(context: Context) -> dict[str, Tensor]:
    return tensors_of(context.data.calibration[context.field])


def _costs(network: nn.Module, smaller: nn.Module, context: Context) -> dict[str, Any]:
    macs_before, parameters_before = cost(network, context)
    macs, parameters = cost(smaller, context)
    return {
        "parametersBefore": parameters_before,
        "parametersAfter": parameters,
        "macsBefore": macs_before,
        "macsAfter": macs,
    }
