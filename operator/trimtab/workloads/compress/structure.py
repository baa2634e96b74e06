"""What was cut out of a network, as plain data: a pruned network is its source, cut again, with its own weights.

No pickle is needed to keep one, and none is read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from trimtab.workloads.compress.inputs import insert_reduction

Cut = dict[str, Any]
"""JSON: what kind of cut, and its arguments."""
FOREIGN = "foreign"
Example = Mapping[str, Tensor]
_HEAD_SIZES = ("attention_head_size", "head_dim")
_HEAD_COUNTS = ("num_attention_heads", "num_heads", "n_heads")
_HOLDS = "trimtab_holds_zeros"


def channels_cut(history: Sequence[tuple[str, bool, Sequence[int]]], heads: Sequence[tuple[str, int]] = ()) -> Cut:
    """Return a cut of channels from torch-pruning's history: module, whether outputs, and which.

    `heads` tells how many heads are left in attention modules.
    """
    return {
        "kind": "channels",
        "history": [[name, bool(out), [int(i) for i in which]] for name, out, which in history],
        "heads": [[name, count] for name, count in heads],
    }


def layers_cut(skipped: Sequence[tuple[str, bool]]) -> Cut:
    """Return a cut of whole blocks: their names, and whether they answer with a tuple."""
    return {"kind": "layers", "skipped": [[name, wrapped] for name, wrapped in skipped]}


def zeros_cut(layers: Sequence[str]) -> Cut:
    """Return a cut of single weights: the layers whose zeros stay zero while training."""
    return {"kind": "zeros", "layers": list(layers)}


def foreign_cut(step: str) -> Cut:
    """Return where a network begins that is not cut from the source: the student that a step was given."""
    return {"kind": FOREIGN, "step": step}


def inputs_cut(layer: str, kept: int, *, selects: bool) -> Cut:
    """Return a cut of a network's inputs: the layer that they enter, and how many are left before it."""
    return {"kind": "inputs", "layer": layer, "kept": kept, "selects": selects}


class Skipped(nn.Module):  # type: ignore[misc]
    """Stands where a block was: passes its first input on."""

    def __init__(self, wrapped: bool) -> None:
        super().__init__()
        self._wrapped = wrapped

    def forward(self, first: Any, *_others: Any, **_more: Any) -> Any:
        return (first,) if self._wrapped else first


def skip(network: nn.Module, name: str, wrapped: bool) -> None:
    """Put `Skipped` in the place of a block."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, Skipped(wrapped))


def head_size(module: nn.Module) -> int:
    """Return the channels per head of an attention module; 0 for other modules."""
    for name in _HEAD_SIZES:
        size = getattr(module, name, None)
        if isinstance(size, int) and any(isinstance(child, nn.Linear) for child in module.children()):
            return size
    for name in _HEAD_COUNTS:
        count = getattr(module, name, None)
        layers = [child for child in module.children() if isinstance(child, nn.Linear)]
        if isinstance(count, int) and count > 0 and layers:
            return int(layers[0].out_features) // count
    return 0


def has_attention(network: nn.Module) -> bool:
    """Return whether some module of a network attends."""
    return any(isinstance(module, nn.MultiheadAttention) or head_size(module) > 0 for module in network.modules())


def set_heads(network: nn.Module, heads: Sequence[tuple[str, int]]) -> None:
    """Tell attention modules how many heads they have left."""
    for name, count in heads:
        module = network.get_submodule(name)
        for attribute in _HEAD_COUNTS:
            if isinstance(getattr(module, attribute, None), int):
                setattr(module, attribute, count)
        size = getattr(module, "attention_head_size", None)
        if isinstance(getattr(module, "all_head_size", None), int) and isinstance(size, int):
            module.all_head_size = count * size


def hold_zeros(network: nn.Module, layers: Sequence[str]) -> None:
    """Mark layers whose zeros stay zero while training; the mark goes with copies of the network."""
    for name in layers:
        setattr(network.get_submodule(name), _HOLDS, True)


def held_zeros(network: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
    """Return the weights of marked layers with masks of their shape: 0 where a weight is zero, else 1."""
    marked = [module for module in network.modules() if getattr(module, _HOLDS, False)]
    return [(module.weight, (module.weight != 0).to(module.weight.dtype)) for module in marked]


def cut_again(network: nn.Module, cuts: Sequence[Cut], example: Example) -> nn.Module:
    """Return a copy of a source network with every cut made, in order; its weights are still the source's."""
    copied = copy.deepcopy(network).eval()
    for parameter in copied.parameters():
        parameter.requires_grad_(True)  # the dependency graph is read from gradients
    for cut in cuts:
        with torch.enable_grad():
            _CUTS[cut["kind"]](copied, cut, example)
    return copied


def save_network(network: nn.Module, path: Path) -> None:
    save_model(network, str(path))


def restore_network(network: nn.Module, cuts: Sequence[Cut], path: Path, example: Example) -> nn.Module:
    """Return the network that was saved at `path`, cut from its source."""
    restored = cut_again(network, cuts, example)
    load_model(restored, str(path))
    return restored


def as_arguments(example: Example) -> Any:
    """Return an example as torch-pruning passes it on: a tensor, or arguments by name."""
    return next(iter(example.values())) if len(example) == 1 else dict(example)


def _cut_channels(network: nn.Module, cut: Cut, example: Example) -> None:
    graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=as_arguments(example))
    graph.load_pruning_history([(name, out, which) for name, out, which in cut["history"]])
    set_heads(network, [(name, count) for name, count in cut["heads"]])


def _cut_layers(network: nn.Module, cut: Cut, _example: Example) -> None:
    for name, wrapped in cut["skipped"]:
        skip(network, name, wrapped)


def _cut_zeros(network: nn.Module, cut: Cut, _example: Example) -> None:
    hold_zeros(network, cut["layers"])


def _cut_inputs(network: nn.Module, cut: Cut, _example: Example) -> None:
    insert_reduction(network, cut["layer"], cut["kept"], selects=cut["selects"])


_CUTS: dict[str, Callable[[nn.Module, Cut, Example], None]] = {
    "channels": _cut_channels,
    "inputs": _cut_inputs,
    FOREIGN: lambda _network, _cut, _example: None,
    "layers": _cut_layers,
    "zeros": _cut_zeros,
}
