"""What a worker of test_group does in its process: train some networks and leave their weights.

Arguments: index, workers, address, and a folder that the workers share, whose store the meeting uses.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from trimtab.workloads.compress.checkpoints import Checkpoints
from trimtab.workloads.compress.data import Task
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.stopping import Stop
from trimtab.workloads.compress.techniques.losses import label_loss
from trimtab.workloads.compress.techniques.registry import Context
from trimtab.workloads.compress.techniques.training import train
from trimtab.workloads.compress.workers.group import Alone
from trimtab.workloads.compress.workers.meeting import Meeting
from trimtab.workloads.compress.workers.member import Member

NETWORKS = {
    "plain": lambda: nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)),
    "normalised": lambda: nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)),
    "dropping": lambda: nn.Sequential(nn.Linear(12, 16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, 3)),
}


def samples():
    x = np.random.default_rng(1).normal(size=(103, 12)).astype(np.float32)
    return Samples({"x": x}, (x[:, :3] + 0.3 * x[:, 3:6]).argmax(1))


def context_for(group, folder):
    def quiet(_share, _detail=""):
        pass

    training = Checkpoints((folder / "checkpoints").as_uri(), "output", folder, time.monotonic)
    return Context(
        folder=folder, data=SimpleNamespace(), outputs=3, free={}, teacher=None, reduce_range=False, engine=None,
        field="steps[0]", seed=3, tick=quiet, stop=Stop(), training=training, index=0, group=group,
    )  # fmt: skip


def trained(kind, group, folder, seed):
    torch.manual_seed(seed)
    network, data = NETWORKS[kind](), samples()
    network.register_buffer("constant", torch.tensor([0.1, 1 / 3]))
    # 33 samples: parts of different size, and a rest that is left out.
    loss = train(network, data, label_loss(Task.CLASSES, data.y), 3, 1e-2, 33, context_for(group, folder))
    return {**network.state_dict(), "loss": torch.tensor(loss)}


def main(index, workers, address, shared):
    torch.set_num_threads(1)
    shared = Path(shared)
    own = shared / f"worker-{index}"
    own.mkdir()
    member = Member(int(index), int(workers), address, "job")
    meeting = Meeting((shared / "meeting").as_uri(), "output", "key", member, Stop(), wait_s=120)
    group = meeting.lead() if member.leads else meeting.follow()
    for kind in NETWORKS:
        for attempt in ("first", "again"):
            # Worker 1 begins with other weights: those of worker 0 count.
            save_file(trained(kind, group, own, seed=member.index), own / f"{kind}-{attempt}")
        if member.leads:
            save_file(trained(kind, Alone(), own, seed=0), own / f"{kind}-alone")
    too_small = replace(context_for(group, own), field="spec.compression.steps[0].finetune")
    try:
        train(NETWORKS["plain"](), samples(), lambda outputs, _: outputs.sum(), 1, 1e-2, 3, too_small)
    except Exception as error:  # noqa: BLE001 - the test looks at it
        (own / "refusal").write_text(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
