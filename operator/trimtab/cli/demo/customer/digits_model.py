"""The demo customer's network: reads one handwritten digit. Its weights are in model.safetensors beside it."""

from __future__ import annotations

from torch import nn


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Return convolution, normalisation and ReLU: float [N, inputs, H, W] to [N, outputs, H, W]."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def build() -> nn.Module:
    """Return the network, untrained: float [N, 1, 8, 8] in 0..1 to logits [N, 10]."""
    return nn.Sequential(
        block(1, 32),
        block(32, 64),
        nn.MaxPool2d(2),
        block(64, 128),
        block(128, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
