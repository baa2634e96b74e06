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
Example = Mapping[str, Tensor]


def channels_cut(history: Sequence[tuple[str, bool, Sequence[int]]]) -> Cut:
    """Return a cut of channels from torch-pruning's history: module, whether outputs, and which."""
    return {"kind": "channels", "history": [[name, bool(out), [int(i) for i in which]] for name, out, which in history]}


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


def _cut_inputs(network: nn.Module, cut: Cut, _example: Example) -> None:
    insert_reduction(network, cut["layer"], cut["kept"], selects=cut["selects"])


_CUTS: dict[str, Callable[[nn.Module, Cut, Example], None]] = {"channels": _cut_channels}
