"""Images whose class is known by construction: crops of photos that packages ship, and which photo each is from."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
SKIMAGE = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png"),
    *("coins.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg", "ihc.png", "moon.png"),
    *("motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg", "text.png"),
)
INSTALLED = {
    "scikit-learn": ("sklearn/datasets/images/china.jpg", "sklearn/datasets/images/flower.jpg"),
    "matplotlib": ("matplotlib/mpl-data/sample_data/grace_hopper.jpg",),
}
CLASSES = len(SKIMAGE) + 3
# Photos are cut into 3x3 cells, and no crop leaves its cell: no pixel is seen in training and in the test.
GRID = 3
TEST_CELLS = frozenset({(0, 1), (1, 2), (2, 0)})
SMALLEST = 0.6  # share of the cell's shorter side
NOISE, BRIGHTNESS = 25.0, 0.35


def photos(skimage: Path) -> list[Pixels]:
    """Return the photos [height, width, 3], those of scikit-image from its unpacked data folder."""
    paths = [skimage / name for name in SKIMAGE]
    for distribution, names in INSTALLED.items():
        paths += [Path(str(metadata.distribution(distribution).locate_file(name))) for name in names]
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def crops(images: list[Pixels], of_each: int, side: int, *, test: bool) -> tuple[Pixels, NDArray[np.int64]]:
    """Return crops [N, 3, side, side] in random light, with noise, maybe mirrored, and the photos they are from."""
    draw = np.random.default_rng(1 if test else 0)
    cells = [(row, column) for row in range(GRID) for column in range(GRID) if ((row, column) in TEST_CELLS) == test]
    found = np.empty((len(images) * of_each, 3, side, side), np.uint8)
    labels = np.repeat(np.arange(len(images)), of_each)
    for index, label in enumerate(labels):
        cell = _cell(images[label], *cells[draw.integers(len(cells))])
        found[index] = _crop(cell, side, draw).transpose(2, 0, 1)
    order = draw.permutation(len(labels))
    return found[order], labels[order]


def _cell(image: Pixels, row: int, column: int) -> Pixels:
    height, width = image.shape[0] // GRID, image.shape[1] // GRID
    return image[row * height : (row + 1) * height, column * width : (column + 1) * width]


def _crop(cell: Pixels, side: int, draw: np.random.Generator) -> Pixels:
    shorter = min(cell.shape[:2])
    size = int(draw.integers(int(shorter * SMALLEST), shorter + 1))
    top, left = (int(draw.integers(length - size + 1)) for length in cell.shape[:2])
    part = Image.fromarray(cell[top : top + size, left : left + size]).resize((side, side), Image.Resampling.BILINEAR)
    values = np.asarray(part, np.float32)
    if draw.random() < 0.5:
        values = values[:, ::-1]
    light = 1 + BRIGHTNESS * draw.uniform(-1, 1)
    noise = draw.normal(0, NOISE * draw.random(), values.shape)
    return np.clip(values * light + noise, 0, 255).astype(np.uint8)
