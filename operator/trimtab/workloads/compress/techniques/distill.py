"""Train the smaller network on the original's predictions.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from trimtab.api.compression import Distill, Scope
from trimtab.api.conditions import Reason
from trimtab.api.quantities import fraction
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.structure import Cut
from trimtab.workloads.compress.techniques.losses import label_loss, teacher_loss
from trimtab.workloads.compress.techniques.prune import pruned
from trimtab.workloads.compress.techniques.registry import Context, Model, technique
from trimtab.workloads.compress.techniques.training import train

EPOCHS = 10
RATE = 4e-3
BATCH = 64
TEMPERATURE = 2.0
ALPHA = 0.7
_TEACHER_BATCH = 256


@technique(Distill)
def distill(step: Distill, model: Model, context: Context) -> tuple[Model, dict[str, Any]]:
    """Return the student: the model as it came, or a narrower copy of it, trained on teacher and labels."""
    temperature, alpha = float(step.temperature or TEMPERATURE), float(step.alpha or ALPHA)
    if not 0 <= alpha <= 1 or temperature <= 0:
        raise context.failed(
            Reason.INVALID_SPEC,
            f"temperature {temperature:g} and alpha {alpha:g}: the one must be above 0, the other from 0 to 1",
        )
    student, cuts = _student(step, model, context)
    samples, task = context.data.training[context.field], context.data.task(context.field)
    likeness = teacher_loss(task, _said(samples, context), temperature)
    truth = label_loss(task, samples.y)

    def loss(outputs: Tensor, chosen: Tensor) -> Tensor:
        match = likeness(outputs, chosen)
        return match if truth is None else alpha * match + (1 - alpha) * truth(outputs, chosen)

    epochs = step.epochs or EPOCHS
    last = train(student, samples, loss, epochs, RATE, BATCH, context)
    facts = {"epochs": epochs, "samples": len(samples), "temperature": temperature, "alpha": alpha}
    return Model(network=student, cuts=cuts), facts | {"loss": round(last, 4)}


def _student(step: Distill, model: Model, context: Context) -> tuple[nn.Module, tuple[Cut, ...]]:
    network = context.network(model)
    if step.student is None or step.student.width is None:
        return copy.deepcopy(network), model.cuts
    narrower, cut = pruned(network, 1 - fraction(step.student.width), Scope.PER_LAYER, context)
    return narrower, (*model.cuts, cut)


def _said(samples: Samples, context: Context) -> Tensor:
    """Return what the source says about every sample [N, ...]: computed once, for all epochs."""
    if context.teacher is None:
        raise TypeError(f"{context.field} needs a teacher")
    said, inputs = [], tensors_of(samples)
    with torch.no_grad():
        for start in range(0, len(samples), _TEACHER_BATCH):
            context.stop.check()
            batch = {name: x[start : start + _TEACHER_BATCH] for name, x in inputs.items()}
            said.append(forward(context.teacher, batch))
    return torch.cat(said)
