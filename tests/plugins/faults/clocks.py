"""A wall clock that a test can shift under the processes that it starts, without any rights."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path


class ShiftedClock:
    """Processes with `environment` see the machine's clock plus the seconds that were last set."""

    def __init__(self, folder: Path) -> None:
        """Needs a C compiler: see `possible`."""
        library, shift = folder / "clock.so", folder / "shift"
        command = [
            "cc",
            "-shared",
            "-fPIC",
            "-O1",
            "-o",
            str(library),
            str(Path(__file__).with_name("clock.c")),
            "-ldl",
        ]
        subprocess.run(command, check=True)
        shift.write_bytes(struct.pack("q", 0))
        with shift.open("r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}

    @staticmethod
    def possible() -> bool:
        return shutil.which("cc") is not None

    def set(self, seconds: int) -> None:
        self._shift[:8] = struct.pack("q", seconds)

    def close(self) -> None:
        self._shift.close()
