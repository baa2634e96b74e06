"""A multilayer perceptron for tables: standardised columns, three hidden layers."""

from itertools import pairwise

import torch
from torch import Tensor, nn

COLUMNS, CLASSES = 21, 5
HIDDEN = (1024, 1024, 512)


class Perceptron(nn.Module):
    """Takes a table as it is: float [N, 21]; returns logits [N, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(COLUMNS))
        self.register_buffer("deviation", torch.ones(COLUMNS))
        sizes = (COLUMNS, *HIDDEN)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers((x - self.mean) / self.deviation)


def build() -> nn.Module:
    return Perceptron()
