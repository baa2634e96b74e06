"""Workers: processes that each hold one variant and answer one request at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

PROGRAM = Path(__file__).parent / "worker.py"
SLOWEST_END_S = 20


class Worker(AbstractContextManager["Worker"]):
    """A process with one variant; it ends with the context."""

    def __init__(self, runtime: str, file: str, model: Path, *, threads: int, log: Path) -> None:
        self._log = log
        with log.open("w") as said:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), runtime, file, str(model), str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(SLOWEST_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def answers(self, path: Path) -> None:
        """Save what it says about every test sample.

        Raises:
            RuntimeError: It could not load, or answer.
        """
        self._ask(answers=str(path))

    def seconds(self, batch: int, repeats: int) -> list[float]:
        """Return the seconds of each of some requests. Raises as `answers`."""
        found: list[float] = self._ask(batch=batch, repeats=repeats)["seconds"]
        return found

    def _ask(self, **request: Any) -> dict[str, Any]:
        try:
            requests, replies = _open(self._process.stdin), _open(self._process.stdout)
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            line = replies.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            said = [text for text in self._log.read_text(errors="replace").splitlines() if text.strip()]
            raise RuntimeError((said or ["it said nothing"])[-1].strip()[:300])
        reply: dict[str, Any] = json.loads(line)
        return reply


def _open(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("the worker has no pipes")
    return pipe
