"""Which models leave memory for another one: those used longest ago, and never one that is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Resident(NamedTuple):
    """A model in memory."""

    key: tuple[str, str]
    """Name and revision."""
    bytes: int
    used_at: float
    movable: bool
    """Whether it may go now: it comes back with its next request, and nothing runs or waits in it."""


def leaving(residents: Sequence[Resident], needed: int, budget: int) -> list[tuple[str, str]] | None:
    """Return who has to go so that `needed` bytes fit into `budget`; None where they do not fit even then."""
    free = budget - sum(resident.bytes for resident in residents)
    gone: list[tuple[str, str]] = []
    for resident in sorted(residents, key=lambda resident: resident.used_at):
        if free >= needed:
            break
        if resident.movable:
            gone.append(resident.key)
            free += resident.bytes
    return gone if free >= needed else None


def own_memory(status: Path = Path("/proc/self/status")) -> int:
    """Return the bytes of memory that this process has written to; 0 where the system does not say."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)
