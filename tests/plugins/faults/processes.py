"""The processes of a container, found as the embedded cluster itself finds them: by the mark in their environment."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from trimtab.local.agent.processes import MARKER


def processes(pod_uid: str, container: str, word: str = "") -> list[int]:
    """Return the processes of a container, its first one first; those with a `word` among their arguments."""
    mark = f"/{pod_uid}/{container}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it ended meanwhile
                continue
            ours = any(text.startswith(f"{MARKER}=".encode()) and mark in text for text in variables)
            if ours and (not word or word.encode() in arguments):
                found.append(int(entry.name))
    return sorted(found)


def send(numbers: list[int], what: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for number in numbers:
        try:
            os.kill(number, what)
        except ProcessLookupError:
            continue
