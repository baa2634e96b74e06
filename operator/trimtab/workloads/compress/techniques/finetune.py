"""Train on, with labels."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from trimtab.api.compression import Finetune
from trimtab.workloads.compress.techniques.registry import Context, Model, technique
from trimtab.workloads.compress.techniques.training import train

EPOCHS = 5
RATE = 1e-3
BATCH = 64


@technique(Finetune)
def finetune(step: Finetune, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the network trained further on the labels of the training data."""
    samples = context.data.training[context.field]
    x, y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)
    network = copy.deepcopy(context.network(model))

    def loss(logits: Tensor, chosen: Tensor) -> Tensor:
        return functional.cross_entropy(logits, y[chosen])

    epochs = step.epochs or EPOCHS
    last = train(network, x, loss, epochs, float(step.learning_rate or RATE), step.batch_size or BATCH, context)
    return Model(network=network), {"epochs": epochs, "samples": len(samples), "loss": round(last, 4)}
