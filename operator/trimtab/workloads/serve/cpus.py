"""What this process may compute with: CPUs, as its control group says, and their instructions."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")


def available_cpus(cgroups: Path = CGROUPS) -> int:
    """Return the CPU limit in whole CPUs, at least 1; without a limit, the CPUs that the process may run on.

    A part of a CPU is rounded up: with 1.5 CPUs two threads finish a batch earlier than one.
    """
    usable = len(os.sched_getaffinity(0))
    quota = _quota(cgroups)
    return usable if quota is None else max(1, min(usable, math.ceil(quota)))


def _quota(cgroups: Path) -> float | None:
    """Return the limit in CPUs, or None; version 2 of control groups first, then version 1."""
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroups / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroups / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return cpus if cpus > 0 else None


def processor(cpuinfo: Path = CPUINFO) -> tuple[str, frozenset[str]]:
    """Return the first CPU's model and instruction sets, in the kernel's words; ("unknown", nothing) where untold."""
    fields: dict[str, str] = {}
    try:
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        return "unknown", frozenset()
    flags = fields.get("flags") or fields.get("Features") or ""
    return fields.get("model name", "unknown"), frozenset(flags.split())
