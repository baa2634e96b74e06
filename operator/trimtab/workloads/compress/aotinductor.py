"""Networks as libraries of machine code, by AOTInductor: for a level of instructions, and to equal bytes each time.

Left alone, AOTInductor compiles for this very CPU, and the library holds the paths and the time of its making. Here the
level is one that CPUs share (x86-64-v3 or v4, as the psABI defines them), what else it uses is written beside it, and
what says where it was made is left out.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled
from trimtab.workloads.compress.datasets import Samples
from trimtab.workloads.compress.network import OUTPUT, export_form, not_exported, require_parity
from trimtab.workloads.compress.quieting import quiet_libraries
from trimtab.workloads.serve.cpus import processor
from trimtab.workloads.serve.datatypes import NUMPY_TYPES

COMPILER = "g++"
# What the levels add to each other, in the kernel's words (x86-64 psABI, section 3.1.1; LZCNT is abm there).
_V3 = frozenset(
    "pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm avx avx2 bmi1 bmi2 f16c fma abm movbe xsave".split()  # noqa: SIM905
)
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_FOLDER = "model/data/aotinductor/model"
_PLAIN = """\
#!/bin/sh
for option; do
  case "$option" in *.cpp) set -- "$@" "-ffile-prefix-map=$option=model.cpp" ;; esac
done
exec {compiler} "$@" -frandom-seed=trimtab -g0 -s -Wl,--build-id=none
"""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


class Level(NamedTuple):
    """Instructions to compile for."""

    name: str
    flags: frozenset[str]
    bits: int | None
    """Of the vector registers; None leaves them to torch."""
    march: str | None


def level_of(machine: str, flags: frozenset[str]) -> Level:
    """Return the highest level that a CPU has; outside x86-64 all that it has, as torch then compiles for this CPU.

    Raises:
        Stalled: NotSupported, an x86-64 CPU from before AVX2.
    """
    if machine not in {"x86_64", "AMD64"}:
        return Level(machine, flags, None, None)
    for name, needed, bits in (("x86-64-v4", _V4, 512), ("x86-64-v3", _V3, 256)):
        if needed <= flags:
            return Level(name, needed, bits, name)
    raise Stalled(
        Reason.NOT_SUPPORTED,
        f"AotInductor: this CPU lacks {', '.join(sorted(_V3 - flags))}; let the Job run on a newer one "
        "(spec.compression.job.pool), or compile for OnnxRuntime or OpenVino",
    )


def require_compiler(field: str) -> None:
    """Check that there is a C++ compiler, before anything else takes its time.

    Raises:
        Stalled: NotSupported, there is none.
    """
    if shutil.which(COMPILER) is None:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"{field}.engine: AotInductor needs a C++ compiler, and this image has no {COMPILER}; use the image that "
            "target compress of the Dockerfile builds, or compile for OnnxRuntime or OpenVino",
        )


def compile_network(
    network: nn.Module, samples: Samples, target: Path, free: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Any]:
    """Write a network as model.pt2 and, beside it, JSON of what the package takes and needs; return that JSON.

    `samples` gives the form of the inputs and `free` their free dimensions, as for `network.export_network`. The
    number of threads is left open: each pod has its own.

    Raises:
        Stalled: StepFailed, it cannot be exported or compiled, or the package says something else.
    """
    flags = processor()[1]
    level = level_of(platform.machine(), flags)
    form = export_form(samples, free)
    try:
        with quiet_libraries():
            program = torch.export.export(network.eval(), form.args, form.kwargs, dynamic_shapes=form.dynamic)
            extra = _compile(program, target, level)
    except Exception as error:
        # Whatever the compiler stumbles over: torch has no common base for it.
        raise not_exported(error) from error
    types = dict(zip(form.inputs, (str(array.dtype) for array in samples.inputs.values()), strict=True))
    needs = {
        "torch": torch.__version__,
        "cpu": {"isa": level.name, "flags": sorted(level.flags | _flags_of(extra, flags))},
        "inputs": [
            {"name": name, "datatype": _datatype(types[name]), "shape": list(shape)}
            for name, shape in form.inputs.items()
        ],
        "outputs": [OUTPUT],
    }
    target.with_suffix(".json").write_text(json.dumps(needs, indent=1))
    require_parity(network, samples, target)
    return needs


def _compile(program: Any, target: Path, level: Level) -> str:
    """Write the package and return the compiler options for instructions that torch added to the level's."""
    from torch._inductor import aoti_compile_and_package, config
    from torch._inductor.cpu_vec_isa import pick_vec_isa
    from torch._inductor.utils import fresh_cache

    with tempfile.TemporaryDirectory() as name, _plain_compiler(Path(name)):
        options = {
            "compile_threads": 1,  # more are processes of torch's own, which outlive the compilation
            "cpp.cxx": (None, COMPILER),
            "cpp.simdlen": level.bits,
            "cpp.march": level.march,
            "cpp.dynamic_threads": True,
            "aot_inductor.precompile_headers": False,  # saves time from the second compilation on, and keeps files
        }
        with fresh_cache(dir=name):
            made = aoti_compile_and_package(program, package_path=f"{name}/model.pt2", inductor_configs=options)
        _repack(Path(made), target)
        with config.patch({"cpp.simdlen": level.bits}):
            return str(pick_vec_isa().build_arch_flags())


@contextmanager
def _plain_compiler(folder: Path) -> Iterator[None]:
    """Let the compiler be one that leaves out the sources' paths, random names, and symbols.

    It is found by its name: its path would be part of what the sources are named after.
    """
    path = folder / COMPILER
    path.write_text(_PLAIN.format(compiler=shutil.which(COMPILER)))
    path.chmod(0o700)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _repack(made: Path, target: Path) -> None:
    """Write what loading needs of a package: the libraries and what they are for, without sources and chance."""
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(target, "w") as result:
        libraries = sorted(name for name in source.namelist() if name.endswith(".so"))
        others = [name for name in source.namelist() if name.startswith("model/") and "/data/" not in name]
        kept = {name: name for name in others if "serialization_id" not in name}
        for index, library in enumerate(libraries):
            kept[library] = f"{_FOLDER}/library{index}.so"
            kept[library.removesuffix(".so") + "_metadata.json"] = f"{_FOLDER}/library{index}_metadata.json"
        for name in sorted(kept, key=kept.__getitem__):
            result.writestr(zipfile.ZipInfo(kept[name], _LONG_AGO), source.read(name))


def _flags_of(options: str, flags: frozenset[str]) -> set[str]:
    """Return the instructions that compiler options allow, in the kernel's words: -mavx512vnni is avx512_vnni."""
    allowed = {option.removeprefix("-m").replace("-", "") for option in options.split()}
    return {flag for flag in flags if flag.replace("_", "") in allowed}


def _datatype(dtype: str) -> str:
    return next(name for name, known in NUMPY_TYPES.items() if known == dtype)
