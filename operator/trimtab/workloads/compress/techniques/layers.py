"""Whole blocks left out: those whose absence the answers feel least."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trimtab.api.conditions import Reason
from trimtab.workloads.compress.network import forward
from trimtab.workloads.compress.structure import Cut, Skipped, layers_cut, skip
from trimtab.workloads.compress.techniques.registry import Context

Inputs = dict[str, Tensor]


class Block(NamedTuple):
    """A part of a network that could be left out: it gives what it takes, in form."""

    name: str
    wrapped: bool
    """Whether it answers with a tuple."""


def shallower(
    network: nn.Module, share: float, inputs: Inputs, context: Context
) -> tuple[nn.Module, Cut, dict[str, Any]]:
    """Return a copy without `share` of its blocks, the cut, and facts: which blocks went, at which effect.

    Blocks go one by one, each time the one without which the answers to `inputs` move least, in squares relative to the
    network's own. The last one stays.

    Raises:
        Stalled: StepHadNoEffect, there is none, or the share is less than one of them.
    """
    copied = copy.deepcopy(network).eval()
    blocks = repeated_blocks(copied, inputs)
    count = min(round(len(blocks) * share), len(blocks) - 1)
    if count < 1:
        raise context.failed(Reason.STEP_HAD_NO_EFFECT, _none_went(share, blocks))
    with torch.no_grad():
        wanted = forward(copied, inputs)
    skipped: list[Block] = []
    effects: list[str] = []
    while len(skipped) < count:
        found = []
        for block in (block for block in blocks if block not in skipped):
            context.stop.check()
            found.append((_effect(copied, block, inputs, wanted), block))
        effect, least = min(found, key=lambda pair: pair[0])
        skip(copied, least.name, least.wrapped)
        skipped.append(least)
        effects.append(f"{effect:.4f}")
        context.tick(len(skipped) / count, f"layer {len(skipped)} of {count} left out")
    facts = {"layersBefore": len(blocks), "layersAfter": len(blocks) - count}
    return copied, layers_cut(skipped), facts | {"removed": [b.name for b in skipped], "effects": effects}


def without_layers(
    network: nn.Module, gone: float, inputs: Inputs, context: Context, *, whole: nn.Module
) -> tuple[nn.Module, Cut]:
    """Return a copy of a part of `whole` in which a share `gone` of all its blocks is left out, and the cut.

    Raises:
        Stalled: StepHadNoEffect, that is no block more than were left out before.
    """
    every, left = repeated_blocks(whole, inputs), repeated_blocks(network, inputs)
    more = min(round(len(every) * gone), len(every) - 1) - (len(every) - len(left))
    if more < 1:
        raise context.failed(Reason.STEP_HAD_NO_EFFECT, _none_went(gone, every))
    smaller, cut, _ = shallower(network, more / len(left), inputs, context)
    return smaller, cut


def layers_facts(network: nn.Module, smaller: nn.Module, cuts: Sequence[Cut], inputs: Inputs) -> dict[str, Any]:
    """Return how many blocks there were and are, and which are gone."""
    before, after = len(repeated_blocks(network, inputs)), len(repeated_blocks(smaller, inputs))
    gone = [name for cut in cuts for name, _ in cut["skipped"]]
    return {"layersBefore": before, "layersAfter": after, "removed": gone}


def repeated_blocks(network: nn.Module, inputs: Inputs) -> list[Block]:
    """Return the blocks of sequences and lists of modules that give the form that they take, outermost only.

    A residual connection, or a repeated layer of equal width, makes such a block; one without weights is none.
    """
    names = [
        f"{parent}.{child}" if parent else child
        for parent, module in network.named_modules()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        for child, block in module.named_children()
        if any(True for _ in block.parameters()) and not isinstance(block, Skipped)
    ]
    forms: dict[str, list[bool]] = {}
    hooks = [network.get_submodule(name).register_forward_hook(_watch(forms, name)) for name in names]
    try:
        with torch.no_grad():
            forward(network, {name: values[:2] for name, values in inputs.items()})
    finally:
        for hook in hooks:
            hook.remove()
    blocks = [Block(name, forms[name][0]) for name in names if len(forms.get(name, ())) == 1]
    found = {block.name for block in blocks}
    return [block for block in blocks if not any(block.name.startswith(f"{name}.") for name in found)]


def _watch(forms: dict[str, list[bool]], name: str) -> Callable[[nn.Module, Any, Any], None]:
    """Note each call that keeps its form; a block that is called more than once, or changes it, is no candidate."""

    def note(_module: nn.Module, given: Any, answer: Any) -> None:
        wrapped = isinstance(answer, tuple) and len(answer) == 1
        first = answer[0] if wrapped else answer
        keeps = (
            bool(given)
            and isinstance(given[0], Tensor)
            and isinstance(first, Tensor)
            and first.shape == given[0].shape
            and first.dtype == given[0].dtype
        )
        forms.setdefault(name, []).extend([wrapped] if keeps else [wrapped, wrapped])

    return note


def _effect(network: nn.Module, block: Block, inputs: Inputs, wanted: Tensor) -> float:
    """Return the squared change of the answers without a block, relative to their size."""
    parent, _, child = block.name.rpartition(".")
    owner, original = network.get_submodule(parent), network.get_submodule(block.name)
    setattr(owner, child, Skipped(block.wrapped))
    try:
        with torch.no_grad():
            answers = forward(network, inputs)
    finally:
        setattr(owner, child, original)
    return float((answers - wanted).square().sum() / wanted.square().sum().clamp(min=1e-12))


def _none_went(share: float, blocks: list[Block]) -> str:
    if len(blocks) < 2:
        return (
            f"the network has {len(blocks)} blocks that give the form that they take, and one has to stay; use method "
            "Structured, or remove the step"
        )
    return (
        f"{share:.0%} of {len(blocks)} layers is none; ask for {100 / len(blocks):.0f}% or more, or remove the step "
        f"(layers: {', '.join(block.name for block in blocks[:12])})"
    )
