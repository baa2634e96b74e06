"""The loop in which models become what users bring: trained, in FP32."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Array = NDArray[np.generic]
_WARM_UP = 0.1  # share of the steps


def trained(
    network: nn.Module,
    inputs: Mapping[str, Array],
    labels: Array,
    *,
    epochs: int,
    rate: float,
    batch: int = 64,
    brief: bool = False,
) -> nn.Module:
    """Train a network on classes with AdamW, the rate warmed up and lowered; return it, ready to be asked.

    `brief` computes in bf16 what may be; weights stay FP32.
    """
    torch.manual_seed(0)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
    wanted = torch.from_numpy(np.ascontiguousarray(labels))
    steps = len(wanted) // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=steps * epochs, pct_start=_WARM_UP
    )
    network.train()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(wanted))[: steps * batch].split(batch):
            with torch.autocast("cpu", torch.bfloat16, enabled=brief):
                said = answer(network, tensors, chosen)
            loss = functional.cross_entropy(said.float(), wanted[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1} of {epochs}: loss {total / steps:.3f}", file=sys.stderr, flush=True)
    return network.eval()


def answer(network: nn.Module, tensors: Mapping[str, Tensor], chosen: Tensor) -> Tensor:
    """Ask a network about some samples: one input goes by place, several go by name."""
    some = {name: tensor[chosen] for name, tensor in tensors.items()}
    found: Tensor = network(next(iter(some.values()))) if len(some) == 1 else network(**some)
    return found


def accuracy(network: nn.Module, inputs: Mapping[str, Array], labels: Array, batch: int = 256) -> float:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
    right = 0
    with torch.inference_mode():
        for chosen in torch.arange(len(labels)).split(batch):
            said = answer(network, tensors, chosen).argmax(1).numpy()
            right += int((said == labels[chosen.numpy()]).sum())
    return right / len(labels)
