"""From the graph of an exported program to a network of layers, which can be pruned and trained again.

Exported programs have no layers: weights are inputs of ATen operators. Where an operator is what a layer does, the
layer is put back in its place under its old name; the other operators stay. Only operators that compute are let in.
"""

from __future__ import annotations

import keyword
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from trimtab.workloads.compress.sources.archive import DTYPES, Archive, ArchiveError

_WORD = re.compile(r"[A-Za-z_]\w*")
_PATH = re.compile(r"\w+(\.\w+)*")
_ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
_ASSERTS = re.compile(r"torch\.ops\.aten\.(_assert\w*|sym_constrain\w*)\.\w+")
_UNSAFE = {"from_file"}  # the one that opens files
_PLAIN: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in (
        "add",
        "sub",
        "mul",
        "floordiv",
        "truediv",
        "mod",
        "neg",
        "getitem",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
    )
}
_PLAIN |= {f"math.{name}": getattr(math, name) for name in ("floor", "ceil", "trunc")}
_PLAIN |= {f"torch.{name}": getattr(torch, name) for name in ("sym_max", "sym_min", "sym_float", "sym_int", "sym_not")}
_MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}

Values = dict[str, Any]
"""Arguments of an operator by name: fx nodes, tensors' names behind `Weight`, plain values."""


class Weight(str):
    """The name of a parameter, buffer or constant as an operator's argument."""

    __slots__ = ()


def rebuild(archive: Archive) -> fx.GraphModule:
    """Return the network of an archive; its arguments have the names of the program's inputs.

    Raises:
        ArchiveError: It uses what no network of ours may: unknown operators, objects, effects on its own state.
    """
    return _Rebuilding(archive).network()


class _Rebuilding:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._graph = fx.Graph()
        self._root = nn.Module()
        self._values: dict[str, Any] = {}
        self._layers: dict[tuple[Any, ...], str] = {}

    def network(self) -> fx.GraphModule:
        for given, spec in zip(self._archive.graph["inputs"], self._archive.inputs, strict=True):
            self._input(given, spec)
        for node in self._archive.graph["nodes"]:
            self._node(node)
        outputs = [spec for spec in self._archive.outputs if "user_output" in spec]
        if len(outputs) != len(self._archive.outputs) or not outputs:
            raise ArchiveError("changes its own state when it runs, which is not supported; export it in eval mode")
        self._graph.output(self._value(outputs[0]["user_output"]["arg"]))
        module = fx.GraphModule(self._root, self._graph)
        module.graph.eliminate_dead_code()
        module.recompile()
        return module

    def _input(self, given: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        name = str(next(iter(given.values()))["name"])
        kinds = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}
        for kind, key in kinds.items():
            if kind in spec:
                self._values[name] = Weight(_path(spec[kind][key]))
                return
        if "user_input" not in spec or "as_tensor" not in given:
            raise ArchiveError(f"takes {name}, which is no tensor; export it with tensors as its only inputs")
        self._values[name] = self._graph.placeholder(_word(name))

    def _node(self, node: Mapping[str, Any]) -> None:
        target = str(node["target"])
        if _ASSERTS.fullmatch(target):
            return
        function = _function(target)
        named = {str(entry["name"]): self._value(entry["arg"]) for entry in node["inputs"]}
        positional = [str(entry["name"]) for entry in node["inputs"] if entry.get("kind", 1) != 2]
        made = self._layer(target, named)
        if made is None:
            args = tuple(self._resolved(named[name]) for name in positional)
            kwargs = {name: self._resolved(value) for name, value in named.items() if name not in positional}
            made = self._graph.call_function(function, args, kwargs)
        self._keep(node["outputs"], made)

    def _keep(self, outputs: list[Any], made: fx.Node) -> None:
        """Remember what an operator returned under the names that later ones use."""
        several = len(outputs) > 1
        for index, output in enumerate(outputs):
            ((kind, value),) = output.items()
            if kind == "as_tensors":
                for place, entry in enumerate(value):
                    self._values[str(entry["name"])] = self._graph.call_function(operator.getitem, (made, place))
            elif kind != "as_none":
                name = str(value["name"] if "name" in value else value["as_name"])
                self._values[name] = self._graph.call_function(operator.getitem, (made, index)) if several else made

    def _value(self, argument: Mapping[str, Any]) -> Any:
        """Return an argument: what an earlier node made, a weight's name, or a plain value."""
        ((kind, value),) = argument.items()
        if kind in ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"):
            return self._named(value)
        if kind in ("as_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats"):
            return [self._named(entry) for entry in value]
        if kind in ("as_optional_tensor", "as_optional_tensors"):
            return self._value(value) if isinstance(value, Mapping) else [self._value(entry) for entry in value]
        if kind == "as_none":
            return None
        if kind in ("as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools", "as_strings"):
            return value
        if kind == "as_scalar_type" and value in DTYPES:
            return DTYPES[value]
        if kind == "as_memory_format" and value in _MEMORY_FORMATS:
            return _MEMORY_FORMATS[value]
        if kind == "as_device":
            return torch.device("cpu")  # where steps run; the device of the export is of no importance
        if kind == "as_layout":
            return torch.strided
        raise ArchiveError(f"passes {kind.removeprefix('as_')} to an operator, which is not supported")

    def _named(self, entry: Mapping[str, Any]) -> Any:
        for plain in ("as_int", "as_bool", "as_float"):
            if plain in entry:
                return entry[plain]
        return self._values[str(entry["name"] if "name" in entry else entry["as_name"])]

    def _resolved(self, value: Any) -> Any:
        """Return an argument for a plain operator: weights become attributes of the network."""
        if isinstance(value, list):
            return [self._resolved(entry) for entry in value]
        if not isinstance(value, Weight):
            return value
        self._attach(value)
        return self._graph.get_attr(str(value))

    def _attach(self, name: Weight) -> None:
        parent, _, leaf = name.rpartition(".")
        owner = _below(self._root, parent)
        if not hasattr(owner, leaf):
            tensor = self._archive.tensors[name]
            if tensor.is_floating_point() and self._is_parameter(name):
                owner.register_parameter(leaf, nn.Parameter(tensor))
            else:
                owner.register_buffer(leaf, tensor)

    def _is_parameter(self, name: Weight) -> bool:
        return any(spec.get("parameter", {}).get("parameter_name") == name for spec in self._archive.inputs)

    def _layer(self, target: str, named: Values) -> fx.Node | None:
        """Put a layer in the place of an operator that has weights; None where none fits."""
        match = _ATEN.fullmatch(target)
        build = _LAYERS.get(match[1]) if match else None
        weight = named.get("weight")
        if build is None or not isinstance(weight, Weight) or not self._only_weights(named):
            return None
        made = build(named, self._archive.tensors)
        if made is None:
            return None
        layer, source = made
        path = weight.rpartition(".")[0] or str(weight)
        key = (path, repr(layer))
        if key not in self._layers:
            self._layers[key] = self._placed(path, layer)
        return self._graph.call_module(self._layers[key], (named[source],))

    def _only_weights(self, named: Values) -> bool:
        """Whether everything that the layer would own is a weight of the program."""
        owned = ("weight", "bias", "running_mean", "running_var")
        return all(named.get(name) is None or isinstance(named[name], Weight) for name in owned)

    def _placed(self, path: str, layer: nn.Module) -> str:
        """Put a layer where its weights were, or beside what is there already."""
        parent, _, leaf = path.rpartition(".")
        owner, name, count = _below(self._root, parent), leaf, 1
        while hasattr(owner, name):
            count += 1
            name = f"{leaf}_{count}"
        owner.add_module(name, layer)
        return f"{parent}.{name}".lstrip(".")


Built = tuple[nn.Module, str] | None
"""A layer, and which of the operator's arguments it takes."""


def _linear(named: Values, tensors: Mapping[str, Tensor]) -> Built:
    weight = tensors[named["weight"]]
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=named.get("bias") is not None)
    return _filled(layer, named, tensors), "input"


def _convolution(named: Values, tensors: Mapping[str, Tensor]) -> Built:
    weight = tensors[named["weight"]]
    kinds = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
    groups = int(named.get("groups") or 1)
    if weight.ndim not in kinds:
        return None
    sizes = {name: _sizes(named.get(name), weight.ndim - 2, at) for name, at in (("stride", 1), ("dilation", 1))}
    padding = named.get("padding", 0)
    layer = kinds[weight.ndim](
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        padding=padding if isinstance(padding, str) else _sizes(padding, weight.ndim - 2, 0),
        groups=groups,
        bias=named.get("bias") is not None,
        **sizes,
    )
    return _filled(layer, named, tensors), "input"


def _batch_norm(named: Values, tensors: Mapping[str, Tensor]) -> Built:
    if named.get("running_mean") is None or named.get("running_var") is None:
        return None
    weight = tensors[named["weight"]]
    layer = _AnyBatchNorm(len(weight), eps=float(named.get("eps", 1e-5)), momentum=float(named.get("momentum", 0.1)))
    for name in ("running_mean", "running_var"):
        getattr(layer, name).copy_(tensors[named[name]])
    return _filled(layer, named, tensors), "input"


def _layer_norm(named: Values, tensors: Mapping[str, Tensor]) -> Built:
    shape = [int(size) for size in named["normalized_shape"]]
    layer = nn.LayerNorm(shape, eps=float(named.get("eps", 1e-5)), bias=named.get("bias") is not None)
    return _filled(layer, named, tensors), "input"


def _embedding(named: Values, tensors: Mapping[str, Tensor]) -> Built:
    weight = tensors[named["weight"]]
    return _filled(nn.Embedding(*weight.shape), named, tensors), "indices"


class _AnyBatchNorm(nn.BatchNorm2d):  # type: ignore[misc]
    """Batch normalisation over inputs of any number of dimensions."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch names it so
        del input


_LAYERS: dict[str, Callable[[Values, Mapping[str, Tensor]], Built]] = {
    "linear": _linear,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
}


def _filled(layer: nn.Module, named: Values, tensors: Mapping[str, Tensor]) -> nn.Module:
    for name in ("weight", "bias"):
        if named.get(name) is not None:
            setattr(layer, name, nn.Parameter(tensors[named[name]].clone()))
    return layer


def _sizes(value: Any, count: int, otherwise: int) -> tuple[int, ...]:
    given = [otherwise] if value is None else value if isinstance(value, list) else [value]
    return tuple(int(size) for size in (given * count if len(given) == 1 else given))


def _function(target: str) -> Callable[..., Any]:
    """Return the operator of a name: one of ATen that computes, or plain arithmetic."""
    if target in _PLAIN:
        return _PLAIN[target]
    match = _ATEN.fullmatch(target)
    packet = getattr(torch.ops.aten, match[1], None) if match and match[1] not in _UNSAFE else None
    found = getattr(packet, match[2], None) if match and packet is not None else None
    if not isinstance(found, torch._ops.OpOverload) or found._schema.is_mutable:  # noqa: SLF001
        raise ArchiveError(f"uses {target}, which is no operator that only computes; export the model without it")
    return cast("Callable[..., Any]", found)


def _below(root: nn.Module, path: str) -> nn.Module:
    """Return the module at a path, making empty ones on the way."""
    for part in filter(None, path.split(".")):
        if not hasattr(root, part):
            root.add_module(part, nn.Module())
        root = getattr(root, part)
    return root


def _word(name: str) -> str:
    if not _WORD.fullmatch(name) or keyword.iskeyword(name):
        raise ArchiveError(f"calls an input {name!r}, which is no name")
    return name


def _path(name: Any) -> str:
    if not isinstance(name, str) or not _PATH.fullmatch(name):
        raise ArchiveError(f"calls a weight {name!r}, which is no path of names")
    return name
