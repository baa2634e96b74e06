"""A model as a customer brings it: a source, a data set, and the request for a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

Array = NDArray[Any]
NETWORKS = Path(__file__).parent / "networks"


@dataclass(frozen=True, slots=True)
class Data:
    """Samples for training and for judging: inputs by name, and one class each."""

    train: Mapping[str, Array]
    train_labels: Array
    test: Mapping[str, Array]
    test_labels: Array

    def save(self, path: Path) -> None:
        """Write it as OptimizedModel takes it."""
        arrays = {f"{name}_train": array for name, array in self.train.items()}
        arrays |= {f"{name}_test": array for name, array in self.test.items()}
        np.savez(path, y_train=self.train_labels, y_test=self.test_labels, **arrays)

    @classmethod
    def load(cls, path: Path) -> Data:
        with np.load(path, allow_pickle=False) as archive:
            parts = {
                split: {
                    name.removesuffix(f"_{split}"): archive[name]
                    for name in archive.files
                    if name.endswith(f"_{split}") and name != f"y_{split}"
                }
                for split in ("train", "test")
            }
            return cls(parts["train"], archive["y_train"], parts["test"], archive["y_test"])


def code_source(network: nn.Module, code: str, folder: Path) -> dict[str, str]:
    """Write a network as its code and its weights; return `spec.source`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(NETWORKS / f"{code}.py", folder / f"{code}.py")
    weights = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    return {"uri": folder.as_uri(), "format": "Python", "entrypoint": f"{code}:build"}


def write_request(folder: Path, name: str, source: Mapping[str, str]) -> None:
    """Write `spec.json`, what `trimtab compress run --spec` takes."""
    request = {
        "namespace": "bench",
        "model": name,
        "key": "bench",
        "source": source,
        "compression": {"preset": "Balanced"},
        "guardrail": {"dataset": {"uri": (folder / "data.npz").as_uri()}, "maxDrop": "1pp"},
        "output": (folder / "out").as_uri(),
        "allowCode": True,
    }
    (folder / "spec.json").write_text(json.dumps(request, indent=1))
