"""Layers that round their weights and inputs as int8 does, and pass gradients straight through."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from trimtab.workloads.compress.network import forward

_ROUNDED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LEVELS = 255
_BATCH = 64
_SMALLEST = 1e-8
_FOLD_TOLERANCE = 1e-3


class Span(nn.Module):  # type: ignore[misc]
    """The range of a tensor that int8 covers; it is learned. Layers that read the same tensor share one."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low = nn.Parameter(torch.tensor(min(low, 0.0)))
        self.high = nn.Parameter(torch.tensor(max(high, 0.0)))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` at the 256 levels of the range, which contain 0 exactly."""
        low, high = self.low.clamp(max=0.0), self.high.clamp(min=0.0)
        scale = (high - low).clamp(min=_SMALLEST) / _LEVELS
        zero = _straight(-low / scale)
        return (torch.clamp(_straight(x / scale) + zero, 0, _LEVELS) - zero) * scale

    def bounds(self) -> tuple[float, float]:
        return min(float(self.low.detach()), 0.0), max(float(self.high.detach()), 0.0)


class Rounded(nn.Module):  # type: ignore[misc]
    """A layer with rounded weights, symmetric per output channel, and rounded inputs."""

    def __init__(self, layer: nn.Module, span: Span, reduce_range: bool) -> None:
        super().__init__()
        self.layer = layer
        self.span = span
        self.highest = 64 if reduce_range else 127  # as ONNX Runtime rounds symmetric weights

    def forward(self, x: Tensor) -> Tensor:
        weight = self.layer.get_parameter("weight")
        others = tuple(range(1, weight.ndim))
        scale = weight.detach().abs().amax(others, keepdim=True).clamp(min=_SMALLEST) / self.highest
        answer: Tensor = torch.func.functional_call(
            self.layer, {"weight": _straight(weight / scale) * scale}, (self.span(x),)
        )
        return answer


def round_layers(
    network: nn.Module, wanted: Collection[str], inputs: Mapping[str, Tensor], reduce_range: bool
) -> nn.Module:
    """Return a copy whose wanted modules round, with the ranges that some inputs [N, ...] show.

    Normalisation that follows a convolution is folded into it first, since that is what gets exported.
    """
    copied = copy.deepcopy(network).eval()
    _fold(copied, inputs)
    spans: dict[int, Span] = {}
    found = _observed(copied, inputs)
    for name, (tensor, low, high) in found.items():
        if name in wanted:
            span = spans.setdefault(tensor, Span(low, high))
            _put(copied, name, Rounded(copied.get_submodule(name), span, reduce_range))
    for parameter in copied.parameters():
        parameter.requires_grad_(True)
    return copied


def rounded_layers(network: nn.Module) -> dict[str, Span]:
    """Return the ranges of the modules that round, by the names they have in the network."""
    return {name: module.span for name, module in network.named_modules() if isinstance(module, Rounded)}


def unrounded(network: nn.Module) -> nn.Module:
    """Return a copy with plain layers, whose weights are the trained ones."""
    copied = copy.deepcopy(network)
    for name in rounded_layers(copied):
        _put(copied, name, copied.get_submodule(name).get_submodule("layer"))
    return copied.eval()


def _straight(x: Tensor) -> Tensor:
    """Round; the gradient is that of the identity."""
    return x + (torch.round(x) - x).detach()


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def _observed(network: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, tuple[int, float, float]]:
    """Return, per layer that is called, which tensor it reads (a number) and that tensor's range."""
    found: dict[str, tuple[int, float, float]] = {}
    alive: list[Tensor] = []  # of one call: an id is a tensor's own only while it lives

    def watch(name: str) -> object:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = given[0]
            place = next((index for index, other in enumerate(alive) if other is x), len(alive))
            if place == len(alive):
                alive.append(x)
            before = found.get(name, (place, 0.0, 0.0))
            found[name] = before[0], min(before[1], float(x.min())), max(before[2], float(x.max()))

        return hook

    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, _ROUNDED)]
    hooks = [module.register_forward_pre_hook(watch(name)) for name, module in layers]
    try:
        with torch.no_grad():
            for start in range(0, len(next(iter(inputs.values()))), _BATCH):
                forward(network, {name: x[start : start + _BATCH] for name, x in inputs.items()})
                alive.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _fold(network: nn.Module, inputs: Mapping[str, Tensor]) -> None:
    """Fold each normalisation into the convolution whose output it reads, as long as the network says the same."""
    few = {name: x[:2] for name, x in inputs.items()}
    with torch.no_grad():
        before = forward(network, few)
        for conv_name, norm_name in _pairs(network, few):
            conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
            folded = copy.deepcopy(conv)
            folded.weight, folded.bias = fuse_conv_bn_weights(
                conv.weight,
                conv.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            _put(network, conv_name, folded)
            _put(network, norm_name, nn.Identity())
            if not torch.allclose(forward(network, few), before, rtol=_FOLD_TOLERANCE, atol=_FOLD_TOLERANCE):
                # Something else reads the convolution's output as well, so the two stay apart.
                _put(network, conv_name, conv)
                _put(network, norm_name, norm)


def _pairs(network: nn.Module, inputs: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Return convolutions and the normalisations that read their outputs, by name."""
    made: list[tuple[Tensor, str]] = []
    pairs: list[tuple[str, str]] = []

    def after(name: str) -> object:
        return lambda _module, _given, output: made.append((output, name))

    def before(name: str) -> object:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            pairs.extend((maker, name) for output, maker in made if output is given[0])

        return hook

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, _ROUNDED[1:]):
            hooks.append(module.register_forward_hook(after(name)))
        elif isinstance(module, _NORMS) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(before(name)))
    try:
        forward(network, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs
