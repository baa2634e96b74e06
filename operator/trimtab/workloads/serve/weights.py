"""The weights of an artifact, mapped into memory: a session over them is there in a millisecond.

The pages are the kernel's own copy of the file, shared by all processes of the node, and it takes them back where
memory is short. That they are in the page table beforehand saves the first run a fault for every few of them.
"""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trimtab.api.compression import Device
from trimtab.api.serving import Engine
from trimtab.workloads.serve.datatypes import Array
from trimtab.workloads.serve.mapped import Weight, is_large, references

# By onnx.TensorProto.DataType; of the others NumPy has none, and the engine maps them itself.
_TYPES = {1: "<f4", 2: "|u1", 3: "|i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)  # not everywhere; then the first run takes a little longer


class Mapped(NamedTuple):
    """What a session is made of; the arrays hold the mapping."""

    model: bytes
    """With references to the file where the large weights are."""
    folder: Path
    """Of the file."""
    weights: dict[str, Array]
    quantized: bool
    """Whether some of them have less than two bytes per number."""


def map_weights(path: Path, model_bytes: int, engine: Engine, device: Device) -> Mapped | None:
    """Map the weights of a model of so many bytes; None where that gains nothing.

    Raises:
        NotOnnx: The file is no model.
        OSError, ValueError: It cannot be mapped.
    """
    if device is not Device.CPU or engine is not Engine.ONNX_RUNTIME or not is_large(model_bytes):
        return None
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        found = references(memoryview(content), path.name)
        if found is None:
            return None
        content = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED | _POPULATE, prot=mmap.PROT_READ)
    weights = {one.name: _array(content, one) for one in found.weights if _is_whole(one)}
    quantized = any(one.bytes < 2 * math.prod(one.shape) for one in found.weights)
    return Mapped(found.model, path.parent, weights, quantized)


def _is_whole(weight: Weight) -> bool:
    kind = _TYPES.get(weight.datatype)
    return kind is not None and math.prod(weight.shape) * np.dtype(kind).itemsize == weight.bytes


def _array(content: mmap.mmap, weight: Weight) -> Array:
    kind = np.dtype(_TYPES[weight.datatype])
    return np.frombuffer(content, kind, math.prod(weight.shape), weight.offset).reshape(weight.shape)
