"""One loop that trains, for finetune and distill."""

from __future__ import annotations

import torch
from torch import nn

from trimtab.api.conditions import Reason
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.techniques.losses import Loss
from trimtab.workloads.compress.techniques.registry import Context

WEIGHT_DECAY = 1e-2
_WARM_UP = 0.1  # share of the steps in which the rate rises: a pruned network is far from its optimum


def train(
    network: nn.Module, samples: Samples, loss_of: Loss, epochs: int, rate: float, batch: int, context: Context
) -> float:
    """Train in place with AdamW, the rate warmed up and then lowered along a cosine; return the last epoch's loss.

    The order of the samples follows from the context's seed. `network` is in evaluation mode afterwards.

    Raises:
        Stalled: StepFailed, the loss is no number any more; StepHadNoEffect, no weight changed.
        Interrupted: The run was asked to end; checked before each batch.
    """
    inputs, count = tensors_of(samples), len(samples)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    generator = torch.Generator().manual_seed(context.seed)
    batch = min(batch, count)
    per_epoch = max(count // batch, 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=epochs * per_epoch, pct_start=_WARM_UP
    )
    mean = 0.0
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(count, generator=generator)
        total = torch.zeros(())
        # Whole batches only: normalisation over the one sample of a rest is undefined.
        for chosen in order[: per_epoch * batch].split(batch):
            context.stop.check()
            loss = loss_of(forward(network, {name: x[chosen] for name, x in inputs.items()}), chosen)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        mean = float(total) / per_epoch
        if not torch.isfinite(total):
            raise context.failed(
                Reason.STEP_FAILED, f"the loss became {mean} in epoch {epoch + 1}; lower the learning rate"
            )
        context.tick((epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}, loss {mean:.3f}")
    network.eval()
    if all(torch.equal(weight, before[name]) for name, weight in network.named_parameters()):
        raise context.failed(Reason.STEP_HAD_NO_EFFECT, "no weight changed; raise the learning rate or the epochs")
    return mean
