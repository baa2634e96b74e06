"""Train on, with labels."""

from __future__ import annotations

import copy
from typing import Any

from trimtab.api.compression import Finetune
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.techniques.augment import augmentation
from trimtab.workloads.compress.techniques.losses import label_loss
from trimtab.workloads.compress.techniques.precision import facts_of, is_mixed
from trimtab.workloads.compress.techniques.registry import Context, Model, technique
from trimtab.workloads.compress.techniques.training import train

EPOCHS = 5
RATE = 1e-3
BATCH = 64


@technique(Finetune)
def finetune(step: Finetune, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the network trained further on the labels of the training data."""
    samples = context.data.training[context.field]
    loss = label_loss(context.data.task(context.field), samples.y)
    if loss is None:
        raise context.failed(
            Reason.DATASET_INVALID, "the training data has no labels y_train to train on; add them, or use distill"
        )
    network = copy.deepcopy(context.network(model))
    epochs, rate, batch = step.epochs or EPOCHS, float(step.learning_rate or RATE), step.batch_size or BATCH
    change = augmentation(step.augment or (), samples, context)
    mixed = is_mixed(step.precision, network, samples, batch, context)
    last = train(network, samples, loss, epochs, rate, batch, context, change, mixed=mixed)
    facts = {"epochs": epochs, "samples": len(samples), "loss": round(last, 4), **facts_of(mixed=mixed)}
    return Model(network=network, cuts=model.cuts), facts | ({"augment": list(step.augment)} if step.augment else {})
