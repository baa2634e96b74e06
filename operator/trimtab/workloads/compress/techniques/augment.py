"""Random changes to training images, so that a network sees more of them than there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from trimtab.api.compression import Augment
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.techniques.registry import Context

Change = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Takes and returns a batch of inputs by name."""
_DEGREES = 15.0  # further, and a 6 becomes a 9
_SMALLEST = 0.8  # of a side that a crop keeps
_MOST_CHANNELS = 4


def unchanged(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return inputs


def augmentation(kinds: Sequence[Augment], samples: Samples, context: Context) -> Change:
    """Return what changes each batch of images: anew every time, drawn from torch's generator.

    Raises:
        Stalled: DatasetInvalid, the samples are no images [channels, height, width] of floats.
    """
    if not kinds:
        return unchanged
    arrays = list(samples.inputs.values())
    shape = arrays[0].shape
    looks_last = len(shape) == 4 and shape[1] > _MOST_CHANNELS >= shape[3]
    if len(arrays) != 1 or len(shape) != 4 or arrays[0].dtype.kind != "f" or looks_last:
        raise context.failed(
            Reason.DATASET_INVALID,
            f"augment: {', '.join(kinds)} changes images, float32 [channels, height, width], but samples are "
            f"{samples.form()}; leave augment out",
        )
    return lambda inputs: {name: changed(images, kinds) for name, images in inputs.items()}


def changed(images: Tensor, kinds: Sequence[Augment]) -> Tensor:
    """Return each image [N, C, H, W] rotated by up to 15 degrees, cropped and resized, or mirrored, as asked for.

    What comes in from outside the picture repeats its border.
    """
    count, _, height, width = images.shape
    angle = _between(count, -1, 1) * math.radians(_DEGREES) if Augment.ROTATE in kinds else torch.zeros(count)
    scale = _between(count, _SMALLEST, 1) if Augment.CROP in kinds else torch.ones(count)
    mirror = torch.randint(0, 2, (count,)) * 2.0 - 1 if Augment.FLIP in kinds else torch.ones(count)
    shift_x, shift_y = (_between(count, -1, 1) * (1 - scale) for _ in range(2))
    # Coordinates go from -1 to 1 on both axes, so that a turn in pixels has to undo the picture's proportions.
    proportion = height / width
    places = torch.stack(
        [
            torch.stack([scale * angle.cos() * mirror, -scale * angle.sin() * proportion, shift_x], 1),
            torch.stack([scale * angle.sin() / proportion * mirror, scale * angle.cos(), shift_y], 1),
        ],
        1,
    ).to(images.dtype)
    grid = functional.affine_grid(places, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _between(count: int, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count)
