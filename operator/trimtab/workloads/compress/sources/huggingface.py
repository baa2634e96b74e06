"""Hugging Face folders: config.json names the architecture, safetensors hold the weights; no code of theirs runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trimtab.workloads.compress.network import first_line, invalid_source
from trimtab.workloads.compress.quieting import quiet_libraries

# Inputs whose second dimension is the length of a text.
_TEXTS = ("input_ids", "attention_mask", "token_type_ids")


def load_folder(folder: Path, uri: str) -> tuple[nn.Module, dict[str, tuple[int, ...]]]:
    """Return the network of a folder, and the dimensions of its inputs that take any size.

    It gives logits where the architecture has a head, sentence embeddings where the folder says how to pool, else the
    last hidden state.

    Raises:
        Stalled: SourceInvalid, naming what is missing or refused.
    """
    config = _config(folder, uri)
    architecture = _architecture(config, uri)
    try:
        with quiet_libraries():
            network = architecture.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation="eager",  # exports to plain operators, which quantizers know
            )
    except Exception as error:
        raise invalid_source(
            f"{uri}: the folder cannot be loaded ({first_line(error)}); save it again with "
            "save_pretrained(folder, safe_serialization=True)"
        ) from error
    free: dict[str, tuple[int, ...]] = (
        {} if getattr(network, "main_input_name", "") == "pixel_values" else dict.fromkeys(_TEXTS, (1,))
    )
    return Answering(network, *_pooling(folder, uri)).eval(), free


class Answering(nn.Module):  # type: ignore[misc]
    """A network of transformers that answers with one tensor instead of a record."""

    def __init__(self, network: nn.Module, pooling: str, normalize: bool) -> None:
        super().__init__()
        self.network = network
        self._pooling = pooling
        self._normalize = normalize

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
    ) -> Tensor:
        """Return logits [N, ...], embeddings [N, H], or hidden states [N, T, H]."""
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "pixel_values": pixel_values,
        }
        answer = self.network(**{name: value for name, value in given.items() if value is not None}, return_dict=True)
        if "logits" in answer:
            logits: Tensor = answer["logits"]
            return logits
        hidden: Tensor = answer["last_hidden_state"]
        pooled = _pooled(hidden, attention_mask, self._pooling)
        return nn.functional.normalize(pooled, dim=-1) if self._normalize else pooled


def _pooled(hidden: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "mean":
        if mask is None:
            return hidden.mean(1)
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return hidden


def _config(folder: Path, uri: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise invalid_source(f"{uri}: config.json cannot be read ({first_line(error)}); save the model again") from None
    if not isinstance(config, dict):
        raise invalid_source(f"{uri}: config.json holds no object; save the model again")
    if config.get("auto_map"):
        raise invalid_source(
            f"{uri}: config.json names code of its own (auto_map), which is not run; use an architecture of "
            "transformers, or export the model to ONNX"
        )
    if not any(folder.glob("*.safetensors")):
        raise invalid_source(
            f"{uri}: no .safetensors file; pickled weights can run any code and are refused: save the model with "
            "save_pretrained(folder, safe_serialization=True)"
        )
    return config


def _architecture(config: dict[str, Any], uri: str) -> Any:
    import transformers

    names = config.get("architectures") or ["none"]
    found = getattr(transformers, str(names[0]), None)
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        raise invalid_source(
            f"{uri}: config.json: architectures is {names}; transformers {transformers.__version__} has no such model"
        )
    return found


def _pooling(folder: Path, uri: str) -> tuple[str, bool]:
    """Return how sentence-transformers pools, and whether it normalizes; nothing where the folder does not say."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return "", False
    try:
        listed = json.loads(modules.read_bytes())
        kinds = {str(module["type"]).rpartition(".")[2]: str(module["path"]) for module in listed}
        path = kinds.get("Pooling")
        pooling = json.loads((folder / path / "config.json").read_bytes()) if path is not None else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise invalid_source(f"{uri}: modules.json cannot be read ({first_line(error)}); save it again") from None
    modes = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    chosen = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on]
    if len(chosen) != 1 or chosen[0] not in modes:
        raise invalid_source(
            f"{uri}: pooling by {', '.join(chosen) or 'nothing'} is not supported; use the mean or CLS"
        )
    return modes[chosen[0]], "Normalize" in kinds
