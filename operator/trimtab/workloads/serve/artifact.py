"""What an artifact says about its model: `config.json`, read once at start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.workloads.serve.datatypes import NUMPY_TYPES

CONFIG_FILE = "config.json"
# By the name of the engine, as spec.serving.engine has it.
MODEL_FILES = {Engine.ONNX_RUNTIME: "model.onnx", Engine.OPEN_VINO: "model.xml", Engine.TORCH: "model.pt2"}
# What a compile step calls an engine, where it is not the engine's own name.
_COMPILED_AS = {Engine.TORCH: "AotInductor"}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output; -1 in the shape takes any length, and the first dimension counts rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    axes: tuple[str | None, ...] = ()
    """A name for each axis whose length several tensors share; as long as the shape, or empty."""
    pad: float | None = None
    """Of an input: what its named axes may be filled up with at their end, without changing the answer."""

    def takes(self, shape: tuple[int, ...]) -> bool:
        if len(shape) != len(self.shape):
            return False
        for want, got in zip(self.shape, shape, strict=True):  # noqa: SIM110 - half the time of a generator
            if want not in (-1, got):
                return False
        return True


@dataclass(frozen=True)
class ModelSpec:
    """The tensors of a model, in the artifact's order, and the engine that it was judged in.

    What every request asks is worked out once.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engine: Engine = Engine.ONNX_RUNTIME

    @cached_property
    def inputs_by_name(self) -> dict[str, TensorSpec]:
        return {tensor.name: tensor for tensor in self.inputs}

    @cached_property
    def pads(self) -> bool:
        """Whether requests of different length can be stacked."""
        return any(tensor.pad is not None for tensor in self.inputs)

    @cached_property
    def has_free_sizes(self) -> bool:
        """Whether rows may differ in size."""
        return any(-1 in tensor.shape[1:] or tensor.datatype == "BYTES" for tensor in self.inputs)

    @property
    def file(self) -> str:
        """Name of the model's file in the artifact."""
        return MODEL_FILES[self.engine]

    @cached_property
    def stackable(self) -> bool:
        """Whether requests can be stacked along the first dimension and the answer cut apart again."""
        return all(tensor.shape[:1] == (-1,) for tensor in self.inputs + self.outputs)


def read_spec(folder: Path) -> ModelSpec:
    """Return what `config.json` in an artifact's folder says.

    Raises:
        Stalled: The file is missing or says something that this pod cannot serve.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Stalled(
            Reason.ARTIFACT_CORRUPT, f"{CONFIG_FILE} is missing in the artifact; compress the model again"
        ) from None
    except ValueError as error:
        raise Stalled(Reason.ARTIFACT_CORRUPT, f"{CONFIG_FILE} is not JSON: {error}") from None
    return parse_spec(config)


def parse_spec(config: Any) -> ModelSpec:
    """Return the tensors of a decoded `config.json`.

    Raises:
        Stalled: A field is missing or has a value that this pod cannot serve.
    """
    if not isinstance(config, dict):
        raise _unsupported("the top level", config, "an object")
    engine = config.get("engine", Engine.ONNX_RUNTIME)
    if engine not in MODEL_FILES:
        raise _unsupported("engine", engine, " or ".join(MODEL_FILES))
    spec = ModelSpec(inputs=_tensors(config, "inputs"), outputs=_tensors(config, "outputs"), engine=Engine(engine))
    if spec.pads:
        _check_padding(spec)
    return spec


def require_engine(spec: ModelSpec, wanted: Engine) -> None:
    """Check that a model is for the engine that is asked for; Auto takes any.

    Raises:
        Stalled: InvalidSpec, the artifact was compiled for, and judged in, another one.
    """
    if wanted not in {Engine.AUTO, spec.engine}:
        raise Stalled(
            Reason.INVALID_SPEC,
            f"spec.serving.engine: {wanted}, but the artifact was judged in {spec.engine} and only runs there; use "
            f"Auto, or compress with a step compile for {_COMPILED_AS.get(wanted, wanted)}",
        )


def _tensors(config: dict[str, Any], field: str) -> tuple[TensorSpec, ...]:
    listed = config.get(field)
    if not isinstance(listed, list) or not listed:
        raise _unsupported(field, listed, "a list with at least one tensor")
    return tuple(_tensor(item, f"{field}[{index}]") for index, item in enumerate(listed))


def _tensor(item: Any, where: str) -> TensorSpec:
    if not isinstance(item, dict):
        raise _unsupported(where, item, "an object with name, datatype and shape")
    name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
    if not isinstance(name, str) or not name:
        raise _unsupported(f"{where}.name", name, "a tensor's name")
    if datatype not in NUMPY_TYPES:
        raise _unsupported(f"{where}.datatype", datatype, f"one of {', '.join(NUMPY_TYPES)}")
    if not isinstance(shape, list) or not all(type(size) is int and (size > 0 or size == -1) for size in shape):
        raise _unsupported(f"{where}.shape", shape, "a list of sizes, -1 for any")
    axes, pad = item.get("axes", [None] * len(shape)), item.get("pad")
    if not isinstance(axes, list) or len(axes) != len(shape) or not all(a is None or isinstance(a, str) for a in axes):
        raise _unsupported(f"{where}.axes", axes, f"{len(shape)} names, null where there is none")
    if pad is not None and (type(pad) not in {int, float} or datatype == "BYTES"):
        raise _unsupported(f"{where}.pad", pad, "a number, for a tensor of numbers")
    return TensorSpec(name, datatype, tuple(shape), tuple(axes), pad)


def _check_padding(spec: ModelSpec) -> None:
    """Check that everything which grows with an input that is filled up says so: else it could not be cut."""
    filled = {axis for tensor in spec.inputs if tensor.pad is not None for axis in tensor.axes[1:]} - {None}
    for field, tensors in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        for index, tensor in enumerate(tensors):
            for size, axis in zip(tensor.shape[1:], tensor.axes[1:], strict=True):
                if size == -1 and (axis not in filled or (field == "inputs" and tensor.pad is None)):
                    expected = f"{', '.join(sorted(map(str, filled))) or 'a name'}, and pad for an input"
                    raise _unsupported(f"{field}[{index}].axes", list(tensor.axes), expected)


def _unsupported(field: str, value: Any, expected: str) -> Stalled:
    return Stalled(Reason.NOT_SUPPORTED, f"{CONFIG_FILE}: {field} is {json.dumps(value)}; expected {expected}")
