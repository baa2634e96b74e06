"""A model's samples, in the .npz that OptimizedModel takes; read by tools in environments that have little else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FILE = "data.npz"


@dataclass(frozen=True, slots=True)
class Data:
    """Samples for training and for judging: inputs by name, and one class each."""

    train: Mapping[str, Array]
    train_labels: Array
    test: Mapping[str, Array]
    test_labels: Array

    def save(self, folder: Path) -> None:
        arrays = {f"{name}_train": array for name, array in self.train.items()}
        arrays |= {f"{name}_test": array for name, array in self.test.items()}
        np.savez(folder / FILE, y_train=self.train_labels, y_test=self.test_labels, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Data:
        with np.load(folder / FILE, allow_pickle=False) as archive:
            train, test = ({name: archive[f"{name}_{split}"] for name in _names(archive.files)} for split in SPLITS)
            return cls(train, archive["y_train"], test, archive["y_test"])


SPLITS = ("train", "test")


def _names(arrays: list[str]) -> list[str]:
    return [name.removesuffix("_train") for name in arrays if name.endswith("_train") and name != "y_train"]


def rows(inputs: Mapping[str, Array], start: int, count: int) -> dict[str, Array]:
    return {name: array[start : start + count] for name, array in inputs.items()}


def batches(inputs: Mapping[str, Array], size: int, most: int | None = None) -> Iterator[dict[str, Array]]:
    """Yield the first `most` samples, all unless given, in batches; the last one is shorter where it has to be."""
    length = len(next(iter(inputs.values())))
    for start in range(0, min(length, most or length), size):
        yield rows(inputs, start, min(size, (most or length) - start))


def calibration(data: Data, count: int) -> list[dict[str, Array]]:
    """Return `count` training samples, one in each: every tool calibrates with the same."""
    return list(batches(data.train, 1, count))
