"""Prune a little, train, prune more: the network adapts while it gets sparser.

Source: Zhu, Gupta, "To prune, or not to prune", arXiv 1710.01878: the share rises along a cubic, fast at first, while
there is much to spare, and slowly at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.structure import Cut, cut_again
from trimtab.workloads.compress.techniques.losses import Loss, label_loss, teacher_loss
from trimtab.workloads.compress.techniques.registry import Context
from trimtab.workloads.compress.techniques.training import train

Cutter = Callable[[nn.Module, float], tuple[nn.Module, Cut]]
"""Takes a network and the share of the original that is to be gone; the result may share nothing with it."""
WEIGHT_STAGES = 6
CHANNEL_STAGES = 3  # what is gone does not come back, and each stage traces the network anew
EPOCHS = 1  # per stage
LAST_EPOCHS = 4  # of the last one, to recover, unless the step says otherwise
RATE = 1e-3
BATCH = 64
_SEEDS_APART = 1009  # each stage sees the samples in an order of its own
_TEACHER_BATCH = 256


def shares(share: float, stages: int) -> list[float]:
    """Return the share that is gone after each stage: s(1 - (1 - t/n)^3)."""
    return [share * (1 - (1 - stage / stages) ** 3) for stage in range(1, stages + 1)]


def pruned_gradually(
    network: nn.Module, share: float, stages: int, last_epochs: int | None, cutter: Cutter, context: Context
) -> tuple[nn.Module, tuple[Cut, ...], dict[str, Any]]:
    """Return a network without `share` of its weights, channels or layers, trained all the while, its cuts, and facts.

    It learns from labels, or where there are none, from what the source says. A run that was stopped goes on in the
    stage where it was.

    Raises:
        Stalled: StepHadNoEffect, nothing went in any stage; else as `cutter` and `train` do.
        Interrupted: The run was asked to end; a checkpoint was saved.
    """
    samples, recovery = context.data.training[context.field], last_epochs or LAST_EPOCHS
    loss_of = _loss(samples, context)
    resumed = _resumed(context)
    first, cuts = resumed or (0, [])
    network = cut_again(network, cuts, tensors_of(context.data.evaluation.first(1)))
    loss = 0.0
    for stage, gone in enumerate(shares(share, stages)):
        last = stage == stages - 1
        if stage < first:
            continue
        if stage > first or resumed is None:
            network = _cut(network, gone, cutter, cuts, last=last)
        loss = train(
            network,
            samples,
            loss_of,
            recovery if last else EPOCHS,
            RATE,
            BATCH,
            _stage(context, stage, stages, cuts),
        )
    facts = {"schedule": "Gradual", "stages": stages, "epochs": EPOCHS * (stages - 1) + recovery}
    return network, tuple(cuts), facts | {"samples": len(samples), "loss": round(loss, 4)}


def _cut(network: nn.Module, share: float, cutter: Cutter, cuts: list[Cut], *, last: bool) -> nn.Module:
    """Return the network of the next stage and note the cut; a stage too small for a whole channel cuts nothing."""
    try:
        cut_network, cut = cutter(network, share)
    except Stalled as error:
        if error.reason != Reason.STEP_HAD_NO_EFFECT or (last and not cuts):
            raise
        return network
    cuts.append(cut)
    return cut_network


def _stage(context: Context, stage: int, stages: int, cuts: list[Cut]) -> Context:
    def tick(share: float, detail: str) -> None:
        context.tick((stage + share) / stages, f"stage {stage + 1} of {stages}, {detail}")

    def resumed(share: float) -> None:
        context.resumed((stage + share) / stages)

    seed = context.seed + _SEEDS_APART * (stage + 1)
    return replace(context, call=stage, notes={"cuts": list(cuts)}, seed=seed, tick=tick, resumed=resumed)


def _resumed(context: Context) -> tuple[int, list[Cut]] | None:
    """Return the stage where this step's last checkpoint was, and the cuts up to there."""
    saved = context.training.load()
    if saved is None or saved.state["step"] != context.index:
        return None
    return int(saved.state["call"]), list(saved.state["notes"]["cuts"])


def _loss(samples: Samples, context: Context) -> Loss:
    task = context.data.task(context.field)
    found = label_loss(task, samples.y)
    if found is not None:
        return found
    if context.teacher is None:
        raise TypeError(f"{context.field} needs a teacher")
    said, inputs = [], tensors_of(samples)
    with torch.no_grad():
        for start in range(0, len(samples), _TEACHER_BATCH):
            context.stop.check()
            some = {name: values[start : start + _TEACHER_BATCH] for name, values in inputs.items()}
            said.append(forward(context.teacher, some))
    return teacher_loss(task, torch.cat(said), 1.0)
