"""A perceptron that tells the cut of a diamond, one of five, from the 53,940 diamonds of plotnine."""

from __future__ import annotations

import csv
from pathlib import Path

import customer
import numpy as np
import samples
import torch
import training
import wheels
from networks import mlp

TEST, EPOCHS, RATE, BATCH = 10_000, 30, 2e-3, 512
CUTS = ("Fair", "Good", "Very Good", "Premium", "Ideal")
COLOURS, CLARITIES = "DEFGHIJ", ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF")
NUMBERS = ("carat", "depth", "table", "price", "x", "y")


def build(wheel_folder: Path, folder: Path) -> float:
    """Make the model in `folder`; return its accuracy."""
    file = wheels.DIAMONDS.unpack(wheel_folder, "plotnine/data/diamonds.csv", folder / "scratch")
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    table = np.array([_columns(row) for row in rows], np.float32)
    labels = np.array([CUTS.index(row["cut"]) for row in rows], np.int64)
    order = np.random.default_rng(0).permutation(len(table))
    table, labels = table[order], labels[order]
    data = samples.Data({"x": table[TEST:]}, labels[TEST:], {"x": table[:TEST]}, labels[:TEST])
    data.save(folder)
    network = mlp.build()
    network.mean = torch.from_numpy(data.train["x"].mean(0))
    network.deviation = torch.from_numpy(data.train["x"].std(0))
    training.trained(network, data.train, data.train_labels, epochs=EPOCHS, rate=RATE, batch=BATCH)
    customer.write_request(folder, "tabular", customer.code_source(network, "mlp", folder / "source"))
    return training.accuracy(network, data.test, data.test_labels)


def _columns(row: dict[str, str]) -> list[float]:
    """Return six numbers, and a one for the colour and the clarity."""
    colour = [float(row["color"] == letter) for letter in COLOURS]
    clarity = [float(row["clarity"] == name) for name in CLARITIES]
    return [float(row[name]) for name in NUMBERS] + colour + clarity
