"""torch.export archives (.pt2), read as data.

torch's own loader runs code of the file in several ways: pickled weights, constants and example inputs, expressions
that are evaluated, guards that are executed, operators by any name, compiled libraries. None of it is called: the graph
is JSON, the weights are raw bytes, and whatever is neither is refused.

Source: torch/_export/serde/schema.py of torch 2.13 (schema version 8).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SCHEMA = 8
# Numbers of the schema's ScalarType.
DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_LARGEST_JSON = 256 * 1024 * 1024  # bytes; a graph of ten thousand nodes has ten
_WEIGHTS = "data/weights/"
_CONSTANTS = "data/constants/"
_CODE = {
    "data/aotinductor/": "compiled code",
    "data/constants/custom_obj": "pickled objects",
}


class ArchiveError(ValueError):
    """What is wrong with an archive, or what in it would run code."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An exported program as plain data."""

    graph: dict[str, Any]
    """The schema's Graph."""
    inputs: tuple[dict[str, Any], ...]
    """The schema's InputSpecs, in the order of the graph's inputs."""
    outputs: tuple[dict[str, Any], ...]
    """The schema's OutputSpecs."""
    tensors: Mapping[str, Tensor]
    """Parameters, buffers and constants by name."""


def read_archive(path: Path) -> Archive:
    """Read an archive without running any of it.

    Raises:
        ArchiveError: It is none, it is damaged, or it holds what could run code.
    """
    try:
        with zipfile.ZipFile(path) as opened:
            return _read(opened)
    except (zipfile.BadZipFile, OSError, KeyError, TypeError, AttributeError, IndexError, UnicodeDecodeError) as error:
        raise ArchiveError(f"is no archive of torch.export ({type(error).__name__}: {error})") from None


def _read(opened: zipfile.ZipFile) -> Archive:
    names = _members(opened)
    models = [name for name in names if name.startswith("models/") and name.endswith(".json")]
    if len(models) != 1:
        raise ArchiveError(f"holds {len(models)} programs; save one model with torch.export.save")
    model = models[0].removeprefix("models/").removesuffix(".json")
    program = _json(opened, names[models[0]])
    if program["schema_version"]["major"] != SCHEMA:
        raise ArchiveError(
            f"has schema version {program['schema_version']['major']}, this version reads {SCHEMA}; export it with "
            f"torch {torch.__version__.partition('+')[0]}"
        )
    module = program["graph_module"]
    tensors = dict(_tensors(opened, names, _WEIGHTS, f"{model}_weights_config.json"))
    tensors |= dict(_tensors(opened, names, _CONSTANTS, f"{model}_constants_config.json"))
    signature = module["signature"]
    return Archive(module["graph"], tuple(signature["input_specs"]), tuple(signature["output_specs"]), tensors)


def _members(opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return members by their path below the archive's one folder."""
    found = {}
    for info in opened.infolist():
        folder, slash, name = info.filename.partition("/")
        if not folder or not slash or ".." in name.split("/") or name in found:
            raise ArchiveError(f"holds {info.filename!r}, which is no path of an archive")
        for prefix, what in _CODE.items():
            if name.startswith(prefix):
                raise ArchiveError(f"holds {what} ({name}), which is not run; export the model without it")
        found[name] = info
    return found


def _json(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    if info.file_size > _LARGEST_JSON:
        raise ArchiveError(f"holds a {info.filename} of {info.file_size:,} bytes, too large to be a graph")
    try:
        return json.loads(opened.read(info))
    except ValueError as error:
        raise ArchiveError(f"holds a damaged {info.filename} ({error})") from None


def _tensors(
    opened: zipfile.ZipFile, names: Mapping[str, zipfile.ZipInfo], folder: str, config: str
) -> Iterator[tuple[str, Tensor]]:
    if folder + config not in names:
        return
    for name, entry in _json(opened, names[folder + config])["config"].items():
        if entry["use_pickle"]:
            raise ArchiveError(f"keeps {name} as a pickle, which could run code; export it as a plain tensor")
        yield name, _tensor(opened.read(names[folder + str(entry["path_name"])]), entry["tensor_meta"], name)


def _tensor(content: bytes, meta: Mapping[str, Any], name: str) -> Tensor:
    """Return a tensor from its bytes; sizes and strides are checked against them."""
    sizes, strides = ([int(size["as_int"]) for size in meta[key]] for key in ("sizes", "strides"))
    dtype, offset = DTYPES.get(meta["dtype"]), int(meta["storage_offset"]["as_int"])
    if dtype is None:
        raise ArchiveError(f"keeps {name} in a type that is not supported ({meta['dtype']})")
    held = len(content) // dtype.itemsize
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if min([0, *sizes, *strides, offset]) < 0 or (0 not in sizes and last >= held):
        raise ArchiveError(f"says that {name} has sizes {sizes}, but holds {held} numbers of it")
    if 0 in sizes:
        return torch.empty(sizes, dtype=dtype)
    flat = torch.frombuffer(bytearray(content), dtype=dtype, count=held)
    return flat.as_strided(sizes, strides, offset).clone()
