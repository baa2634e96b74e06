"""A cluster in a process of its own, which is told what to do on its standard input and answers on its output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def own_process(arguments: list[str], log: Path, ends_within_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python with `arguments` inside the block; its standard error goes to `log`."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env={**os.environ, "PYTHONPATH": path},
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=ends_within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
