"""One loop that trains, for every step that does; it goes on where another pod stopped, to the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trimtab.api.conditions import Reason
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import forward, tensors_of
from trimtab.workloads.compress.structure import held_zeros
from trimtab.workloads.compress.techniques.augment import Change, unchanged
from trimtab.workloads.compress.techniques.losses import Loss
from trimtab.workloads.compress.techniques.registry import Context
from trimtab.workloads.compress.workers.group import smallest_batch

WEIGHT_DECAY = 1e-2
TENSORS = "training.safetensors"
_WARM_UP = 0.1  # share of the steps in which the rate rises: a pruned network is far from its optimum


def train(
    network: nn.Module,
    samples: Samples,
    loss_of: Loss,
    epochs: int,
    rate: float,
    batch: int,
    context: Context,
    change: Change = unchanged,
    *,
    mixed: bool = False,
) -> float:
    """Train in place with AdamW, the rate warmed up and then lowered along a cosine; return the last epoch's loss.

    With several workers each of them calls this with its own copy of the network: batches, and what they change, are
    those of one worker. The order of the samples follows from the context's seed; `change` is applied to each batch of
    inputs; `mixed` lets the network compute in BF16. `network` is in evaluation mode afterwards.

    Raises:
        Stalled: StepFailed, the loss is no number any more; StepHadNoEffect, no weight changed; InvalidSpec, the
            batches are too small for the workers.
        Interrupted: The run was asked to end, looked at before each batch; a checkpoint was saved.
        GroupEnded: Another worker is gone, or was told to stop.
    """
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    inputs, size = tensors_of(samples), min(batch, len(samples))
    _require_parts(size, context)
    per_epoch = max(len(samples) // size, 1)
    at = Position(network, epochs * per_epoch, rate, context)
    at.resume()
    at.begin()
    if at.epoch or at.batch:
        context.resumed((at.epoch + at.batch / per_epoch) / epochs)
    mean = 0.0
    network.train()
    for epoch in range(at.epoch, epochs):
        # Whole batches only: normalisation over the one sample of a rest is undefined.
        order = at.order(len(samples))[: per_epoch * size].split(size)
        for chosen in order[at.batch :]:
            at.keep()
            part = at.part(chosen)
            some = change({name: x[part] for name, x in inputs.items()})
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                outputs = forward(network, some)
            at.advance(loss_of(outputs.float() if mixed else outputs, part), len(part) / len(chosen))
        mean = float(at.total) / per_epoch
        if not torch.isfinite(at.total):
            raise context.failed(
                Reason.STEP_FAILED, f"the loss became {mean} in epoch {epoch + 1}; lower the learning rate"
            )
        context.tick((epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}, loss {mean:.3f}")
        at.next_epoch()
    network.eval()
    if all(torch.equal(weight, before[name]) for name, weight in network.named_parameters()):
        raise context.failed(Reason.STEP_HAD_NO_EFFECT, "no weight changed; raise the learning rate or the epochs")
    return mean


def _require_parts(size: int, context: Context) -> None:
    workers = context.group.size
    if size < smallest_batch(workers):
        raise context.failed(
            Reason.INVALID_SPEC,
            f"batches of {size} samples are too small for spec.compression.workers: {workers}, each of which takes "
            "at least 2; use fewer workers, or a larger batchSize",
        )


class Position:
    """Everything that the next batch depends on: weights, optimizer, schedule, random numbers, place in the data."""

    def __init__(self, network: nn.Module, steps: int, rate: float, context: Context) -> None:
        self._network = network
        self._context = context
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, max_lr=rate, total_steps=steps, pct_start=_WARM_UP
        )
        self._generator = torch.Generator().manual_seed(context.seed)
        self._drawn = self._generator.get_state()
        self._zeros: list[tuple[nn.Parameter, Tensor]] = []
        self._exchange = context.group.exchange(network, context.stop)
        self.total = torch.zeros(())
        self.epoch = 0
        self.batch = 0

    def begin(self) -> None:
        """Start from the same weights as the other workers, and keep the zeros that pruning made from now on."""
        self._exchange.align()
        self._zeros = held_zeros(self._network)

    def order(self, count: int) -> Tensor:
        """Return the order of this epoch's samples."""
        self._drawn = self._generator.get_state()
        return torch.randperm(count, generator=self._generator)

    def part(self, chosen: Tensor) -> Tensor:
        """Return the samples of a batch that this worker takes, and let its random numbers follow from the place."""
        self._exchange.seed(self._context.seed, self._context.call, self.epoch, self.batch)
        return self._exchange.part(chosen)

    def advance(self, loss: Tensor, share: float) -> None:
        """Make one step down the loss of a batch, of which this worker's is the given share."""
        self._optimizer.zero_grad()
        loss.backward()
        whole = self._exchange.combine(loss.detach(), share)
        self._optimizer.step()
        with torch.no_grad():
            for weight, mask in self._zeros:
                weight.mul_(mask)
        self._schedule.step()
        self.total += whole
        self.batch += 1

    def next_epoch(self) -> None:
        self.epoch, self.batch = self.epoch + 1, 0
        self.total = torch.zeros(())

    def keep(self) -> None:
        """Save a checkpoint when it is time, or when the run was asked to end, and then end it."""
        if self._exchange.stopping or self._context.training.due:
            self._context.training.save(self._state(), self._write)
        self._exchange.check()

    def resume(self) -> None:
        """Go to where this step's last checkpoint was; without one, stay at the beginning."""
        saved = self._context.training.load()
        here = (self._context.index, self._context.call)
        if saved is None or (saved.state["step"], saved.state["call"]) != here:
            return
        tensors = load_file(saved.folder / TENSORS)
        self._network.load_state_dict(_below("network.", tensors))
        self._optimizer.load_state_dict(_unflattened(saved.state["optimizer"], _below("optimizer.", tensors)))
        self._schedule.load_state_dict(saved.state["schedule"])
        self._generator.set_state(tensors["order"])
        torch.set_rng_state(tensors["random"])
        self.total = tensors["total"]
        self.epoch, self.batch = saved.state["epoch"], saved.state["batch"]

    def _state(self) -> dict[str, Any]:
        groups = self._optimizer.state_dict()["param_groups"]
        schedule = {k: v for k, v in self._schedule.state_dict().items() if isinstance(v, int | float | bool | list)}
        return {
            "step": self._context.index,
            "call": self._context.call,
            "notes": dict(self._context.notes),
            "epoch": self.epoch,
            "batch": self.batch,
            "optimizer": groups,
            "schedule": schedule,
        }

    def _write(self, folder: Path) -> None:
        tensors = {f"network.{name}": value for name, value in self._network.state_dict().items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        # The order of an epoch is drawn at its beginning, so the generator is kept as it was before.
        tensors |= {"order": self._drawn, "random": torch.get_rng_state(), "total": self.total}
        save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, folder / TENSORS)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _unflattened(groups: list[dict[str, Any]], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return an optimizer's state from its groups and its tensors, which are named `<parameter>.<what>`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, what = name.partition(".")
        state.setdefault(int(index), {})[what] = value
    return {"state": state, "param_groups": groups}
