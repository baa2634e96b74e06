"""Remove whole channels, and everything that depends on them."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch_pruning
from torch import nn

from trimtab.api.compression import Prune, Scope
from trimtab.api.conditions import Reason
from trimtab.api.quantities import fraction
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.structure import Cut, as_arguments, channels_cut
from trimtab.workloads.compress.techniques.registry import Context, Model, technique

_MOST = 0.9  # of one layer: competing for a global budget may not empty it
_ROUND = 8  # channels per SIMD lane: fewer than a lane cost as much as a lane


@technique(Prune)
def prune(step: Prune, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return a smaller network; its accuracy suffers until a training step follows."""
    network = context.network(model)
    smaller, cut = pruned(network, fraction(step.sparsity), step.scope or Scope.PER_LAYER, context)
    macs_before, parameters_before = cost(network, context)
    macs, parameters = cost(smaller, context)
    return Model(network=smaller, cuts=(*model.cuts, cut)), {
        "sparsity": step.sparsity,
        "parametersBefore": parameters_before,
        "parametersAfter": parameters,
        "macsBefore": macs_before,
        "macsAfter": macs,
    }


def pruned(network: nn.Module, share: float, scope: Scope, context: Context) -> tuple[nn.Module, Cut]:
    """Return a copy without `share` of its channels, those with the smallest norm over all layers they touch.

    The cut tells which; `cut_again` makes it on another copy of the source.

    The classifier keeps its outputs. Source: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.

    Raises:
        Stalled: StepHadNoEffect, nothing could be removed; StepFailed, the network's structure does not allow it.
    """
    copied = copy.deepcopy(network).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(True)  # the dependency graph is read from gradients
    try:
        with torch.enable_grad():
            pruner = torch_pruning.pruner.BasePruner(
                copied,
                _example(context),
                importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
                global_pruning=scope is Scope.GLOBAL,
                pruning_ratio=share,
                max_pruning_ratio=max(_MOST, share),
                ignored_layers=_heads(copied, context.outputs),
                round_to=_rounding(copied),
            )
            pruner.step()
            forward(copied, tensors_of(context.data.evaluation.first(1)))
    except Exception as error:
        raise context.failed(
            Reason.STEP_FAILED,
            f"the network's structure cannot be pruned ({type(error).__name__}: {str(error)[:200]}); only quantize it",
        ) from error
    if _parameters(copied) == _parameters(network):
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            f"{share:.0%} of the channels, rounded to whole ones of this network, is none; raise the share, or remove "
            "the step",
        )
    return copied, channels_cut(pruner.DG.pruning_history())


def cost(network: nn.Module, context: Context) -> tuple[int, int]:
    """Return multiply-accumulates per sample, and parameters."""
    macs, parameters = torch_pruning.utils.count_ops_and_params(copy.deepcopy(network), _example(context))
    return int(macs), int(parameters)


def _example(context: Context) -> Any:
    return as_arguments(tensors_of(context.data.evaluation.first(1)))


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _heads(network: nn.Module, outputs: int) -> list[nn.Module]:
    """Return the layers that give the answer: the last one with that many outputs."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv1d)]
    heads = [layer for layer in layers if _outputs(layer) == outputs]
    return heads[-1:] or layers[-1:]


def _outputs(layer: nn.Linear | nn.Conv2d | nn.Conv1d) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)


def _rounding(network: nn.Module) -> int:
    """Return the multiple that channel counts are rounded to: a lane, or less where layers are narrow already."""
    widths = [_outputs(layer) for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv1d)]
    return _ROUND if sorted(widths)[len(widths) // 2] >= 4 * _ROUND else 1
