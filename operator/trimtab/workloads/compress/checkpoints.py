"""What outlives the pod of a run: its state, in two folders written in turn, so that one of them is always whole."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

from trimtab.errors import Stalled
from trimtab.store import complete_artifact, join, open_store, write_manifest

EVERY_S = 60.0  # a lost node costs at most so much work; a notice may be shorter than a checkpoint takes
STATE = "state.json"
SUFFIX = "-checkpoints"  # of the folder beside the artifacts
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint on this machine's disk."""

    folder: Path
    state: dict[str, Any]


class Line(Protocol):
    """A line of checkpoints, of which the newest counts, wherever it is kept."""

    @property
    def due(self) -> bool: ...

    def load(self) -> Saved | None: ...

    def save(self, state: dict[str, Any], fill: Callable[[Path], None]) -> None: ...


class Checkpoints:
    """One line of checkpoints below a URI; the newest whole one counts."""

    def __init__(
        self, uri: str, field: str, scratch: Path, clock: Callable[[], float], every_s: float = EVERY_S
    ) -> None:
        self._slots = [join(uri, name) for name in ("a", "b")]
        self._field = field
        self._scratch = scratch
        self._clock = clock
        self._every = every_s
        self._last = clock()
        self._number = 0

    @property
    def due(self) -> bool:
        """Whether the last checkpoint is old enough for another."""
        return self._clock() - self._last >= self._every

    def load(self) -> Saved | None:
        """Fetch the newest checkpoint whose every byte is as it was written; None when there is none."""
        newest: tuple[int, Saved] | None = None
        for slot in self._slots:
            folder = Path(tempfile.mkdtemp(dir=self._scratch))
            manifest = complete_artifact(slot, folder, self._field)
            if manifest is None:
                continue
            number = int(manifest.facts["number"])
            if newest is None or number > newest[0]:
                newest = number, Saved(folder, json.loads((folder / STATE).read_bytes()))
        if newest is None:
            return None
        self._number = newest[0]
        return newest[1]

    def save(self, state: dict[str, Any], fill: Callable[[Path], None]) -> None:
        """Publish a checkpoint in the place of the older one; `fill` writes its files into a folder.

        Raises:
            Stalled, NotYet: As stores do.
        """
        began = self._clock()
        with tempfile.TemporaryDirectory(dir=self._scratch) as name:
            folder = Path(name)
            fill(folder)
            (folder / STATE).write_text(json.dumps(state))
            write_manifest(folder, number=self._number + 1)
            open_store(self._slots[(self._number + 1) % 2], self._field).publish(folder)
        self._number += 1
        self._last = self._clock()
        log.info("checkpoint.saved", number=self._number, seconds=round(self._last - began, 2))


def forget_checkpoints(output: str, model: str, field: str) -> None:
    """Delete the checkpoints of all runs of a model: one of them is done, and the others are not wanted any more."""
    try:
        found = open_store(join(output, model), field).files()
    except Stalled:
        return  # nothing was ever written
    folders = {file.name.partition("/")[0] for file in found}
    for name in sorted(name for name in folders if name.endswith(SUFFIX)):
        open_store(join(output, model, name), field).remove()
