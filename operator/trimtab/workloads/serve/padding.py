"""Requests of different shape in one batch: shorter ones are filled up, and what was filled up is cut off again.

Which inputs take this, and with what value, the artifact declares: only its author knows that a model ignores it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab.workloads.serve.artifact import ModelSpec, TensorSpec
from trimtab.workloads.serve.datatypes import Array, Feeds


def group_of(feeds: Feeds, spec: ModelSpec) -> tuple[tuple[int, ...], ...]:
    """Return what must be equal for requests to be stacked.

    Of an axis that can be filled up it is the next power of two: at most half of a batch is filling then.
    """
    if not spec.pads:
        return tuple([feeds[tensor.name].shape[1:] for tensor in spec.inputs])
    return tuple(
        tuple(
            1 << (size - 1).bit_length() if tensor.pad is not None and axis is not None else size
            for size, axis in zip(feeds[tensor.name].shape[1:], tensor.axes[1:], strict=True)
        )
        for tensor in spec.inputs
    )


def lengths_of(feeds: Feeds, spec: ModelSpec) -> dict[str, int]:
    """Return how long each named axis is in a request.

    Raises:
        ValueError: Two inputs disagree.
    """
    lengths: dict[str, tuple[int, str]] = {}
    for tensor in spec.inputs:
        for size, axis in zip(feeds[tensor.name].shape, tensor.axes, strict=True):
            if axis is None:
                continue
            known, where = lengths.setdefault(axis, (size, tensor.name))
            if known != size:
                raise ValueError(f"input '{tensor.name}': expected {known} {axis} as in '{where}', got {size}")
    return {axis: size for axis, (size, _) in lengths.items()}


def stacked(requests: Sequence[Feeds], spec: ModelSpec | None) -> Feeds:
    """Return the inputs of all requests below each other; without a spec, or where nothing differs, as they are."""
    pads = {tensor.name: tensor for tensor in spec.inputs if tensor.pad is not None} if spec else {}
    return {name: _stacked([feeds[name] for feeds in requests], pads.get(name)) for name in requests[0]}


def unpadded(output: Array, tensor: TensorSpec, lengths: dict[str, int]) -> Array:
    """Return the part of a request's output that belongs to the length of its own inputs."""
    cut = tuple(slice(lengths.get(axis) if axis else None) for axis in tensor.axes)
    return output[cut]


def _stacked(arrays: list[Array], tensor: TensorSpec | None) -> Array:
    if tensor is None or all(array.shape[1:] == arrays[0].shape[1:] for array in arrays):
        return np.concatenate(arrays)
    longest = tuple(max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True))
    whole = np.full((sum(len(array) for array in arrays), *longest), tensor.pad, arrays[0].dtype)
    start = 0
    for array in arrays:
        whole[(slice(start, start + len(array)), *(slice(size) for size in array.shape[1:]))] = array
        start += len(array)
    return whole
