"""Several processes train one network: each takes its part of every batch, and all make the same step.

The collectives are gloo's. A step exchanges one flat vector: gradients, what normalisation has observed, the loss, and
whether somebody was told to stop. The sums run around a ring in a fixed order, so that all workers get the same bits,
and get them again when the training is repeated.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn

from trimtab.api.conditions import Reason
from trimtab.errors import NotYet
from trimtab.workloads.compress.stopping import GroupEnded, Interrupted, Stop
from trimtab.workloads.compress.workers.member import Member

# Another worker may be slower with what comes before a training; it is not lost as long as its connection stands.
_ARRIVE = timedelta(minutes=30)
# A killed process closes its connections, which is noticed at once. This is for machines that vanish without a word.
_STEP = timedelta(minutes=5)
_LOOK = timedelta(seconds=1)  # a wait is left so soon after SIGTERM
_PIECE = 1 << 28  # bytes of one broadcast
_SMALLEST_PART = 2  # samples: normalisation over one is undefined


class Exchange(Protocol):
    """What one training tells the other workers."""

    def align(self) -> None:
        """Give every worker the network's weights as worker 0 has them.

        Raises:
            GroupEnded: Another worker is gone. Interrupted: This process was told to stop.
            NotYet: The workers have networks of different form.
        """

    def part(self, chosen: Tensor) -> Tensor:
        """Return those of a batch's samples [B] that this worker takes."""

    def seed(self, *place: int) -> None:
        """Set torch's generator for this worker's part of the batch at a place of the training."""

    def combine(self, loss: Tensor, share: float) -> Tensor:
        """Make the gradients, and what was observed, those of the whole batch; return its loss.

        `loss` is the mean over this worker's part, which is the given share of the batch.

        Raises:
            GroupEnded: Another worker is gone.
        """

    @property
    def stopping(self) -> bool:
        """Whether all workers are to end before the next batch."""

    def check(self) -> None:
        """End the training if that is so.

        Raises:
            Interrupted: This process was told to stop. GroupEnded: Another one was.
        """


class Group(Protocol):
    """The workers of a run, seen from one of them."""

    @property
    def size(self) -> int: ...

    def exchange(self, network: nn.Module, stop: Stop) -> Exchange:
        """Return what training a network needs."""


class Alone:
    """A run in one pod."""

    size = 1

    def exchange(self, network: nn.Module, stop: Stop) -> Exchange:
        del network
        return _Unshared(stop)


class _Unshared:
    """A training that nobody else takes part in."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def align(self) -> None:
        """Do nothing: there is one copy."""

    def part(self, chosen: Tensor) -> Tensor:
        return chosen

    def seed(self, *place: int) -> None:
        """Leave the generator to run on: checkpoints hold its state."""

    def combine(self, loss: Tensor, share: float) -> Tensor:
        del share
        return loss

    @property
    def stopping(self) -> bool:
        return self._stop.asked

    def check(self) -> None:
        self._stop.check()


class Together:
    """A run in several pods that have met."""

    def __init__(self, backend: dist.ProcessGroupGloo, member: Member) -> None:
        self._backend = backend
        self._member = member

    @property
    def size(self) -> int:
        return self._member.workers

    @property
    def leads(self) -> bool:
        return self._member.leads

    def exchange(self, network: nn.Module, stop: Stop) -> Exchange:
        return _Shared(self, self._member, network, stop)

    def align(self, network: nn.Module, stop: Stop) -> None:
        """Give every worker the weights of worker 0, as `Exchange.align` says."""
        self.arrive(stop)
        self._require_same(network)
        with torch.no_grad():
            for value in network.state_dict().values():
                self._broadcast(value)

    def arrive(self, stop: Stop) -> None:
        """Wait until every worker is here."""
        options = dist.BarrierOptions()
        options.timeout = _ARRIVE
        self._wait(self._backend.barrier(options), stop)

    def add(self, values: Tensor) -> None:
        """Sum a flat vector over the workers, in place."""
        options = dist.AllreduceOptions()
        options.timeout = _STEP
        self._wait(self._backend.allreduce([values], options))

    def share(self, content: bytes | None) -> bytes:
        """Return what worker 0 passes; the others pass None."""
        length = torch.tensor([len(content or b"")])
        self._broadcast(length)
        held = torch.frombuffer(bytearray(content or bytes(int(length))), dtype=torch.uint8) if length else length[:0]
        for piece in held.split(_PIECE):
            self._broadcast(piece)
        return bytes(held.numpy())

    def tell(self) -> None:
        """Let the other workers go on who `hear`."""
        self._broadcast(torch.ones(1))

    def hear(self, stop: Stop) -> None:
        """Wait until worker 0 tells that this one may end."""
        self._broadcast(torch.zeros(1), _ARRIVE, stop)

    def _require_same(self, network: nn.Module) -> None:
        form = json.dumps([(n, list(v.shape), str(v.dtype)) for n, v in network.state_dict().items()]).encode()
        if self.share(form if self.leads else None) != form:
            raise NotYet(
                Reason.RUN_FAILED,
                f"{self._member} made a network of another form than worker 0: their CPUs round differently; let "
                "spec.compression.job.pool name nodes of one kind",
            )

    def _broadcast(self, value: Tensor, patience: timedelta = _STEP, stop: Stop | None = None) -> None:
        raw = value.detach().reshape(-1).clone().view(torch.uint8)  # gloo does not know every type
        options = dist.BroadcastOptions()
        options.rootRank, options.timeout = 0, patience
        self._wait(self._backend.broadcast([raw], options), stop)
        value.copy_(raw.view(value.dtype).view_as(value))

    def _wait(self, work: Any, stop: Stop | None = None) -> None:
        while True:
            ended = work.is_completed()
            try:
                work.wait(_LOOK)
            except RuntimeError as error:  # until it has ended, that of this look only
                if ended:
                    raise GroupEnded(f"{self._member} lost another worker: {_first_line(error)}") from None
            else:
                return
            if stop is not None:
                stop.check()


class _Shared:
    """A training that several workers take part in."""

    def __init__(self, group: Together, member: Member, network: nn.Module, stop: Stop) -> None:
        self._group = group
        self._member = member
        self._stop = stop
        self._weights = [weight for weight in network.parameters() if weight.requires_grad]
        self._network = network
        self._known: list[Tensor] = []
        self._told = False

    def align(self) -> None:
        self._group.align(self._network, self._stop)
        self._known = [buffer.clone() for buffer in self._observed()]

    def part(self, chosen: Tensor) -> Tensor:
        parts: tuple[Tensor, ...] = chosen.tensor_split(self._member.workers)
        return parts[self._member.index]

    def seed(self, *place: int) -> None:
        # By place and worker: nothing of it has to be kept, and no two workers draw the same.
        digest = hashlib.sha256(json.dumps([*place, self._member.index]).encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def combine(self, loss: Tensor, share: float) -> Tensor:
        observed = self._observed()
        with torch.no_grad():
            gradients = [torch.zeros_like(w) if w.grad is None else w.grad * share for w in self._weights]
            # Changes instead of values: what no sample changes stays the same to the last bit.
            changes = [(b - known) * share for b, known in zip(observed, self._known, strict=True)]
            used = torch.tensor([float(w.grad is not None) for w in self._weights])
            last = torch.stack([loss.float() * share, torch.tensor(float(self._stop.asked))])
            flat = torch.cat([values.reshape(-1).float() for values in (*gradients, *changes, used, last)])
            self._group.add(flat)
            *parts, used, last = flat.split([*(g.numel() for g in (*gradients, *changes)), len(used), 2])
            count = len(self._weights)
            for w, gradient, users in zip(self._weights, parts[:count], used.tolist(), strict=True):
                w.grad = gradient.view_as(w).to(w.dtype) if users else None
            for buffer, known, change in zip(observed, self._known, parts[count:], strict=True):
                known.add_(change.view_as(known))
                buffer.copy_(known)
        self._told = bool(last[1])
        return last[0]

    def _observed(self) -> list[Tensor]:
        return [buffer for buffer in self._network.buffers() if buffer.is_floating_point()]

    @property
    def stopping(self) -> bool:
        return self._told

    def check(self) -> None:
        if not self._told:
            return
        if self._stop.asked:
            raise Interrupted
        raise GroupEnded(f"{self._member} ends, as another worker was told to stop")


def smallest_batch(workers: int) -> int:
    """Return how many samples a batch must have, so that every worker gets a part that can be normalised."""
    return 1 if workers == 1 else workers * _SMALLEST_PART


def _first_line(error: Exception) -> str:
    """Return what gloo says without the place in its code."""
    return re.sub(r"^\[\S+\] ", "", str(error).strip().splitlines()[0])[:200]
