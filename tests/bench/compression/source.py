"""A model's source as its owner would load it, in PyTorch."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from samples import Data, rows
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification


def network(model: Path) -> nn.Module:
    """Return the network in a model's folder, ready to be asked."""
    source = json.loads((model / "spec.json").read_text())["source"]
    folder = Path(urlparse(source["uri"]).path)
    if source["format"] == "HuggingFace":
        return Logits(AutoModelForSequenceClassification.from_pretrained(folder)).eval()
    module, _, function = source["entrypoint"].partition(":")
    sys.path.insert(0, str(folder))
    built: nn.Module = getattr(importlib.import_module(module), function)()
    built.load_state_dict(load_file(folder / "model.safetensors"))
    return built.eval()


class Logits(nn.Module):
    """A classifier of transformers that answers with its logits alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.inner(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def tensors(inputs: Mapping[str, NDArray[np.generic]]) -> tuple[Tensor, ...]:
    """Return inputs in the order of the network's arguments."""
    return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.values())


def dynamic_shapes(example: Mapping[str, NDArray[np.generic]]) -> tuple[dict[int, torch.export.Dim], ...]:
    """Any number of samples, and for texts any length."""
    batch, length = torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1, max=512)
    return tuple({0: batch, 1: length} if len(example) > 1 else {0: batch} for _ in example)


def export(model: Path, path: Path) -> None:
    """Write a model's network as ONNX, as its owner would; tools that take ONNX start from it."""
    example = {name: array.copy() for name, array in rows(Data.load(model).test, 0, 2).items()}
    program = torch.onnx.export(
        network(model),
        tensors(example),
        dynamo=True,
        dynamic_shapes=dynamic_shapes(example),
        input_names=list(example),
        output_names=["logits"],
        verbose=False,
    )
    program.save(path, external_data=False)
