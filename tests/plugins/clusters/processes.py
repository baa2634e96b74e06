"""A process that a fixture owns: its output in a file, waited for until it is ready, ended with its owner."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LAST_LINES = 25
_STOPS_WITHIN_S = 20.0


class DidNotStartError(Exception):
    """A process ended, or was not ready in time; says what it said last."""


class OwnedProcess:
    """Runs a command from construction to `stop`."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = Path(command[0]).name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )

    def wait_until(self, ready: Callable[[], bool], within_s: float) -> None:
        """Return when `ready` says so. Raises DidNotStartError; the process is still the caller's to stop."""
        end = time.monotonic() + within_s
        while not ready():
            if (code := self._process.poll()) is not None:
                raise DidNotStartError(self._told(f"ended with exit status {code} before it was ready"))
            if time.monotonic() > end:
                raise DidNotStartError(self._told(f"was not ready within {within_s:.0f} s"))
            time.sleep(0.1)

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL for one that does not listen."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _told(self, what: str) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n".join([f"{self.name} {what}; the end of {self.log}:", *(f"  {line}" for line in lines)])
