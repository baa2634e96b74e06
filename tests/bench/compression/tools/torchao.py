"""torchao: quantize_ on a module, and PT2E with the quantizer for x86; both run through torch.compile."""

from __future__ import annotations

import warnings
from pathlib import Path

import source
import torch
from samples import Data, batches, rows
from torch import nn
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

from tools.making import CALIBRATION, Made, Runtime

VARIANTS = ("weight-only", "dynamic", "pt2e")
CONFIGS = {"weight-only": Int8WeightOnlyConfig, "dynamic": Int8DynamicActivationInt8WeightConfig}
BATCH = 32
LOW = {torch.int8, torch.uint8}


def make(variant: str, model: Path, into: Path) -> Made:
    network = source.network(model)
    if variant == "pt2e":
        return _exported(network, Data.load(model), into)
    quantized(network, variant)
    path = into / f"{variant}.pt"
    torch.save(network.state_dict(), path)
    linear = sum(module.weight.numel() for module in network.modules() if isinstance(module, nn.Linear))
    return Made(Runtime.TORCHAO, path, (path,), "linear layers only", weights=linear / _weights(network))


def quantized(network: nn.Module, variant: str) -> nn.Module:
    quantize_(network, CONFIGS[variant]())
    return network


def _exported(network: nn.Module, data: Data, into: Path) -> Made:
    example = {name: array.copy() for name, array in rows(data.train, 0, 2).items()}
    shapes = source.dynamic_shapes(example)
    program = torch.export.export(network, source.tensors(example), dynamic_shapes=shapes).module()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(program, quantizer)
    for some in batches(data.train, BATCH, CALIBRATION):
        prepared(*source.tensors(some))
    converted = convert_pt2e(prepared)
    _forget_unused(converted)
    zeros = tuple(torch.zeros_like(tensor) for tensor in source.tensors(example))
    path = into / "model.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(converted, zeros, dynamic_shapes=shapes), path)
    small = sum(tensor.numel() for tensor in converted.state_dict().values() if tensor.dtype in LOW)
    return Made(Runtime.INDUCTOR, path, (path,), weights=small / _weights(network))


def _forget_unused(program: torch.fx.GraphModule) -> None:
    """Drop the FP32 weights that conversion leaves in the module beside the int8 ones that the graph uses."""
    used = {str(node.target) for node in program.graph.nodes if node.op == "get_attr"}
    for name in program.state_dict():
        if name not in used:
            owner, _, last = name.rpartition(".")
            delattr(program.get_submodule(owner), last)


def _weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters() if weight.ndim > 1)
