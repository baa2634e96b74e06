"""The demo customer trains a digit classifier and writes it as a customer would: code, weights, data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

TRAIN_SCANS = 997  # of scikit-learn's 1,797; the other 800 judge
EPOCHS = 14
BATCH = 64


def write_customer_model(folder: Path, data: Path, seed: int = 0, threads: int = 1) -> float:
    """Train on the digits that scikit-learn ships and return the accuracy on the test scans.

    `folder` gets digits_model.py and model.safetensors; `data` is the .npz with x_train, y_train, x_test, y_test:
    float32 [N, 1, 8, 8] in 0..1 and int64 [N].
    """
    import numpy as np
    import torch
    from safetensors.torch import save_file

    from trimtab.cli.demo.customer import digits_model

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    arrays = scans(seed)
    model = digits_model.build()
    train(model, torch.from_numpy(arrays["x_train"]), torch.from_numpy(arrays["y_train"]), seed)
    folder.mkdir(parents=True, exist_ok=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    code, weights = Path(digits_model.__file__), folder / "model.safetensors"
    shutil.copyfile(code, folder / code.name)
    save_file(model.state_dict(), weights)
    weights.chmod(0o644)  # written for the owner alone, but read by pods of another user
    np.savez_compressed(data, allow_pickle=False, **arrays)
    with torch.inference_mode():
        predicted = model(torch.from_numpy(arrays["x_test"])).argmax(1)
    return float((predicted == torch.from_numpy(arrays["y_test"])).float().mean())


def scans(seed: int) -> dict[str, NDArray[Any]]:
    """Return the digits, shuffled and split."""
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    x = (images[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    y = labels[order].astype(np.int64)
    return {
        "x_train": x[:TRAIN_SCANS],
        "y_train": y[:TRAIN_SCANS],
        "x_test": x[TRAIN_SCANS:],
        "y_test": y[TRAIN_SCANS:],
    }


def train(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> None:
    """Train in place with AdamW and a one-cycle rate, on scans shifted by up to a pixel; leave it in eval mode."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    batches = len(y) // BATCH
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=EPOCHS * batches)
    model.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(y), generator=generator)
        for batch in order[: batches * BATCH].split(BATCH):
            loss = functional.cross_entropy(model(_shifted(x[batch], generator)), y[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    model.eval()


def _shifted(x: Tensor, generator: Any) -> Tensor:
    """Move each batch by -1, 0 or 1 pixels in both directions; what leaves on one side is blank on the other."""
    import torch
    from torch.nn import functional

    down, right = torch.randint(0, 3, (2,), generator=generator).tolist()
    padded = functional.pad(x, (1, 1, 1, 1))
    return padded[:, :, down : down + 8, right : right + 8]
