"""Train the smaller network on the original's predictions.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trimtab.api.compression import Distill, HintPair, Scope
from trimtab.api.conditions import Reason
from trimtab.api.quantities import fraction
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.structure import Cut, foreign_cut, has_attention
from trimtab.workloads.compress.techniques.hints import Hinted
from trimtab.workloads.compress.techniques.layers import shallower
from trimtab.workloads.compress.techniques.losses import Loss, label_loss, teacher_loss
from trimtab.workloads.compress.techniques.precision import facts_of, is_mixed
from trimtab.workloads.compress.techniques.prune import pruned
from trimtab.workloads.compress.techniques.registry import Context, Model, technique
from trimtab.workloads.compress.techniques.training import train

EPOCHS = 10
RATE, BATCH = 4e-3, 64
# Transformers forget what they were trained on long before they have learned as fast as convolutions do.
RATE_WITH_ATTENTION, BATCH_WITH_ATTENTION = 3e-4, 32
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
    student, cuts, made = _student(step, model, context)
    samples, task = context.data.training[context.field], context.data.task(context.field)
    likeness = teacher_loss(task, _said(samples, context), temperature)
    truth = label_loss(task, samples.y)

    def loss(outputs: Tensor, chosen: Tensor) -> Tensor:
        match = likeness(outputs, chosen)
        return match if truth is None else alpha * match + (1 - alpha) * truth(outputs, chosen)

    epochs, pace = step.epochs or EPOCHS, _pace(step, student)
    facts = {"epochs": epochs, "samples": len(samples), "temperature": temperature, "alpha": alpha, **made}
    facts |= {"learningRate": pace.rate, "batchSize": pace.batch}
    mixed = is_mixed(step.precision, student, samples, pace.batch, context)
    facts |= facts_of(mixed=mixed)
    if step.hints:
        facts |= _train_with_hints(student, step.hints, samples, loss, epochs, pace, context, mixed=mixed)
    else:
        last = train(student, samples, loss, epochs, pace.rate, pace.batch, context, mixed=mixed)
        facts["loss"] = round(last, 4)
    return Model(network=student, cuts=cuts), facts


class _Pace(NamedTuple):
    rate: float
    batch: int


def _pace(step: Distill, student: nn.Module) -> _Pace:
    """Return the rate and the batch that were asked for, or those that suit the kind of network."""
    rate, batch = (RATE_WITH_ATTENTION, BATCH_WITH_ATTENTION) if has_attention(student) else (RATE, BATCH)
    return _Pace(float(step.learning_rate or rate), step.batch_size or batch)


def _train_with_hints(
    student: nn.Module,
    hints: Sequence[HintPair],
    samples: Samples,
    loss: Loss,
    epochs: int,
    pace: _Pace,
    context: Context,
    *,
    mixed: bool,
) -> dict[str, Any]:
    """Train the student on its answers and on what its inner layers say; return facts for the report."""
    hinted = Hinted(student, _teacher(context), hints, tensors_of(samples.first(2)), context)
    last: dict[str, Tensor] = {}

    def both(outputs: Tensor, chosen: Tensor) -> Tensor:
        apart = hinted.distance()
        last["distance"] = apart.detach()
        return loss(outputs, chosen) + apart

    try:
        total = train(hinted, samples, both, epochs, pace.rate, pace.batch, context, mixed=mixed)
    finally:
        hinted.close()
    return {"loss": round(total, 4), "hints": hinted.pairs, "hintDistance": round(float(last["distance"]), 4)}


def _student(step: Distill, model: Model, context: Context) -> tuple[nn.Module, tuple[Cut, ...], dict[str, Any]]:
    """Return the network that learns, how it came to be, and facts for the report."""
    network = context.network(model)
    if step.student is None:
        return copy.deepcopy(network), model.cuts, {}
    if context.student is not None:
        facts = {"student": step.student.uri, "parameters": sum(p.numel() for p in context.student.parameters())}
        return copy.deepcopy(context.student), (foreign_cut(context.field),), facts
    if step.student.depth is not None:
        share, some = 1 - fraction(step.student.depth), context.data.training[context.field].first(_TEACHER_BATCH)
        smaller, cut, facts = shallower(network, share, tensors_of(some), context)
        return smaller, (*model.cuts, cut), facts
    narrower, cut = pruned(network, 1 - fraction(step.student.width or "100%"), Scope.PER_LAYER, context)
    return narrower, (*model.cuts, cut), {}


def _said(samples: Samples, context: Context) -> Tensor:
    """Return what the source says about every sample [N, ...]: computed once, for all epochs."""
    teacher = _teacher(context)
    said, inputs = [], tensors_of(samples)
    with torch.no_grad():
        for start in range(0, len(samples), _TEACHER_BATCH):
            context.stop.check()
            batch = {name: x[start : start + _TEACHER_BATCH] for name, x in inputs.items()}
            said.append(forward(teacher, batch))
    return torch.cat(said)


def _teacher(context: Context) -> nn.Module:
    if context.teacher is None:
        raise TypeError(f"{context.field} needs a teacher")
    return context.teacher
