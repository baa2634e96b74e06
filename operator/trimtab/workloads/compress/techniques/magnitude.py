"""Single weights set to zero: those closest to it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from trimtab.api.compression import Scope
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.structure import Cut, hold_zeros, zeros_cut
from trimtab.workloads.compress.techniques.registry import Context

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)


def sparser(network: nn.Module, share: float, scope: Scope, context: Context) -> tuple[nn.Module, Cut]:
    """Return a copy in which `share` of the weights of its layers are zero and stay zero while it trains on.

    Weights that embeddings use as well are left alone, and so are biases.

    Raises:
        Stalled: StepHadNoEffect, no weight became zero.
    """
    copied = copy.deepcopy(network)
    layers = _layers(copied)
    zeros = sum(int((layer.weight == 0).sum()) for layer in layers.values())
    limits = _limits([layer.weight for layer in layers.values()], share, scope)
    with torch.no_grad():
        for layer, limit in zip(layers.values(), limits, strict=True):
            layer.weight[layer.weight.abs() <= limit] = 0.0
    if sum(int((layer.weight == 0).sum()) for layer in layers.values()) == zeros:
        raise context.failed(
            Reason.STEP_HAD_NO_EFFECT,
            f"{share:.0%} of the weights of {len(layers)} layers, of which {zeros} are zero already, is none more; "
            "raise the share, or remove the step",
        )
    hold_zeros(copied, list(layers))
    return copied, zeros_cut(list(layers))


def sparsity_facts(network: nn.Module) -> dict[str, Any]:
    """Return how many weights really are zero, for the report.

    Zeros are stored and multiplied like other numbers: only an archive of the file gets smaller.
    """
    weights = [layer.weight for layer in _layers(network).values()]
    zeros, count = sum(int((weight == 0).sum()) for weight in weights), sum(weight.numel() for weight in weights)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "zeros": zeros,
        "zerosPercent": round(100 * zeros / max(count, 1), 2),
        "zerosPercentOfAllParameters": round(100 * zeros / max(parameters, 1), 2),
        "storageOnly": True,
    }


def _layers(network: nn.Module) -> dict[str, nn.Module]:
    embedded = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _WEIGHTED) and id(module.weight) not in embedded
    }


def _limits(weights: list[Tensor], share: float, scope: Scope) -> list[float]:
    """Return up to which absolute value weights become zero, per layer; -1 for none."""
    if scope is Scope.GLOBAL and weights:
        everything = torch.cat([weight.detach().abs().flatten() for weight in weights])
        return [_limit(everything, share)] * len(weights)
    return [_limit(weight.detach().abs().flatten(), share) for weight in weights]


def _limit(sizes: Tensor, share: float) -> float:
    count = round(len(sizes) * share)
    return float(sizes.sort().values[count - 1]) if count else -1.0
