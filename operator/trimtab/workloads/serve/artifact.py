"""What an artifact says about its model: `config.json`, read once at start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.api.serving import Engine
from trimtab.errors import Stalled
from trimtab.workloads.serve.datatypes import NUMPY_TYPES

CONFIG_FILE = "config.json"
# By the name of the engine, as spec.serving.engine has it.
MODEL_FILES = {Engine.ONNX_RUNTIME: "model.onnx", Engine.OPEN_VINO: "model.xml"}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output; -1 in the shape takes any length, and the first dimension counts rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def takes(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The tensors of a model, in the artifact's order, and the engine that it was judged in."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    engine: Engine = Engine.ONNX_RUNTIME

    @property
    def file(self) -> str:
        """Name of the model's file in the artifact."""
        return MODEL_FILES[self.engine]

    @property
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
    return ModelSpec(inputs=_tensors(config, "inputs"), outputs=_tensors(config, "outputs"), engine=Engine(engine))


def require_engine(spec: ModelSpec, wanted: Engine) -> None:
    """Check that a model is for the engine that is asked for; Auto takes any.

    Raises:
        Stalled: InvalidSpec, the artifact was compiled for, and judged in, another one.
    """
    if wanted not in {Engine.AUTO, spec.engine}:
        raise Stalled(
            Reason.INVALID_SPEC,
            f"spec.serving.engine: {wanted}, but the artifact was judged in {spec.engine} and only runs there; use "
            f"Auto, or compress with a step compile for {wanted}",
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
    return TensorSpec(name, datatype, tuple(shape))


def _unsupported(field: str, value: Any, expected: str) -> Stalled:
    return Stalled(Reason.NOT_SUPPORTED, f"{CONFIG_FILE}: {field} is {json.dumps(value)}; expected {expected}")
