"""Steps that several recipes begin with are done once: models by what made them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from trimtab.store import bytes_digest
from trimtab.workloads.compress.checkpoints import STATE, Saved
from trimtab.workloads.compress.recipe import PlacedStep


def prefix_keys(origin: str, steps: Sequence[PlacedStep]) -> list[str]:
    """Return a key for each step: equal keys mean equal models after it. `origin` tells source, data and tools."""
    keys, key = [], origin
    for placed in steps:
        # A name is no part of what a step does; the rest of a placed step but its field is.
        wire = placed.step.model_copy(update={"name": None}).wire()
        key = bytes_digest(json.dumps([key, wire, placed.seed, placed.engine.value], sort_keys=True).encode())
        keys.append(key.removeprefix("sha256:")[:16])
    return keys


class Prefixes:
    """Models after each step of a recipe, kept in scratch: what `Carrier` takes for its boundaries."""

    def __init__(self, folder: Path, keys: Sequence[str]) -> None:
        self._folders = [folder / key for key in keys]

    @property
    def due(self) -> bool:
        return True

    def load(self) -> Saved | None:
        """Return the longest prefix that was done before."""
        for folder in reversed(self._folders):
            if (folder / STATE).is_file():
                return Saved(folder, json.loads((folder / STATE).read_text()))
        return None

    def save(self, state: dict[str, Any], fill: Callable[[Path], None]) -> None:
        folder = self._folders[len(state["reports"]) - 1]
        folder.mkdir(parents=True, exist_ok=True)
        fill(folder)
        (folder / STATE).write_text(json.dumps(state))
