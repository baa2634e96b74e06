"""What this machine has: CPUs that the container may use, and whether its int8 instructions are exact."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from trimtab.workloads.serve.cpus import processor

_LIBRARIES = (
    "nncf",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "scikit-learn",
    "skl2onnx",
    "torch",
    "torch-pruning",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that change what a run makes or measures."""

    cpu: str
    threads: int
    vnni: bool
    """Whether int8 products are summed in 32 bits; without it two products can overflow 16 bits."""
    libraries: dict[str, str]
    bf16: bool = False
    """Whether it multiplies in BF16 by instructions of its own; without them that is emulated, many times slower."""

    @property
    def reduce_range(self) -> bool:
        """Whether weights are to use 7 of their 8 bits, so that nothing overflows."""
        return not self.vnni


def this_machine(threads: int | None, root: Path = Path("/")) -> Machine:
    """Look at /proc and the cgroup below `root`; `threads` overrides the CPU limit."""
    cpu, flags = processor(root / "proc/cpuinfo")
    return Machine(
        cpu=cpu,
        threads=threads or usable_cpus(root),
        # Arm has its dot product in every server CPU of the last years and lists it as asimddp.
        vnni=bool(flags & {"avx512_vnni", "avx_vnni", "asimddp"}),
        # Arm lists its instructions for BF16 as bf16.
        bf16=bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}),
        libraries={name: _version(name) for name in _LIBRARIES},
    )


def _version(name: str) -> str:
    """Return a library's version; builds for other devices have other names, and are other libraries."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"gpu-{metadata.version(f'{name}-gpu')}"


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the CPUs of the cgroup's limit, rounded up, or those that this process may run on."""
    available = len(os.sched_getaffinity(0))
    try:
        quota, period = (root / "sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return available
    if quota == "max":
        return available
    return max(1, min(available, math.ceil(int(quota) / int(period))))
