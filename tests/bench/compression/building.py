"""Builds the models that are compared, each once, in a process of its own."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import source
import torch
from tools.making import ONNX

MODELS = ("minilm", "resnet18", "efficientnet", "tabular")
THREADS = 2  # as many everywhere: sums in another order train other weights
ABOUT = "about.json"  # written last: a folder without it is not finished


def build(name: str, cache: Path) -> Path:
    """Return the folder of a model, built unless it is there.

    Raises:
        subprocess.CalledProcessError: It could not be built; its output says why.
    """
    folder = cache / "models" / name
    if not (folder / ABOUT).is_file():
        print(f"building {name} in {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, __file__, name, str(cache)], check=True)
    return folder


def main(name: str, cache: Path) -> None:
    folder = cache / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    accuracy = importlib.import_module(f"models.{name}").build(cache / "wheels", folder)
    source.export(folder, folder / ONNX)
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    (folder / ABOUT).write_text(json.dumps({"model": name, "accuracy": accuracy}, indent=1))
    print(f"{name}: accuracy {accuracy:.3f}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
