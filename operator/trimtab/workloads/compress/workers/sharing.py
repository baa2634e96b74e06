"""Checkpoints of several workers: worker 0 keeps them, and all go on from what it finds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab.workloads.compress.checkpoints import Checkpoints, Saved
from trimtab.workloads.compress.workers.group import Together


class SharedCheckpoints:
    """One line of checkpoints; every worker calls `load` and `save` at the same places."""

    def __init__(
        self,
        group: Together,
        kept: Checkpoints,
        scratch: Path,
        saved: Callable[[dict[str, Any]], None] = lambda _state: None,
    ) -> None:
        """`saved` is told, in worker 0, what was kept."""
        self._group = group
        self._kept = kept
        self._scratch = scratch
        self._saved = saved

    @property
    def due(self) -> bool:
        return self._group.leads and self._kept.due

    def load(self) -> Saved | None:
        """Return worker 0's newest checkpoint, to all workers the same."""
        if self._group.leads:
            found = self._kept.load()
            self._send(found)
            return found
        return self._received()

    def save(self, state: dict[str, Any], fill: Callable[[Path], None]) -> None:
        if self._group.leads:
            self._kept.save(state, fill)
            self._saved(state)

    def _send(self, found: Saved | None) -> None:
        names = sorted(path.name for path in found.folder.iterdir() if path.is_file()) if found else []
        self._group.share(json.dumps({"names": names, "state": found.state if found else None}).encode())
        for name in names:
            self._group.share((found.folder / name).read_bytes() if found else b"")

    def _received(self) -> Saved | None:
        told = json.loads(self._group.share(None))
        if told["state"] is None:
            return None
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        for name in told["names"]:
            (folder / name).write_bytes(self._group.share(None))
        return Saved(folder, told["state"])
