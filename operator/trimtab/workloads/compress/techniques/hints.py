"""Let the inner layers of a student follow those of the teacher.

Source: Romero et al., "FitNets: Hints for Thin Deep Nets", arXiv 1412.6550.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trimtab.api.compression import HintPair
from trimtab.api.conditions import Reason
from trimtab.workloads.compress.network import forward
from trimtab.workloads.compress.techniques.registry import Context

_SHOWN = 20


class Pair(NamedTuple):
    """Layers whose outputs should agree, by name."""

    teacher: str
    student: str


class Hinted(nn.Module):  # type: ignore[misc]
    """A student with what it needs to be compared with its teacher; called as the student is.

    Where a pair's widths differ, a projection from the student's to the teacher's is learned along with the student.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        hints: Sequence[HintPair],
        example: Mapping[str, Tensor],
        context: Context,
    ) -> None:
        """Find the layers; `example` is a batch of inputs.

        Raises:
            Stalled: InvalidSpec, a pattern names no layer, or layers whose outputs cannot be compared.
        """
        super().__init__()
        self.student = student
        self._pairs = matched(hints, teacher, student, context)
        # A plain list, so that the teacher is neither trained nor saved with the student.
        self._teacher = [teacher]
        self._said: dict[str, Tensor] = {}
        self._wanted: dict[str, Tensor] = {}
        self._hooks = [
            student.get_submodule(pair.student).register_forward_hook(_kept(self._said, pair.student))
            for pair in self._pairs
        ]
        self._hooks += [
            teacher.get_submodule(pair.teacher).register_forward_hook(_kept(self._wanted, pair.teacher))
            for pair in self._pairs
        ]
        self._axes: list[int] = []
        self.projections = nn.ModuleList()
        with torch.no_grad():
            self._teach(example)
            forward(student, example)
        for index, pair in enumerate(self._pairs):
            self._add_projection(f"hints[{index}]", pair, context)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        self._teach(named or {"x": inputs[0]})
        return self.student(*inputs, **named)

    @property
    def pairs(self) -> list[str]:
        """Return the pairs of layers for the report."""
        return [f"{pair.teacher} → {pair.student}" for pair in self._pairs]

    def distance(self) -> Tensor:
        """Return how far the inner layers were apart in the last batch: 0 at best, 1 for saying nothing."""
        parts = []
        for pair, axis, projection in zip(self._pairs, self._axes, self.projections, strict=True):
            said, wanted = self._said[pair.student], self._wanted[pair.teacher]
            projected = projection(said.movedim(axis, -1)).movedim(-1, axis)
            scale = wanted.square().mean().clamp_min(1e-12)
            parts.append(functional.mse_loss(projected, wanted) / scale)
        return torch.stack(parts).mean()

    def close(self) -> nn.Module:
        """Take the hooks off both networks and return the student."""
        for hook in self._hooks:
            hook.remove()
        return self.student

    def _teach(self, inputs: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            forward(self._teacher[0], inputs)

    def _add_projection(self, where: str, pair: Pair, context: Context) -> None:
        said, wanted = self._said.get(pair.student), self._wanted.get(pair.teacher)
        if said is None or wanted is None:
            name = pair.student if said is None else pair.teacher
            raise context.failed(Reason.INVALID_SPEC, f"{where}: layer {name} gives no tensor; name one that does")
        differing = [
            axis for axis, sizes in enumerate(zip(said.shape, wanted.shape, strict=False)) if sizes[0] != sizes[1]
        ]
        if said.ndim != wanted.ndim or len(differing) > 1:
            raise context.failed(
                Reason.INVALID_SPEC,
                f"{where}: {pair.student} gives {list(said.shape[1:])} and the teacher's {pair.teacher} "
                f"{list(wanted.shape[1:])}; only their widths may differ",
            )
        axis = differing[0] if differing else said.ndim - 1
        self._axes.append(axis)
        self.projections.append(
            nn.Linear(said.shape[axis], wanted.shape[axis], bias=False) if differing else nn.Identity()
        )


def matched(hints: Sequence[HintPair], teacher: nn.Module, student: nn.Module, context: Context) -> tuple[Pair, ...]:
    """Return the pairs of layers that patterns name: where both name several, in order.

    Raises:
        Stalled: InvalidSpec, a pattern names no layer, or the two name different numbers of them.
    """
    pairs: list[Pair] = []
    for index, hint in enumerate(hints):
        where = f"hints[{index}]"
        theirs = _named(hint.teacher, teacher, f"{where}.teacher", context)
        ours = _named(hint.student, student, f"{where}.student", context)
        if len(theirs) != len(ours):
            raise context.failed(
                Reason.INVALID_SPEC,
                f"{where}: {hint.teacher} names {len(theirs)} layers of the teacher, {hint.student} {len(ours)} of the "
                "student; write patterns that name as many, or one pair for each",
            )
        pairs += [Pair(*names) for names in zip(theirs, ours, strict=True)]
    return tuple(pairs)


def _named(pattern: str, network: nn.Module, where: str, context: Context) -> list[str]:
    names = [name for name, _ in network.named_modules() if name]
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise context.failed(
            Reason.INVALID_SPEC,
            f"{where}: {pattern} names no layer; the layers are {', '.join(names[:_SHOWN])}{more}",
        )
    return found


def _kept(into: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def keep(_layer: nn.Module, _inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(first, Tensor) and first.is_floating_point():
            # A copy, since the layer behind may change it in place; distances are told in FP32 at least.
            into[name] = first.to(torch.promote_types(first.dtype, torch.float32), copy=True)

    return keep
