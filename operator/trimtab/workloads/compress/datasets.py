"""Data sets: an .npz with x_<split> and y_<split>, or one array per input: input_ids_<split>, mask_<split>."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

Array = NDArray[Any]
TRAIN_SPLIT = "train"
LABELS = "y"
# Names that people give to splits: where one is seen, arrays without a split are no split of their own.
_SPLIT = re.compile(r"_(train|test|validation|valid|val|dev|calibration)$")


@dataclass(frozen=True, slots=True)
class Samples:
    """Inputs by name, each [N, ...], with labels [N, ...] where there are any."""

    inputs: Mapping[str, Array]
    y: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def take(self, indices: Array) -> Samples:
        inputs = {name: array[indices] for name, array in self.inputs.items()}
        return Samples(inputs, None if self.y is None else self.y[indices])

    def first(self, count: int) -> Samples:
        return self.take(np.arange(min(count, len(self))))

    def feeds(self, names: list[str]) -> dict[str, Array]:
        """Return the inputs as a model names them: one input may have any name, several go by theirs.

        Raises:
            KeyError: A model's input is not among several.
        """
        if len(names) == 1 and len(self.inputs) == 1:
            return {names[0]: next(iter(self.inputs.values()))}
        return {name: self.inputs[name] for name in names}

    def form(self) -> str:
        """Return types and shapes of a sample for messages: `float32 [1, 8, 8]`."""
        if len(self.inputs) == 1:
            return _form(next(iter(self.inputs.values())))
        return ", ".join(f"{name} {_form(array)}" for name, array in self.inputs.items())

    def rows(self) -> Iterator[bytes]:
        """Yield the bytes of each sample's inputs."""
        for index in range(len(self)):
            yield b"".join(array[index].tobytes() for array in self.inputs.values())


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

    def samples(self, split: str, *, labels: bool = True) -> Samples | None:
        """Return a split, or None when the file does not have it, or has no labels where they are asked for.

        Raises:
            Stalled: DatasetInvalid, naming the array and what is wrong with it.
        """
        suffix = self._suffix(split)
        names = [name for name in self._names if name.endswith(suffix) and name.removesuffix(suffix) != LABELS]
        if not names or (labels and LABELS + suffix not in self._names):
            return None
        inputs = {name.removesuffix(suffix): self._input(name) for name in names}
        count = len(next(iter(inputs.values())))
        for name, array in inputs.items():
            self._require_as_many(f"{name}{suffix}", len(array), names[0], count)
        y = self._labels(LABELS + suffix, names[0], count) if LABELS + suffix in self._names else None
        return Samples(inputs, y)

    def required(self, split: str, *, labels: bool = True) -> Samples:
        """Return a split that must be there."""
        found = self.samples(split, labels=labels)
        if found is None:
            wanted = f"arrays x_{split} and y_{split}" if labels else f"array x_{split}"
            raise self._invalid(
                f"has no {wanted} (it has {', '.join(sorted(self._names)) or 'none'}); name the split that it has, or "
                f"add {'them' if labels else 'it'}"
            )
        return found

    def _suffix(self, split: str) -> str:
        """Return what ends the names of a split's arrays: nothing in a file that has but one."""
        if any(name.endswith(f"_{split}") for name in self._names):
            return f"_{split}"
        one = "x" in self._names and not any(_SPLIT.search(name) for name in self._names)
        return "" if one else f"_{split}"

    def _array(self, name: str) -> Array:
        try:
            self._require_whole(name)
            with np.load(self._path, allow_pickle=False) as archive:
                array: Array = archive[name]
        except (ValueError, OverflowError, OSError, zipfile.BadZipFile, zlib.error, EOFError):
            raise self._invalid(f"{name} cannot be read: the file is damaged; write it again") from None
        return array

    def _require_whole(self, name: str) -> None:
        """Compare what an array claims to be with what is there, before memory is asked for in that size.

        Raises:
            Stalled: DatasetInvalid, it holds Python objects.
            ValueError: It is no array, or of another size than it says.
        """
        with zipfile.ZipFile(self._path) as archive:
            member = f"{name}.npy" if f"{name}.npy" in archive.namelist() else name
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                there = archive.getinfo(member).file_size - file.tell()
        if dtype.hasobject:
            raise self._invalid(f"{name} holds Python objects, which are refused; store plain numbers")
        if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != there:
            raise ValueError(f"{name} claims {shape} of {dtype} in {there} bytes")

    def _input(self, name: str) -> Array:
        x = self._array(name)
        if x.ndim < 2 or len(x) == 0:
            raise self._invalid(f"{name} has shape {list(x.shape)}; it must be [samples, …] with at least one sample")
        if not np.issubdtype(x.dtype, np.number) or np.issubdtype(x.dtype, np.complexfloating):
            raise self._invalid(f"{name} holds {x.dtype}; store the numbers that the model takes")
        self._require_finite(name, x)
        return np.ascontiguousarray(x)

    def _labels(self, name: str, first: str, count: int) -> Array:
        y = self._array(name)
        if y.ndim < 1 or not (np.issubdtype(y.dtype, np.integer) or np.issubdtype(y.dtype, np.floating)):
            raise self._invalid(
                f"{name} is {y.dtype} {list(y.shape)}; it must hold a class or numbers for each sample: int64 [samples]"
            )
        self._require_as_many(name, len(y), first, count)
        self._require_finite(name, y)
        return y.astype(np.int64, copy=False) if np.issubdtype(y.dtype, np.integer) else y.astype(np.float32)

    def _require_as_many(self, name: str, found: int, first: str, count: int) -> None:
        if found != count:
            raise self._invalid(f"{first} has {count} samples and {name} has {found}; they must be as many")

    def _require_finite(self, name: str, array: Array) -> None:
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            bad = int((~np.isfinite(array.reshape(len(array), -1)).all(axis=1)).argmax())
            raise self._invalid(f"{name} holds NaN or infinity, first in sample {bad}; remove such samples")

    def _invalid(self, what: str) -> Stalled:
        return Stalled(
            Reason.DATASET_INVALID,
            f"{self._where} {what}" if what.startswith(("is", "has")) else f"{self._where}: {what}",
        )


def _form(array: Array) -> str:
    return f"{array.dtype} {list(array.shape[1:])}"
