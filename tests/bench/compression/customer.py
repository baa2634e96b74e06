"""A model as a customer brings it: a source, and the request for a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import samples
from safetensors.torch import save_file
from torch import nn

NETWORKS = Path(__file__).parent / "networks"


def code_source(network: nn.Module, code: str, folder: Path) -> dict[str, str]:
    """Write a network as its code and its weights; return `spec.source`."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(NETWORKS / f"{code}.py", folder / f"{code}.py")
    weights = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    return {"uri": folder.as_uri(), "format": "Python", "entrypoint": f"{code}:build"}


def write_request(folder: Path, name: str, source: Mapping[str, str]) -> None:
    """Write `spec.json`, what `trimtab compress run --spec` takes."""
    request = {
        "namespace": "bench",
        "model": name,
        "key": "bench",
        "source": source,
        "compression": {"preset": "Balanced"},
        "guardrail": {"dataset": {"uri": (folder / samples.FILE).as_uri()}, "maxDrop": "1pp"},
        "output": (folder / "out").as_uri(),
        "allowCode": True,
    }
    (folder / "spec.json").write_text(json.dumps(request, indent=1))
