"""Data sets: an .npz with x_<split> and y_<split>, or x and y alone."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

Array = NDArray[Any]
TRAIN_SPLIT = "train"


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs [N, ...] with integer labels [N]."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: Array) -> Samples:
        return Samples(self.x[indices], self.y[indices])


class DataFile:
    """An opened .npz. Its arrays are read without pickle, so a hostile file cannot run code."""

    def __init__(self, path: Path, field: str, uri: str) -> None:
        """Open a file; `field` and `uri` begin every message.

        Raises:
            Stalled: DatasetInvalid, it is no .npz.
        """
        self._where = f"{field}: {uri}"
        try:
            with np.load(path, allow_pickle=False) as archive:
                self._names = list(archive.files)
        except (ValueError, OSError, zipfile.BadZipFile, AttributeError):
            raise self._invalid(
                f"is no .npz file; write it with numpy.savez_compressed({path.name!r}, x_test=…, y_test=…)"
            ) from None
        self._path = path

    def samples(self, split: str) -> Samples | None:
        """Return a split, or None when the file does not have it.

        Raises:
            Stalled: DatasetInvalid, naming the array and what is wrong with it.
        """
        names = self._split_names(split)
        if names is None:
            return None
        x, y = self._array(names[0]), self._array(names[1])
        self._check(names, x, y)
        return Samples(np.ascontiguousarray(x), y.astype(np.int64, copy=False))

    def required(self, split: str) -> Samples:
        """Return a split that must be there."""
        found = self.samples(split)
        if found is None:
            raise self._invalid(
                f"has no arrays x_{split} and y_{split} (it has {', '.join(sorted(self._names)) or 'none'}); name the "
                "split that it has, or add them"
            )
        return found

    def _split_names(self, split: str) -> tuple[str, str] | None:
        if {f"x_{split}", f"y_{split}"} <= set(self._names):
            return f"x_{split}", f"y_{split}"
        alone = not any(name.startswith(("x_", "y_")) for name in self._names)
        return ("x", "y") if alone and {"x", "y"} <= set(self._names) else None

    def _array(self, name: str) -> Array:
        try:
            with np.load(self._path, allow_pickle=False) as archive:
                array: Array = archive[name]
        except ValueError:
            raise self._invalid(f"{name} holds Python objects, which are refused; store plain numbers") from None
        except (OSError, zipfile.BadZipFile, EOFError):
            raise self._invalid(f"{name} cannot be read: the file is damaged; write it again") from None
        return array

    def _check(self, names: tuple[str, str], x: Array, y: Array) -> None:
        if x.ndim < 2 or len(x) == 0:
            raise self._invalid(
                f"{names[0]} has shape {list(x.shape)}; it must be [samples, …] with at least one sample"
            )
        if not np.issubdtype(x.dtype, np.number) or np.issubdtype(x.dtype, np.complexfloating):
            raise self._invalid(f"{names[0]} holds {x.dtype}; store the numbers that the model takes")
        if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
            raise self._invalid(
                f"{names[1]} is {y.dtype} {list(y.shape)}; it must hold one integer class per sample: int64 [samples]"
            )
        if len(x) != len(y):
            raise self._invalid(f"{names[0]} has {len(x)} samples and {names[1]} has {len(y)}; they must be as many")
        if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all():
            bad = int((~np.isfinite(x.reshape(len(x), -1)).all(axis=1)).argmax())
            raise self._invalid(f"{names[0]} holds NaN or infinity, first in sample {bad}; remove such samples")
        if int(y.min()) < 0:
            raise self._invalid(f"{names[1]} holds {int(y.min())}; classes are counted from 0")

    def _invalid(self, what: str) -> Stalled:
        return Stalled(
            Reason.DATASET_INVALID,
            f"{self._where} {what}" if what.startswith(("is", "has")) else f"{self._where}: {what}",
        )
