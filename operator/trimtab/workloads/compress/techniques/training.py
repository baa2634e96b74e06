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
) -> float:
    """Train in place with AdamW, the rate warmed up and then lowered along a cosine; return the last epoch's loss.

    The order of the samples follows from the context's seed; `change` is applied to each batch of inputs. `network` is
    in evaluation mode afterwards.

    Raises:
        Stalled: StepFailed, the loss is no number any more; StepHadNoEffect, no weight changed.
        Interrupted: The run was asked to end, looked at before each batch; a checkpoint was saved.
    """
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    inputs, size = tensors_of(samples), min(batch, len(samples))
    per_epoch = max(len(samples) // size, 1)
    at = Position(network, epochs * per_epoch, rate, context)
    at.resume()
    at.hold_zeros()
    if at.epoch or at.batch:
        context.resumed((at.epoch + at.batch / per_epoch) / epochs)
    mean = 0.0
    network.train()
    for epoch in range(at.epoch, epochs):
        # Whole batches only: normalisation over the one sample of a rest is undefined.
        order = at.order(len(samples))[: per_epoch * size].split(size)
        for chosen in order[at.batch :]:
            at.keep()
            some = change({name: x[chosen] for name, x in inputs.items()})
            at.advance(loss_of(forward(network, some), chosen))
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
        self.total = torch.zeros(())
        self.epoch = 0
        self.batch = 0

    def hold_zeros(self) -> None:
        """Keep the zeros that pruning made, from now on."""
        self._zeros = held_zeros(self._network)

    def order(self, count: int) -> Tensor:
        """Return the order of this epoch's samples."""
        self._drawn = self._generator.get_state()
        return torch.randperm(count, generator=self._generator)

    def advance(self, loss: Tensor) -> None:
        """Make one step down the loss."""
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            for weight, mask in self._zeros:
                weight.mul_(mask)
        self._schedule.step()
        self.total += loss.detach()
        self.batch += 1

    def next_epoch(self) -> None:
        self.epoch, self.batch = self.epoch + 1, 0
        self.total = torch.zeros(())

    def keep(self) -> None:
        """Save a checkpoint when it is time, or when the run was asked to end, and then end it."""
        if self._context.stop.asked or self._context.training.due:
            self._context.training.save(self._state(), self._write)
        self._context.stop.check()

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
