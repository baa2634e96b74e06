"""Memory limits: a look at what containers with a limit use, every half second.

There are no control groups of our own here, so the kernel enforces nothing: a container that
allocates very quickly can be well over its limit before anybody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PERIOD_S = 0.5
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Limit:
    """The first process of a container, the bytes that all of it may use, and who hears that it used more."""

    pid: int
    limit: int
    exceeded: Callable[[], None]


class MemoryWatch:
    """Looks only while some container has a limit."""

    def __init__(self, proc: Path = Path("/proc"), period_s: float = PERIOD_S) -> None:
        self._proc = proc
        self._period_s = period_s
        self._limits: dict[int, Limit] = {}
        self._looking: asyncio.Task[None] | None = None

    def watch(self, limit: Limit) -> None:
        """Begin to look at a container."""
        self._limits[limit.pid] = limit
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="memory")

    def forget(self, pid: int) -> None:
        """The container has ended."""
        self._limits.pop(pid, None)
        if not self._limits:
            self.stop()

    def stop(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            processes = dict(_processes(self._proc))
            for limit in list(self._limits.values()):
                if self._used(members(limit.pid, processes), limit.limit) > limit.limit:
                    self._limits.pop(limit.pid, None)
                    limit.exceeded()

    def _used(self, pids: Iterable[int], enough: int) -> int:
        """Bytes in use. Resident sizes count shared pages several times, so they only say when to look closer."""
        chosen = list(pids)
        resident = sum(_resident(self._proc, pid) for pid in chosen)
        return resident if resident <= enough else sum(_proportional(self._proc, pid) for pid in chosen)


def members(first: int, processes: Mapping[int, tuple[int, int]]) -> set[int]:
    """A container's processes: the descendants of its first one, and all of its session.

    `processes` has parent and session by process id.
    """
    inside = {pid for pid, (_, session) in processes.items() if session == first} | {first}
    grew = True
    while grew:
        more = {pid for pid, (parent, _) in processes.items() if parent in inside and pid not in inside}
        grew = bool(more)
        inside |= more
    return inside


def _processes(proc: Path) -> Iterable[tuple[int, tuple[int, int]]]:
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name of the program stands in brackets and may hold anything.
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                yield int(entry.name), (int(fields[1]), int(fields[3]))


def _resident(proc: Path, pid: int) -> int:
    try:
        return int((proc / str(pid) / "statm").read_bytes().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _proportional(proc: Path, pid: int) -> int:
    """Shared pages in equal parts; the resident size where the kernel does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (proc / str(pid) / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return _resident(proc, pid)
