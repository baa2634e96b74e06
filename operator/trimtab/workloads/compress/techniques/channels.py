"""Whole channels, neurons and attention heads: found by what depends on what, ranked by the weights that go with them.

Source: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.ops import OPTYPE

from trimtab.api.compression import Scope
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.structure import Cut, as_arguments, channels_cut, head_size, set_heads
from trimtab.workloads.compress.techniques.registry import Context

LANE = 8  # channels per SIMD lane: fewer than a lane cost as much as a lane
_FROM_SHARE = 0.25  # rounding to lanes may change what goes by a quarter at most: the share that was asked for counts
_MOST = 0.9  # of one layer: competing for a global budget may not empty it
_ROOTS = [nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d]
_PRODUCTS = ("BmmBackward", "SoftmaxBackward", "ScaledDotProduct")


@dataclass(frozen=True, slots=True)
class Width:
    """The channels of some layers that can only go together."""

    name: str
    """Of the root layer."""
    handler: Any
    """torch-pruning's function for the root."""
    units: Tensor
    """Root channels by unit [U, M]: what goes as one, such as the channels of a head."""
    importance: Tensor
    """Mean norm of a unit's weights [U], around 1."""
    lane: int
    """Units that cost as much as one alone."""
    attention: tuple[str, ...] = ()
    """Attention modules whose heads these are."""


def pruned(
    network: nn.Module, share: float, scope: Scope, context: Context, whole: nn.Module | None = None
) -> tuple[nn.Module, Cut]:
    """Return a copy without `share` of its channels, neurons and heads: those with the smallest norm.

    The share counts from `whole`, the network as it was before earlier cuts, where that is given. Layers that give the
    answer keep their width, and so do the hidden states of transformers. The cut tells what went; `cut_again` makes it
    on another copy of the source.

    Raises:
        Stalled: StepHadNoEffect, nothing could be removed; StepFailed, the network's structure does not allow it.
    """
    try:
        copied, graph, widths = _traced(network, context)
        before = {width.name: len(width.units) for width in (widths if whole is None else _traced(whole, context)[2])}
        heads = _remove(graph, copied, widths, counts(widths, share, scope, before))
        with torch.no_grad():
            forward(copied, tensors_of(context.data.evaluation.first(1)))
    except Exception as error:
        raise context.failed(
            Reason.STEP_FAILED,
            f"the network's structure cannot be pruned ({type(error).__name__}: {str(error)[:200]}); use method "
            "Magnitude, or only quantize it",
        ) from error
    history = graph.pruning_history()
    if not history:
        raise context.failed(Reason.STEP_HAD_NO_EFFECT, _none_went(share, widths))
    return copied, channels_cut(history, heads)


def units(network: nn.Module, context: Context) -> int:
    """Return how many channels, neurons and heads of a network could go."""
    return sum(len(width.units) for width in _traced(network, context)[2])


def cost(network: nn.Module, context: Context) -> tuple[int, int]:
    """Return multiply-accumulates per sample, and parameters."""
    with redirect_stdout(StringIO()):  # it prints advice, and standard output is for progress
        macs, parameters = torch_pruning.utils.count_ops_and_params(copy.deepcopy(network), _example(context))
    return int(macs), int(parameters)


def counts(widths: Sequence[Width], share: float, scope: Scope, before: Mapping[str, int]) -> list[int]:
    """Return how many units each width loses: its share, or what it has among the smallest of all.

    `before` tells how many each had when none was gone: the share is one of those.
    """
    if scope is Scope.PER_LAYER:
        return [
            max(removed(whole, round(whole * share), width.lane) - (whole - len(width.units)), 0)
            for width in widths
            for whole in [before.get(width.name, len(width.units))]
        ]
    left = sum(len(width.units) for width in widths)
    budget = round(sum(before.values()) * share) - (sum(before.values()) - left)
    if budget <= 0:
        return [0] * len(widths)
    threshold = torch.cat([width.importance for width in widths]).sort().values[min(budget, left) - 1]
    wanted = [int((width.importance <= threshold).sum()) for width in widths]
    most = [int(len(width.units) * max(_MOST, share)) for width in widths]
    return [
        removed(len(width.units), min(count, limit), width.lane)
        for width, count, limit in zip(widths, wanted, most, strict=True)
    ]


def removed(width: int, wanted: int, lane: int) -> int:
    """Return how many of `width` units go where `wanted` were asked for: whole lanes stay if that changes little.

    At least one unit stays.
    """
    wanted = min(wanted, width - 1)
    rounded = width - round((width - wanted) / lane) * lane
    fits = 0 < rounded < width and abs(rounded - wanted) <= wanted * _FROM_SHARE
    return rounded if fits else wanted


def _traced(network: nn.Module, context: Context) -> tuple[nn.Module, Any, list[Width]]:
    """Return a copy of a network, its dependency graph, and what in it can get narrower."""
    copied = copy.deepcopy(network).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(True)  # the dependency graph is read from gradients
    with torch.enable_grad():
        graph = torch_pruning.DependencyGraph().build_dependency(copied, example_inputs=_example(context))
        return copied, graph, list(_widths(graph, copied))


def _widths(graph: Any, network: nn.Module) -> Iterator[Width]:
    """Find everything that can get narrower, in the order of the graph."""
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    owners = {id(child): name for name, module in network.named_modules() for child in module.children()}
    modules = dict(network.named_modules())
    names = {id(module): name for name, module in modules.items()}
    for group in graph.get_all_groups(root_module_types=_ROOTS):
        if _is_fixed(graph, group):
            continue
        inner = {owners[id(layer)] for layer in _narrowed(graph, group) if id(layer) in owners}
        attention = tuple(sorted(name for name in inner if head_size(modules[name])))
        meets = any(word in str(item.dep.target.name) for item in group for word in _PRODUCTS)
        if meets and not attention:
            continue  # channels that meet in a product of activations can only go head by head
        size = len(group[0].idxs)
        members = _members(graph, group, size, head_size(modules[attention[0]]) if meets and attention else 0)
        scores = importance(group)
        if members is None or scores is None:
            continue
        lane = LANE if members.shape[1] == 1 else 1
        heads = attention if meets else ()
        score = scores.detach()[members].mean(1)
        yield Width(names[id(group[0].dep.target.module)], group[0].dep.handler, members, score, lane, heads)


def _is_fixed(graph: Any, group: Any) -> bool:
    """Return whether a group's width is given: by the answer, by embeddings, or by parameters outside of layers."""
    for dep, _ in group:
        target = dep.target
        if target.type == OPTYPE.PARAMETER or isinstance(target.module, nn.Embedding | nn.MultiheadAttention):
            return True
        if graph.is_out_channel_pruning_fn(dep.handler) and not target.outputs:
            return True
    return False


def _narrowed(graph: Any, group: Any) -> list[nn.Module]:
    return [dep.target.module for dep, _ in group if dep.target.module and graph.is_out_channel_pruning_fn(dep.handler)]


def _members(graph: Any, group: Any, size: int, head: int) -> Tensor | None:
    """Return which channels go as one [U, M]: those of a head, or one of each group of a grouped layer."""
    groups = [1]
    for dep, _ in group:
        module = dep.target.module
        pruner = graph.get_pruner_of_module(module)
        depthwise = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.groups == module.out_channels
        if pruner is None or depthwise:
            continue
        of_outputs = graph.is_out_channel_pruning_fn(dep.handler)
        groups.append((pruner.get_out_channel_groups if of_outputs else pruner.get_in_channel_groups)(module))
    together = max(groups)
    channels = torch.arange(size)
    if head:
        return channels.reshape(-1, head) if together == 1 and size % head == 0 else None
    return channels.reshape(together, -1).T if size % together == 0 else None


def _remove(graph: Any, network: nn.Module, widths: Sequence[Width], losses: Sequence[int]) -> list[tuple[str, int]]:
    """Remove the least important units; return how many heads each attention module has left."""
    left = []
    for width, count in zip(widths, losses, strict=True):
        if count == 0:
            continue
        chosen = width.importance.argsort(stable=True)[:count]
        indices = sorted(int(index) for index in width.units[chosen].flatten())
        graph.get_pruning_group(network.get_submodule(width.name), width.handler, indices).prune()
        left += [(name, len(width.units) - count) for name in width.attention]
    set_heads(network, left)
    return left


def _none_went(share: float, widths: Sequence[Width]) -> str:
    if not widths:
        return "no layer of this network can get narrower without changing its answer; use method Magnitude or Layers"
    widest = max(len(width.units) for width in widths)
    least = 100 / widest
    return (
        f"{share:.0%} of the channels, rounded to whole ones of this network, is none: its widest layer has {widest}; "
        f"ask for {least:.1f}% or more, or remove the step"
    )


def _example(context: Context) -> Any:
    return as_arguments(tensors_of(context.data.evaluation.first(1)))
