"""Fewer inputs inside a network: its first layer looks at some of them, or at a projection of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Selection(nn.Module):  # type: ignore[misc]
    """Passes some columns of its input [N, F] on."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.columns: Tensor
        self.register_buffer("columns", torch.zeros(count, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(-1, self.columns)


@dataclass(frozen=True, slots=True)
class Reduction:
    """An affine view of inputs x [F] as z [K], from which `rebuild @ z + offset` brings back most of x."""

    rebuild: Tensor
    """[F, K]"""
    offset: Tensor
    """[F]"""
    columns: Tensor | None = None
    """[K], where z is a selection of x."""
    view: Tensor | None = None
    """[K, F], where z is a projection: view @ x + shift."""
    shift: Tensor | None = None
    """[K]"""


def insert_reduction(network: nn.Module, layer: str, kept: int, *, selects: bool) -> nn.Sequential:
    """Put a first part [F → kept] before a linear layer, which takes `kept` numbers then; its weights are not set."""
    linear: Any = network.get_submodule(layer)
    first: nn.Module = Selection(kept) if selects else nn.Linear(linear.in_features, kept)
    reduced = nn.Sequential(first, nn.Linear(kept, linear.out_features))
    parent, _, child = layer.rpartition(".")
    setattr(network.get_submodule(parent), child, reduced)
    return reduced


def fold(linear: nn.Linear, reduction: Reduction, into: nn.Sequential) -> None:
    """Set the weights of a reduced layer so that it answers as `linear` does to what the reduction brings back."""
    first: Any = into[0]
    second: Any = into[1]
    with torch.no_grad():
        if reduction.columns is not None:
            first.columns.copy_(reduction.columns)
        else:
            first.weight.copy_(reduction.view)
            first.bias.copy_(reduction.shift)
        second.weight.copy_(linear.weight @ reduction.rebuild)
        second.bias.copy_(linear.weight @ reduction.offset)
        if linear.bias is not None:
            second.bias.add_(linear.bias)
