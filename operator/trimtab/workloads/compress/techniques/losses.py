"""What a network is trained for: labels, and what the original says."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from trimtab.workloads.compress.data import Task
from trimtab.workloads.compress.datasets import Array

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes outputs [B, ...] and the samples' indices [B]; returns a scalar."""


def label_loss(task: Task, labels: Array | None) -> Loss | None:
    """Return the loss against the labels [N, ...]: cross-entropy for classes, squared error for numbers."""
    if labels is None:
        return None
    y = torch.from_numpy(labels)
    if task is Task.NUMBERS:
        return lambda outputs, chosen: functional.mse_loss(outputs.reshape(y[chosen].shape), y[chosen])

    def cross_entropy(outputs: Tensor, chosen: Tensor) -> Tensor:
        # Sequences of classes have scores [B, T, C]: each place is a decision of its own.
        return functional.cross_entropy(outputs.flatten(0, -2), y[chosen].flatten())

    return cross_entropy


def teacher_loss(task: Task, said: Tensor, temperature: float) -> Loss:
    """Return the loss against what the teacher said [N, ...].

    Classes: Kullback-Leibler divergence of softened predictions (Hinton, Vinyals, Dean, arXiv 1503.02531). Numbers:
    squared error. Other outputs, such as embeddings: squared error and the angle between them.
    """
    if task is Task.CLASSES:
        soft = functional.softmax(said / temperature, dim=-1)

        def divergence(outputs: Tensor, chosen: Tensor) -> Tensor:
            learned = functional.log_softmax(outputs / temperature, dim=-1)
            places = soft[chosen].shape[:-1].numel()
            # The square keeps the gradient's size independent of the temperature.
            return functional.kl_div(learned, soft[chosen], reduction="sum") / places * temperature**2

        return divergence
    if task is Task.NUMBERS:
        return lambda outputs, chosen: functional.mse_loss(outputs, said[chosen])

    def likeness(outputs: Tensor, chosen: Tensor) -> Tensor:
        target = said[chosen]
        angle = 1 - functional.cosine_similarity(outputs.flatten(1), target.flatten(1)).mean()
        return functional.mse_loss(outputs, target) + angle

    return likeness
